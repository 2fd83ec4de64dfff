"""The keeper as the program it is, with stand-ins for the daemon."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from supervise.system import keeper
from tests.tools import ROOT, wait_for

# A daemon that obeys what is written into the file `orders`, a line a step, and tells in the file `told`.
DAEMON = """
import json, os, signal, socket, subprocess, sys, time
place = sys.argv[1]
sys.path.insert(0, {root!r})
from supervise.system import keeper
from supervise.system.bequest import inherit
from supervise.system.keeping import Keeper, start_keeper
def tell(*words):
    with open(f"{{place}}/told", "a") as file:
        print(*words, file=file)
def hear():
    try:
        return link.sock.recv(100) or "nothing"
    except ConnectionResetError:
        return "nothing"
keeper.__file__ = f"{{place}}/keeper.py"
given, facts = inherit(os.environ)
for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM):
    signal.signal(number, lambda number, frame: tell("signal", signal.Signals(number).name))
if facts:
    link = Keeper(socket.socket(fileno=given.pop("keeper")))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM))
else:
    link = start_keeper([sys.executable, *sys.orig_argv[1:]], {{"cwd": place, "x": "y"}})
tell("start", os.getpid(), os.getppid(), os.getcwd(), json.dumps(sorted(given)), json.dumps(facts))
with open(f"{{place}}/orders") as orders:
    while True:
        line = orders.readline()
        if not line:
            time.sleep(0.01)
            continue
        exec(line)
        tell("done", line.strip())
