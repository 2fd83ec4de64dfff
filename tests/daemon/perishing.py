"""Lives of a pool of event listeners that end by SIGKILL, for tests of what the next one makes of them.

    python -m tests.daemon.perishing every [N] [FIRST]   killed at every line (every Nth) of the modules concerned
    python -m tests.daemon.perishing twice SEED TRIES    at two random ones, so that taking up is interrupted too

A program of its own with one thread, since it forks. The listener lives on between the lives, and nobody keeps its
pipes. After the last life, which may come to its end, every event must have been acknowledged: once, or twice if it was
in flight at a death. Prints what is wrong, or the number of tries and how many listeners had to be restarted.
"""

import asyncio
import itertools
import os
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from supervise.core.events import DaemonState, RemoteCommunication
from supervise.daemon.bus import Bus
from supervise.daemon.logs import Logs
from supervise.daemon.memory import Memory
from supervise.daemon.pools import Pools
from supervise.daemon.supervisor import Supervisor
from supervise.system.handover import Handover
from supervise.system.journal import Journal
from supervise.system.reap import Reaper, become_subreaper
from tests.daemon.dying import forked
from tests.daemon.listening import events, listener, pool, wiring

ROOMS = ("dialogue", "listeners", "pools", "eventlog", "entries", "pool", "listener", "intent")
EACH = 4  # events of a life
PATIENCE = 20.0
DIRS = ("daemon", "core", "system")


class Place:
    """The files of one try."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="perishing-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
        self.published = self.path / "published"
        self.published.write_text("0")

    @property
    def acknowledged(self) -> Counter[int]:
        return Counter(int(payload.partition("\n")[2]) for _, payload, _ in events(self.path))

    async def live(self) -> None:
        """One life: some events, until they have been acknowledged."""
        loop = asyncio.get_running_loop()
        memory = Memory(Journal(str(self.path / "state")), Handover())
        logs = Logs(loop, childlogdir=str(self.path), identifier="test", custody=memory.handover)
        logs.record_in(str(self.path))
        supervisor = Supervisor(logs, Reaper(loop), Bus(), memory)
        pools = Pools(supervisor)
        log = str(self.path / "l.log")
        supervisor.add_group(pool(listener(self.path, stdout_logfile=log), events=("REMOTE_COMMUNICATION",)))
        supervisor.enter(DaemonState.RUNNING)
        recalled = memory.recalled
        supervisor.autostart(p for p in supervisor.processes() if (p.group, p.name) not in recalled)
        for _ in range(EACH):
            number = int(self.published.read_text())
            supervisor.bus.publish(RemoteCommunication("t", str(number)))
            self.published.write_text(str(number + 1))
        async with asyncio.timeout(PATIENCE):
            while not (wiring(supervisor).up_to_date and wiring(supervisor).state.name == "READY"):
                await asyncio.sleep(0.002)
        pools.close(forget=False)

    def check(self, deaths: int) -> str:
        """What is wrong; "" if nothing is."""
        got, count = self.acknowledged, int(self.published.read_text())
        found = events(self.path)
        serials = [int(header["poolserial"]) for header, _, _ in found]
        if missing := [number for number in range(count) if not got[number]]:
            return f"lost {missing}: {got}"
        if sum(got.values()) > sum(1 for number in got if number < count) + 2 * deaths:
            return f"doubled {got}"
        if sorted(set(serials)) != list(range(len(set(serials)))) or len(set(serials)) > count + deaths:
            return f"serials {serials}"
        return ""

    @property
    def pids(self) -> set[int]:
        """The listeners that there were."""
        return {pid for _, _, pid in events(self.path)}

    def close(self) -> None:
        for pid in self.pids:
            try:
                os.killpg(pid, signal.SIGKILL)
            except OSError:
                continue
        while True:
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                break
        shutil.rmtree(self.path)


def killed_at(number: int, function: Callable[[], None]) -> bool:
    """Run it in a child that kills itself before line `number`; False: it came to its end before."""
    count = itertools.count(1)

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.endswith(tuple(f"supervise/{d}/{r}.py" for d in DIRS for r in ROOMS)):
            return None
        if event == "line" and next(count) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    def traced() -> None:
        sys.settrace(trace)
        function()

    status = forked(traced)
    assert status in {0, signal.SIGKILL}, f"life ended with {status}"
    return status != 0


def attempt(moments: list[int]) -> tuple[bool, str, int]:
    """Lives killed at these moments, then one that is not: whether the first was killed, what is wrong, and how many
    listeners there were."""
    place = Place()

    def live() -> None:
        asyncio.run(place.live())

    try:
        killed = [killed_at(moment, live) for moment in moments]
        if forked(live) != 0:
            return True, "the last life has failed", 0
        return killed[0], place.check(sum(killed)), len(place.pids)
    finally:
        place.close()


def every(step: int = 1, first: int = 1) -> None:
    tries = restarted = 0
    for moment in itertools.count(first, step):
        killed, wrong, listeners = attempt([moment])
        tries += 1
        restarted += listeners > 1
        if wrong:
            raise SystemExit(f"killed at line {moment}: {wrong}")
        if not killed:
            break
    print(tries, restarted)


def twice(seed: int, tries: int) -> None:
    chance, restarted = random.Random(seed), 0
    for _ in range(tries):
        moments = [chance.randrange(1, 1500) for _ in range(2)]
        _, wrong, listeners = attempt(moments)
        restarted += listeners > 1
        if wrong:
            raise SystemExit(f"killed at lines {moments}: {wrong}")
    print(tries, restarted)


if __name__ == "__main__":
    become_subreaper()
    match sys.argv[1:]:
        case ["every", *numbers]:
            every(*map(int, numbers))
        case ["twice", seed, tries]:
            twice(int(seed), int(tries))
