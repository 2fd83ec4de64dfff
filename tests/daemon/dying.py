"""Lives of a log thread that end by SIGKILL, for tests of what the next one makes of them.

    python -m tests.daemon.dying SCENARIO every [N]    killed at every line (every Nth) of the modules concerned
    python -m tests.daemon.dying SCENARIO twice SEED   at two or three random ones, so that finishing is interrupted too
    python -m tests.daemon.dying random SEED LIVES     with its thread, at random instants, while a child floods it

A program of its own with one thread, since it forks: the parent keeps the pipes, as the keeper does, and looks at the
files after the last life, which may come to its end. Prints what is wrong, or the number of lives.
"""

import asyncio
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from supervise.config.model import ProgramConfig
from supervise.core.capture import BEGIN, END
from supervise.daemon.channel import Channel
from supervise.daemon.childpipe import ChildPipe
from supervise.daemon.filters import Filters
from supervise.daemon.logs import Logs
from supervise.daemon.sinks import Sink, Sinks
from supervise.daemon.unfinished import Unfinished
from supervise.system import logfile
from supervise.system.pipes import open_pipe
from supervise.system.pump import Pump, Worker
from tests.daemon.killing import forked, killed_at

ROOMS = (
    "system/intent",
    "system/carry",
    "daemon/childpipe",
    "daemon/filters",
    "core/capture",
    "core/ansi",
    "system/logfile",
    "daemon/sinks",
    "daemon/unfinished",
    "daemon/backlog",
    "system/spool",
)
PATIENCE = 60.0  # seconds that the last life may take
FLOOD = "for i in range(400000): print(i, 'x' * (i * 7919 % 90), flush=i % 50 == 0)"


@dataclass(frozen=True)
class Scenario:
    """What is written into the pipes before each life, and how it is to be logged."""

    inputs: tuple[tuple[bytes, ...], ...]  # by life, and by pipe
    maxbytes: int = 0
    backups: int = 50
    capture: int = 0
    strip: bool = False
    stall: int | None = None  # the file hangs after so many rounds of small reads, until two more are over


def lines(pipe: int, life: int, count: int) -> bytes:
    return b"".join(b"%d-%d-%d %s\n" % (pipe, life, number, b"y" * (number * 5 % 17)) for number in range(count))


COLOURED = b"red \x1b[31m<" + BEGIN + b"a \x1b[1m passage" + END + b" end\n" + BEGIN[:9] + b"\n\x1b[0m<!--X"
SCENARIOS = {
    "plain": Scenario(((lines(0, 0, 5),), (lines(0, 1, 3),))),
    "tiny": Scenario(((b"a",), (b"b\nc",), (b"d",))),
    "rotated": Scenario(((lines(0, 0, 12),), (lines(0, 1, 4),)), maxbytes=50),
    "emptied": Scenario(((lines(0, 0, 12),), (lines(0, 1, 4),)), maxbytes=50, backups=0),
    "shared": Scenario(((lines(0, 0, 6), lines(1, 0, 6)), (lines(0, 1, 3), lines(1, 1, 3))), maxbytes=80),
    "stalled": Scenario(((lines(0, 0, 12),), (lines(0, 1, 6),)), maxbytes=80, stall=1),
    "frozen": Scenario(((lines(0, 0, 6), lines(1, 0, 6)), (lines(0, 1, 3), lines(1, 1, 3))), stall=0),
    "frozen-filtered": Scenario(((COLOURED,), (BEGIN[5:] + b"a" + END + b"\x1b",)), capture=100, strip=True, stall=0),
    "filtered": Scenario(((COLOURED,), (BEGIN[5:] + b"half",), (END + COLOURED + b"\x1b",)), capture=100, strip=True),
}


class Still(Pump):
    """A pump without a thread: what it would do is done by `run`, here."""

    def _start(self) -> None:
        if self._worker is None:
            self._worker = Worker(self.intents.new() if self.intents is not None else None)

    def close(self, patience: float = 0) -> bool:
        self._worker = None
        return super().close(patience)

    def take(self) -> Worker:
        """Do what was sent, and no more; who would."""
        self._start()
        assert self._worker is not None
        self._run_calls(self._worker)
        return self._worker

    def run(self) -> None:
        """Until nothing is left to do."""
        self._start()
        assert self._worker is not None
        while ready := self._epoll.poll(0):
            for fd, _ in ready:
                if fd == self._wake:
                    self._run_calls(self._worker)
                else:
                    self._sources[fd].ready(self._worker)


