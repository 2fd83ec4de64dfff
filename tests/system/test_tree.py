"""What remains of a session, and how it is ended."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from supervise.system.tree import MARK, Session, Sweeper, describe, leftovers
from tests.tools import ROOT, alive, wait_for

LONG = 30.0


class Shell:
    """A shell that leads a session, and what it leaves behind when it ends."""

    def __init__(self, place: Path, script: str) -> None:
        self.place = place
        self.process = subprocess.Popen(["bash", "-c", script], start_new_session=True, cwd=place)
        self.sid = self.process.pid
        self.process.wait()

    def pids(self, count: int) -> list[int]:
        """The pids that the script wrote, one file each."""
        files = wait_for(lambda: files if len(files := list(self.place.glob("*.pid"))) == count else None, "pid files")
        return sorted(int(wait_for(file.read_text)) for file in files)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Callable[[str], Shell]]:
    made: list[Shell] = []

    def make(script: str) -> Shell:
        made.append(Shell(tmp_path, script))
        return made[-1]

    yield make
    for one in made:
        for member in leftovers([Session(one.sid)]):
            with suppress(ProcessLookupError):  # it has just ended, as a short sleep does
                os.kill(member.pid, signal.SIGKILL)


def sweep(sid: int, *signals: int, pause: float = 0.2) -> None:
    """Send these, one after the other, until everything is gone."""

    async def story() -> None:
        gone = asyncio.Event()
        sweeper = Sweeper([Session(sid)], gone.set)
        for number in signals:
            sweeper.signal(number)
            assert not gone.is_set(), "never from within signal"
            if number != signals[-1]:
                await asyncio.sleep(pause)
        async with asyncio.timeout(LONG):
            await gone.wait()
            gone.clear()
            sweeper.signal(signal.SIGKILL)  # who asks again is told again
            await gone.wait()
        assert sweeper.close() == ()

    before = os.listdir("/proc/self/fd")
    asyncio.run(story())
    assert set(os.listdir("/proc/self/fd")) <= set(before)


def test_nothing_left(session: Callable[[str], Shell]) -> None:
    one = session("true")
    assert leftovers([Session(one.sid)]) == set()
    sweep(one.sid, signal.SIGTERM)


def test_members_are_found_wherever_they_hang(session: Callable[[str], Shell]) -> None:
    one = session(
        "set -m; for i in 1 2; do (sleep 1000 & echo $! > $i.pid; sleep 1000) & done; sleep 1000 & echo $! > 3.pid"
    )
    pids = one.pids(3)
    found = leftovers([Session(one.sid)])
    assert {member.pid for member in found} >= set(pids)
    known = leftovers([Session(one.sid)], [pids[0], pids[2], os.getpid()])
    assert {member.pid for member in known} == {pids[0], pids[2]}, "where it is told to look, and nowhere else"
    sweep(one.sid, signal.SIGTERM)
    assert not any(map(alive, pids))


def test_who_left_the_session_is_not_ours(session: Callable[[str], Shell]) -> None:
    one = session("setsid sleep 1000 & echo $! > out.pid")
    [pid] = one.pids(1)
    wait_for(lambda: os.getsid(pid) == pid)
    assert leftovers([Session(one.sid)]) == set()
    os.kill(pid, signal.SIGKILL)


def test_members_that_ignore_the_first_signal(session: Callable[[str], Shell]) -> None:
    one = session("for i in $(seq 20); do (trap '' TERM; echo $BASHPID > $i.pid; while :; do sleep 1; done) & done")
    pids = one.pids(20)
    sweep(one.sid, signal.SIGTERM, signal.SIGKILL)
    assert not any(map(alive, pids))


def test_members_that_appear_meanwhile(session: Callable[[str], Shell]) -> None:
    """It answers SIGTERM by leaving another process behind."""
    one = session(
        "(trap 'sleep 1000 & echo $! > 2.pid; exit' TERM; echo $BASHPID > 1.pid; while :; do sleep 0.05; done) &"
    )
    one.pids(1)
    time.sleep(0.1)  # until it is in its loop
    sweep(one.sid, signal.SIGTERM)
    assert leftovers([Session(one.sid)]) == set()
    assert not any(map(alive, one.pids(2)))


def test_what_does_not_end_is_named(session: Callable[[str], Shell]) -> None:
    one = session("(trap '' TERM; echo $BASHPID > 1.pid; while :; do sleep 1; done) &")
    [pid] = one.pids(1)

    async def story() -> tuple[int, ...]:
        sweeper = Sweeper([Session(one.sid)], lambda: pytest.fail("it is still there"))
        sweeper.signal(signal.SIGTERM)
        await asyncio.sleep(0.1)
        left = sweeper.close()
        sweeper.signal(signal.SIGKILL)  # too late: nobody is touched any more
        return left

    assert pid in asyncio.run(story())
    assert alive(pid)


def test_zombies_do_not_count(session: Callable[[str], Shell]) -> None:
    """A member that has ended but was not reaped by its parent must not be waited for."""
    parent = subprocess.Popen(
        [sys.executable, "-c", "import os, time; os.setsid(); os.fork() or os._exit(0); time.sleep(1000)"]
    )
    try:

        def zombie() -> bool:
            children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
            return bool(children) and ") Z " in Path(f"/proc/{children[0]}/stat").read_text()

        wait_for(zombie)
        assert [member.pid for member in leftovers([Session(parent.pid)])] == [parent.pid]
    finally:
        parent.kill()
        parent.wait()


def test_a_process_whose_first_thread_has_ended_still_counts() -> None:
    """The kernel shows it as a zombie, but others of it go on."""
    script = "import ctypes, threading, time; threading.Thread(target=time.sleep, args=(1000,)).start(); "
    script += "ctypes.CDLL(None).pthread_exit(None)"
    with subprocess.Popen([sys.executable, "-c", script], start_new_session=True) as one:
        wait_for(lambda: ") Z " in Path(f"/proc/{one.pid}/stat").read_text())
        assert [member.pid for member in leftovers([Session(one.pid)])] == [one.pid]
        one.kill()


def test_who_left_the_session_is_known_by_the_mark(session: Callable[[str], Shell]) -> None:
    marks = f"{os.getpid()}-web", f"{os.getpid()}-web2"  # others on this machine may run tests, too
    one = session("; ".join(f"{MARK}={mark} setsid sleep 1000 & echo $! > {mark}.pid" for mark in marks))
    one.pids(2)
    ours, other = (int((one.place / f"{mark}.pid").read_text()) for mark in marks)
    try:
        wait_for(lambda: is_sleep(ours) and is_sleep(other))
        tree = Session(None, marks[0])
        assert [member.pid for member in leftovers([tree])] == [ours]
        tree.kill()
        wait_for(lambda: not alive(ours))
        assert alive(other)
    finally:
        for pid in (ours, other):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def is_sleep(pid: int) -> bool:
    """It has been executed. While that happens no environment can be seen."""
    words, environ = (Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ"))
    return words == b"sleep\0001000\0" and environ != b""


def test_we_are_no_part_of_our_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    script = (
        "from supervise.system.tree import Session; import os; tree = Session(os.getsid(0), 'me-web'); "
        "print(tree.has(os.getpid()), tree.has(os.getppid()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {MARK: "me-web"},
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=True,
    )
    assert done.stdout == "False False\n"


def test_a_process_is_described() -> None:
    with subprocess.Popen(["sleep", "1000"]) as one:
        wait_for(lambda: describe(one.pid) == f"{one.pid} (sleep)")
        one.kill()
    assert describe(one.pid) == str(one.pid)
