"""What remains of a session, and how it is ended."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from supervise.system.tree import Sweeper, leftovers
from tests.tools import alive, wait_for

LONG = 30.0


class Session:
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
def session(tmp_path: Path) -> Iterator[Callable[[str], Session]]:
    made: list[Session] = []

    def make(script: str) -> Session:
        made.append(Session(tmp_path, script))
        return made[-1]

    yield make
    for one in made:
        for member in leftovers(one.sid):
            os.kill(member.pid, signal.SIGKILL)


def sweep(sid: int, *signals: int, pause: float = 0.2) -> None:
    """Send these, one after the other, until everything is gone."""

    async def story() -> None:
        gone = asyncio.Event()
        sweeper = Sweeper(sid, gone.set)
        for number in signals:
            sweeper.signal(number)
            assert not gone.is_set(), "never from within signal"
            if number != signals[-1]:
                await asyncio.sleep(pause)
        async with asyncio.timeout(LONG):
            await gone.wait()
        assert sweeper.close() == ()

    before = os.listdir("/proc/self/fd")
    asyncio.run(story())
    assert os.listdir("/proc/self/fd") == before


def test_nothing_left(session: Callable[[str], Session]) -> None:
    one = session("true")
    assert leftovers(one.sid) == []
    sweep(one.sid, signal.SIGTERM)


def test_members_are_found_wherever_they_hang(session: Callable[[str], Session]) -> None:
    one = session(
        "set -m; for i in 1 2; do (sleep 1000 & echo $! > $i.pid; sleep 1000) & done; sleep 1000 & echo $! > 3.pid"
    )
    pids = one.pids(3)
    found = leftovers(one.sid)
    assert {member.pid for member in found} >= set(pids)
    assert {member.name for member in found} <= {"sleep", "bash"}
    sweep(one.sid, signal.SIGTERM)
    assert not any(map(alive, pids))


def test_who_left_the_session_is_not_ours(session: Callable[[str], Session]) -> None:
    one = session("setsid sleep 1000 & echo $! > out.pid")
    [pid] = one.pids(1)
    wait_for(lambda: os.getsid(pid) == pid)
    assert leftovers(one.sid) == []
    os.kill(pid, signal.SIGKILL)


def test_members_that_ignore_the_first_signal(session: Callable[[str], Session]) -> None:
    one = session("for i in $(seq 20); do (trap '' TERM; echo $BASHPID > $i.pid; while :; do sleep 1; done) & done")
    pids = one.pids(20)
    sweep(one.sid, signal.SIGTERM, signal.SIGKILL)
    assert not any(map(alive, pids))


def test_members_that_appear_meanwhile(session: Callable[[str], Session]) -> None:
    """It answers SIGTERM by leaving another process behind."""
    one = session(
        "(trap 'sleep 1000 & echo $! > 2.pid; exit' TERM; echo $BASHPID > 1.pid; while :; do sleep 0.05; done) &"
    )
    one.pids(1)
    time.sleep(0.1)  # until it is in its loop
    sweep(one.sid, signal.SIGTERM)
    assert leftovers(one.sid) == []
    assert not any(map(alive, one.pids(2)))


def test_what_does_not_end_is_named(session: Callable[[str], Session]) -> None:
    one = session("(trap '' TERM; echo $BASHPID > 1.pid; while :; do sleep 1; done) &")
    [pid] = one.pids(1)

    async def story() -> tuple[int, ...]:
        sweeper = Sweeper(one.sid, lambda: pytest.fail("it is still there"))
        sweeper.signal(signal.SIGTERM)
        await asyncio.sleep(0.1)
        left = sweeper.close()
        sweeper.signal(signal.SIGKILL)  # too late: nobody is touched any more
        return left

    assert pid in asyncio.run(story())
    assert alive(pid)


def test_zombies_do_not_count(session: Callable[[str], Session]) -> None:
    """A member that has ended but was not reaped by its parent must not be waited for."""
    parent = subprocess.Popen(
        ["python3", "-c", "import os, time; os.setsid(); os.fork() or os._exit(0); time.sleep(1000)"]
    )
    try:

        def zombie() -> bool:
            children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
            return bool(children) and ") Z " in Path(f"/proc/{children[0]}/stat").read_text()

        wait_for(zombie)
        assert [member.pid for member in leftovers(parent.pid)] == [parent.pid]
    finally:
        parent.kill()
        parent.wait()