class Place:
    """The files and the pipes of one try."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.path = Path(tempfile.mkdtemp(prefix="dying-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
        (self.path / "journal").mkdir()
        self.pipes = [open_pipe() for _ in scenario.inputs[0]]
        self.written = [b"" for _ in self.pipes]

    def write(self, life: int) -> None:
        if life < len(self.scenario.inputs):
            for number, data in enumerate(self.scenario.inputs[life]):
                os.write(self.pipes[number][1], data)
                self.written[number] += data

    def live(self) -> None:
        """One life, until all that is in the pipes has been dealt with."""
        pump, scenario = Still(), self.scenario
        unfinished = Unfinished(pump, str(self.path / "journal"))
        sinks, pipes = Sinks(pump), []
        for number, (reader, _) in enumerate(self.pipes):
            channel = Channel(cast(Any, None), "web", str(number))
            channel.capture, channel.strip = scenario.capture, scenario.strip
            channel.sink = sinks.acquire(str(self.path / "log"), scenario.maxbytes, scenario.backups)
            inode = os.fstat(reader).st_ino
            pipes.append(ChildPipe(pump, channel, os.dup(reader), inode, unfinished.of(inode)))
        if scenario.stall is not None:
            self._stall(pump, pipes, sinks.all()[0], scenario.stall)
        pump.run()

    @staticmethod
    def _stall(pump: "Still", pipes: list[ChildPipe], sink: Sink, begin: int) -> None:
        for number in range(begin + 3):
            if number == begin:
                sink.stall()
            worker = pump.take()  # at first: finish what a life before has begun
            for pipe in pipes:
                pipe._read(worker, 30)
        sink.thaw()

    def end(self) -> None:
        """The last life, which sees the end of the pipes too."""
        for _, writer in self.pipes:
            os.close(writer)
        assert forked(self.live) == 0, "the last life has failed"

    @property
    def log(self) -> bytes:
        """All generations in one."""
        backups = sorted(self.path.glob("log.*"), key=lambda path: -int(path.suffix[1:]))
        return b"".join(path.read_bytes() for path in [*backups, self.path / "log"])

    def check(self) -> str:
        """What is wrong; "" if nothing is."""
        expected, found = list(self.written), self.log
        if self.scenario.capture:
            filters = Filters(self.scenario.capture, strip=self.scenario.strip)
            expected = [filters.feed(expected[0]) + filters.flush()]
        if self.scenario.maxbytes and not self.scenario.backups:
            good = bool(found) and expected[0].endswith(found)
        elif len(expected) > 1:  # the lines of each in their order, and nothing else
            good = all(
                [line for line in found.splitlines() if line.startswith(b"%d-" % number)] == one.splitlines()
                for number, one in enumerate(expected)
            ) and len(found) == sum(map(len, expected))
        else:
            good = found == expected[0]
        left = sorted(path.name for path in self.path.glob("journal/*") if not path.name.startswith("output-"))
        if good and not left:
            return ""
        return f"written {expected}\nfound   {found!r}\nleft    {left}"

    def close(self) -> None:
        for reader, _ in self.pipes:
            os.close(reader)
        shutil.rmtree(self.path)


def attempt(scenario: Scenario, moments: list[int]) -> tuple[bool, str]:
    """Lives killed at these moments, then one that is not. Whether the first was killed; what is wrong."""
    place = Place(scenario)
    try:
        killed = []
        for life, moment in enumerate(moments):
            place.write(life)
            killed.append(killed_at(moment, ROOMS, place.live))
        place.write(len(moments))
        for life in range(len(moments) + 1, len(scenario.inputs)):
            assert forked(place.live) == 0
            place.write(life)
        place.end()
        return killed[0], place.check()
    finally:
        place.close()


def every(scenario: Scenario, step: int = 1) -> int:
    for moment in itertools.count(1, step):
        killed, wrong = attempt(scenario, [moment])
        if wrong:
            raise SystemExit(f"killed at line {moment}:\n{wrong}")
        if not killed:
            return moment
    raise AssertionError


def twice(scenario: Scenario, seed: int, tries: int = 150) -> int:
    chance = random.Random(seed)
    for _ in range(tries):
        moments = [chance.randrange(1, 300 if scenario.stall is None else 700) for _ in range(chance.choice((2, 3)))]
        _, wrong = attempt(scenario, moments)
        if wrong:
            raise SystemExit(f"killed at lines {moments}:\n{wrong}")
    return tries


def at_random(seed: int, lives: int) -> int:
    """The real thing: a child that writes all the time, and lives of some milliseconds."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="dying-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        os.mkdir(f"{folder}/journal")
        options: dict[str, Any] = {"stdout_logfile_maxbytes": 500_000, "stdout_logfile_backups": 90}
        path = f"{folder}/log"
        config = ProgramConfig(
            name="x", group_name="x", command="x", stdout_logfile=path, redirect_stderr=True, **options
        )
        reader, writer = open_pipe()
        inode = os.fstat(reader).st_ino

        async def live() -> None:
            logs = Logs(asyncio.get_running_loop(), childlogdir=folder, identifier="x")
            logs.record_in(f"{folder}/journal")
            process = logs.open(config)
            process.resume({"stdout": [inode]}, lambda _: os.dup(reader))
            logs.unfinished.settle()
            await asyncio.sleep(1000)

        expected = subprocess.run([sys.executable, "-c", FLOOD], capture_output=True, check=True).stdout
        child = subprocess.Popen([sys.executable, "-c", FLOOD], stdout=writer)
        os.close(writer)

        def names() -> list[Path]:
            return sorted(Path(folder).glob("log*"), key=lambda each: -int(each.suffix[1:] or 0))

        def whole() -> bool:
            with suppress(FileNotFoundError):  # it is renamed just now
                return sum(each.stat().st_size for each in names()) >= len(expected)
            return False

        end, count = 0, 0
        while end < 3:  # some more after the child's end
            end += child.poll() is not None
            if (pid := os.fork()) == 0:
                asyncio.run(live())
            time.sleep(chance.uniform(0.002, 0.012) if count < lives else 0.5)
            until = time.monotonic() + PATIENCE
            while end == 3 and not whole() and time.monotonic() < until:
                time.sleep(0.05)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            count += 1
        found = b"".join(each.read_bytes() for each in names())
        if found != expected:
            same = sum(
                1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(found, expected, strict=False))
            )
            raise SystemExit(f"{len(found)} instead of {len(expected)} bytes, the same up to {same}, {count} lives")
    return count


if __name__ == "__main__":
    logfile.FRONT = 2  # so that a few backups are many
    match sys.argv[1:]:
        case ["random", seed, lives]:
            print(at_random(int(seed), int(lives)))
        case [name, "every", *step]:
            print(every(SCENARIOS[name], *map(int, step)))
        case [name, "twice", seed, *tries]:
            print(twice(SCENARIOS[name], int(seed), *map(int, tries)))