"""


class Kept:
    """A daemon with its keeper."""

    def __init__(self, place: Path) -> None:
        self.place = place
        (place / "orders").touch()
        (place / "told").touch()
        program = Path(keeper.__file__).read_text()
        steady = f"STEADY = {keeper.STEADY}"
        assert steady in program
        # A machine may take longer for a start than for a life that is no short one.
        (place / "keeper.py").write_text(program.replace(steady, "STEADY = 3600.0"))
        command = [sys.executable, "-c", DAEMON.format(root=str(ROOT)), str(place)]
        self.process = subprocess.Popen(command, cwd=place)
        self.number = 0
        self.start = self.started()

    @property
    def told(self) -> list[str]:
        return (self.place / "told").read_text().split("\n")[:-1]  # what comes after the last end is half a line

    @property
    def pid(self) -> int:
        return int(self.start[1])

    def started(self) -> list[str]:
        """The next start that it tells: words."""
        self.number += 1
        starts = wait_for(
            lambda: [line for line in self.told if line.startswith("start ")][self.number - 1 :], "another start"
        )
        return starts[0].split(" ", 5)

    def order(self, line: str) -> None:
        """Have the daemon execute a line of Python."""
        count = self.told.count(f"done {line}")
        with (self.place / "orders").open("a") as file:
            print(line, file=file)
        wait_for(lambda: self.told.count(f"done {line}") > count, line)

    def kill(self) -> Any:
        """End the daemon; returns what the next one is told."""
        (self.place / "orders").write_text("")
        os.kill(self.pid, signal.SIGKILL)
        self.start = self.started()
        return json.loads(self.start[5].split("] ", 1)[1] if "] " in self.start[5] else self.start[5])


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    one = Kept(tmp_path)
    yield one
    for process in psutil.Process(one.process.pid).children(recursive=True) if one.process.poll() is None else []:
        process.kill()
    one.process.kill()
    one.process.wait()


def test_another_daemon_in_the_place_of_a_dead_one(kept: Kept) -> None:
    assert kept.pid != kept.process.pid == int(kept.start[2])
    kept.order("link.say('ready')")
    first = kept.pid
    facts = kept.kill()
    assert kept.pid != first
    assert int(kept.start[2]) == kept.process.pid, "a child of the same keeper"
    assert facts == {"cwd": str(kept.place), "x": "y", "died": [first, 9, 1], "ending": False, "ends": []}


def test_descriptors_outlive_the_daemon(kept: Kept) -> None:
    kept.order("link.say('ready')")
    kept.order("reader, writer = os.pipe(); os.write(writer, b'kept'); link.hold('pipe-1', reader)")
    kept.order("link.hold('b', writer); link.hold('c', writer); link.release('c'); link.hold('b', reader)")
    kept.order("link.hold('process-1-2', writer)")
    kept.kill()
    assert json.loads(kept.start[4] + " " + kept.start[5].split("]")[0] + "]") == ["b", "pipe-1"]
    kept.order("tell(os.read(given['pipe-1'], 10), os.fstat(given['b']).st_ino == os.fstat(given['pipe-1']).st_ino)")
    assert "b'kept' True" in kept.told
    kept.order("link.release('pipe-1')")
    kept.kill()
    assert kept.start[4] == '["b"]'
    files = psutil.Process(kept.process.pid).num_fds()
    assert files < 12


def test_it_reaps_what_a_dead_daemon_left(kept: Kept) -> None:
    kept.order("link.say('ready')")
    kept.order("a = subprocess.Popen(['sh', '-c', 'exit 3']); tell('child', a.pid)")
    kept.order("b = subprocess.Popen(['sleep', '1000']); tell('child', b.pid)")
    one, two = (int(line.split()[1]) for line in kept.told if line.startswith("child"))
    wait_for(lambda: psutil.Process(one).status() == psutil.STATUS_ZOMBIE)
    start = int(Path(f"/proc/{two}/stat").read_text().rpartition(")")[2].split()[19])
    ends = kept.kill()["ends"]
    assert isinstance(ends, list)
    assert [[pid, status] for pid, _, status in ends] == [[one, 3 << 8]]
    assert psutil.Process(two).ppid() == kept.process.pid
    os.kill(two, signal.SIGTERM)
    kept.order("import select; select.select([link.sock], [], [], 30); tell(link.sock.recv(100))")
    assert f"b'ended {two} {start} 15'" in kept.told
    ends = kept.kill()["ends"]
    assert isinstance(ends, list)
    assert [[pid, status] for pid, _, status in ends] == [[one, 3 << 8], [two, 15]]


def test_it_ends_as_the_daemon_ends(kept: Kept) -> None:
    kept.order("link.say('ready')")
    with (kept.place / "orders").open("a") as file:
        print("os._exit(0)", file=file)
    assert kept.process.wait(30) == 0


@pytest.mark.parametrize("upgrading", [False, True])
def test_who_ends_without_a_word_is_no_daemon(kept: Kept, upgrading: bool) -> None:
    """An empty script ends well, whoever has executed it."""
    kept.order("link.say('ready')")
    if not upgrading:
        kept.kill()  # and this one has said nothing yet
    with (kept.place / "orders").open("a") as file:
        print("link.say('upgrading'); os._exit(0)" if upgrading else "os._exit(0)", file=file)
    kept.start = kept.started()
    assert kept.process.poll() is None


@pytest.mark.parametrize(("end", "status"), [("os._exit(2)", 2), ("os.kill(os.getpid(), 9)", 137)])
def test_a_daemon_that_never_served_is_not_started_again(kept: Kept, end: str, status: int) -> None:
    with (kept.place / "orders").open("a") as file:
        print(end, file=file)
    assert kept.process.wait(30) == status


def test_a_daemon_that_was_told_to_end_may_say_its_status(kept: Kept) -> None:
    kept.order("link.say('ready')")
    kept.order("link.say('ending')")
    with (kept.place / "orders").open("a") as file:
        print("os._exit(5)", file=file)
    assert kept.process.wait(30) == 5


def test_a_shutdown_is_brought_to_its_end(kept: Kept) -> None:
    """A daemon that dies while it stops its programs is started again, to stop the rest of them, but not for ever."""
    kept.order("link.say('ready')")
    kept.order("link.say('ending')")
    for _ in range(2):
        assert kept.kill()["ending"] is True
    os.kill(kept.pid, signal.SIGKILL)
    assert kept.process.wait(30) == 137


def test_signals_are_passed_on(kept: Kept) -> None:
    kept.order("link.say('ready')")
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM):
        kept.process.send_signal(number)
        wait_for(lambda number=number: f"signal {number.name}" in kept.told)
    assert kept.kill()["ending"] is True, "after SIGTERM"


def test_signals_reach_a_daemon_that_only_begins(kept: Kept) -> None:
    kept.order("link.say('ready')")
    os.kill(kept.pid, signal.SIGKILL)
    wait_for(lambda: [child for child in psutil.Process(kept.process.pid).children() if child.pid != kept.pid])
    kept.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "signal SIGHUP" in kept.told)
    assert "signal SIGTERM" not in kept.told


def test_who_dies_again_and_again_waits(kept: Kept) -> None:
    kept.order("link.say('ready')")
    assert kept.kill()["died"][2] == 1
    began = time.monotonic()
    assert kept.kill()["died"][2] == 2
    assert time.monotonic() - began > 0.9


# How long the next daemon waits for its start, when this one has said these words and been killed.
WAITS = """
import json, socket, sys, time
from supervise.system.keeper import Keeper
one = Keeper({"command": [], "facts": {}, "daemon": 1, "link": socket.socketpair()[0].detach()})
for word in sys.argv[1:]:
    one.daemon, one.born, one.ready = 1, time.monotonic(), False
    one.take(word, "", [])
    one.lose(9)
    print(round(one.due - time.monotonic()))
