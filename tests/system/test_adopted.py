import asyncio
import os
import signal
import subprocess
import sys

import pytest

from supervise.system.adopted import Adopted, parent_of
from supervise.system.handover import Handover
from supervise.system.journal import start_time

# Somebody else's child: `parent` starts it, says its pid, and reaps it. They have one stdin.
PARENT = """
import subprocess, sys
child = subprocess.Popen(["/bin/sh", "-c", sys.argv[1]], start_new_session=True)
print(child.pid, flush=True)
child.wait()
sys.stdin.read()
"""


class Foster:
    """The parent of a process that is not ours."""

    def __init__(self, script: str) -> None:
        command = [sys.executable, "-c", PARENT, script]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.child = int(self.process.stdout.readline())

    def speak(self, _: Adopted) -> None:
        """A line for the child."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"go\n")
        self.process.stdin.flush()

    def end(self) -> None:
        self.process.communicate(b"", timeout=30)


async def end_of(pid: int, act: object = None, handover: Handover | None = None) -> tuple[int | None, bool]:
    ended: asyncio.Future[tuple[int | None, bool]] = asyncio.get_running_loop().create_future()
    handover = handover or Handover()
    start = start_time(pid)
    assert start is not None
    adopted = Adopted(pid, start, lambda *how: ended.set_result(how), handover)
    assert list(handover.held) == [f"process-{pid}-{start}"]
    if callable(act):
        act(adopted)
    how = await asyncio.wait_for(ended, 30)
    with pytest.raises(ProcessLookupError):
        adopted.signal(signal.SIGTERM, group=False)
    adopted.close()
    assert not handover.held
    return how


def told(status: int) -> set[tuple[int | None, bool]]:
    """What may be known of such an end: before Linux 6.15 nothing, unless we look before its parent has reaped it."""
    release = tuple(int(part) for part in os.uname().release.split(".")[:2])
    return {(status, False)} if release >= (6, 15) else {(status, False), (None, False)}


@pytest.mark.parametrize(("script", "status"), [("exit 7", 7), ("kill -9 $$", -9)])
def test_the_kernel_tells_how_it_ended(script: str, status: int) -> None:
    foster = Foster(f"read x; {script}")
    assert asyncio.run(end_of(foster.child, foster.speak)) in told(status)
    foster.end()


def test_somebody_else_tells_how_it_ended() -> None:
    foster = Foster("read x")
    handover = Handover()
    handover.ended(foster.child, start_time(foster.child) or 0, 5 << 8)
    assert asyncio.run(end_of(foster.child, foster.speak, handover)) == (5, False)
    foster.end()


@pytest.mark.parametrize("group", [False, True])
def test_signals(group: bool) -> None:
    foster = Foster("exec sleep 1000")
    how = asyncio.run(end_of(foster.child, lambda adopted: adopted.signal(signal.SIGTERM, group)))
    assert how in told(-15)
    foster.end()


def test_nobody_there() -> None:
    with subprocess.Popen(["true"]) as child:
        child.wait()

    async def story() -> None:
        with pytest.raises(ProcessLookupError):
            Adopted(child.pid, 1, lambda *how: None, Handover())
        with pytest.raises(ProcessLookupError):  # another process has that pid now
            Adopted(os.getpid(), 1, lambda *how: None, Handover())

    asyncio.run(story())
    assert parent_of(child.pid) is None


def test_parents() -> None:
    with subprocess.Popen(["sleep", "1000"]) as child:
        assert parent_of(child.pid) == os.getpid()
        child.kill()