"""


def test_who_has_served_waits_no_longer_for_having_died_often() -> None:
    words = ["ready"] * 5 + ["hold"] * 8 + ["ready"]
    done = subprocess.run([sys.executable, "-c", WAITS, *words], capture_output=True, text=True, check=True, cwd=ROOT)
    assert [int(line) for line in done.stdout.split()] == [0, 1, 1, 1, 1, 2, 4, 8, 16, 32, 60, 60, 60, 1]


def test_nobody_takes_the_keeper_for_the_daemon(kept: Kept) -> None:
    """The pidfile names no one else between two daemons: who kills by it shall kill no keeper."""
    kept.order(f"lock = os.open('{kept.place}/pid', os.O_RDWR | os.O_CREAT); link.hold('lock', lock)")
    kept.order("os.pwrite(lock, b'%d\\n' % os.getpid(), 0); link.say('ready')")
    first = kept.pid
    kept.kill()
    assert (kept.place / "pid").read_text() == f"{first}\n", "who has not written it again yet"


def test_the_daemon_hears_that_its_keeper_is_dead(kept: Kept) -> None:
    kept.order("link.say('ready')")
    kept.process.kill()
    kept.process.wait()
    kept.order("tell('heard', hear())")
    assert "heard nothing" in kept.told
    kept.order("link.say('ready'); link.hold('x', 0); link.release('x')")
    os.kill(kept.pid, signal.SIGKILL)


def test_descriptors_have_a_bound(kept: Kept) -> None:
    """However many it is asked to hold, it can still start a daemon."""
    import resource

    kept.order("link.say('ready')")
    resource.prlimit(kept.process.pid, resource.RLIMIT_NOFILE, (256, 256))
    process, most = psutil.Process(kept.process.pid), 256 - keeper.RESERVE
    for first in (0, 100, 200):  # the queue to it has room for more than these
        kept.order(f"[link.hold(f'n{{number}}', 0) for number in range({first}, {first + 100})]")
        wait_for(lambda first=first: process.num_fds() >= min(first + 100, most))
    kept.kill()
    names = json.loads(kept.start[4] + " " + kept.start[5].split("]")[0] + "]")
    assert len(names) == most


def test_it_is_small(kept: Kept) -> None:
    process = psutil.Process(kept.process.pid)
    wait_for(lambda: "keeper of" in " ".join(process.cmdline()))
    wait_for(lambda: process.status() == psutil.STATUS_SLEEPING)
    assert process.memory_full_info().uss < 12 << 20
    code = "import sys, supervise.system.keeper; print([n for n in sys.modules if n.startswith('supervise.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "['supervise.system', 'supervise.system.keeper']\n", "nothing of ours"
