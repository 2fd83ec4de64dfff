"""The forker as the daemon uses it: children of ours, and whatever happens to the forker."""

import asyncio
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from supervise.system import forking
from supervise.system.forking import Forker, NotStarted
from supervise.system.reap import Reaper
from tests.tools import alive, wait_for

NULL = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)


class Forking(Forker):
    """One with a way in."""

    def order(self, *argv: str, **options: Any) -> int | None:
        return self.start(argv[0], argv, {}, (NULL, NULL, NULL), "/", None, group=os.getgid(), **options)

    @property
    def pid(self) -> int:
        return self._pid


@pytest.fixture
def forker() -> Iterator[Forking]:
    before = sorted(os.listdir("/proc/self/fd"))
    loop = asyncio.new_event_loop()
    reaper = Reaper(loop)
    forker = Forking(reaper)
    yield forker
    forker.close()
    reaper.close()
    loop.close()
    assert set(os.listdir("/proc/self/fd")) <= set(before)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def status_of(pid: int | None) -> int:
    assert pid
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_its_children_are_ours(forker: Forking) -> None:
    assert forker.begin()
    assert forker.begin(), "it runs already"
    pids = [forker.order("/bin/sh", "-c", f"exit {number}") for number in range(5)]
    assert [status_of(pid) for pid in pids] == [0, 1, 2, 3, 4]


def test_what_is_not_started_says_why(forker: Forking) -> None:
    with pytest.raises(NotStarted) as caught:
        forker.order("/no/such")
    assert (caught.value.stage, caught.value.number) == ("exec", 2)
    with pytest.raises(ValueError, match="null byte"):
        forker.order("/bin/echo", "a\0b")


def test_words_are_bytes(forker: Forking, tmp_path: Path) -> None:
    word = os.fsdecode(b"\xff\xc3\xa9")
    assert status_of(forker.order("/bin/sh", "-c", 'mkdir "$0/$1"', str(tmp_path), word)) == 0
    assert os.listdir(os.fsencode(tmp_path)) == [b"\xff\xc3\xa9"]


def test_a_longer_order_than_it_takes_is_for_somebody_else(forker: Forking) -> None:
    assert forker.order("/bin/echo", "x" * (2 << 20)) is None
    assert status_of(forker.order("/bin/echo", "x" * 100_000)) == 0


def test_a_forker_that_was_killed_is_replaced(forker: Forking) -> None:
    assert status_of(forker.order("/bin/true")) == 0
    first = forker.pid
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: not running(first))
    assert status_of(forker.order("/bin/true")) == 0
    assert forker.pid != first


def test_a_forker_that_was_reaped_is_replaced(forker: Forking) -> None:
    assert status_of(forker.order("/bin/true")) == 0
    first = forker.pid
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: forker._reaper.reap() and not alive(first))
    assert forker.pid == 0
    assert status_of(forker.order("/bin/true")) == 0


def test_a_forker_that_is_killed_before_it_acts_has_started_nothing(forker: Forking, tmp_path: Path) -> None:
    assert status_of(forker.order("/bin/true")) == 0
    os.kill(forker.pid, signal.SIGSTOP)
    threading.Timer(0.1, os.kill, (forker.pid, signal.SIGKILL)).start()
    assert forker.order("/bin/touch", str(tmp_path / "file")) is None
    assert not (tmp_path / "file").exists()


def test_a_forker_that_stands_still_does_not_stop_us(
    forker: Forking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forking, "PATIENCE", 0.3)
    assert status_of(forker.order("/bin/true")) == 0
    os.kill(forker.pid, signal.SIGSTOP)
    assert forker.order("/bin/touch", str(tmp_path / "file")) is None
    assert forker.pid == 0
    assert not (tmp_path / "file").exists()
    assert status_of(forker.order("/bin/true")) == 0


def test_a_child_that_was_given_up_does_not_begin(
    forker: Forking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is held up where a disk might: between its birth and its program."""
    monkeypatch.setattr(forking, "PATIENCE", 0.3)
    hook = b"    try:\n        os.setsid()\n"
    assert hook in forker._program
    forker._program = forker._program.replace(hook, hook + b"        os.kill(os.getpid(), signal.SIGSTOP)\n")
    assert forker.order("/bin/touch", str(tmp_path / "file")) is None
    [child] = [pid for pid in children() if pid != forker.pid]
    os.kill(child, signal.SIGCONT)
    assert status_of(child) != 0
    assert not (tmp_path / "file").exists()


def children() -> list[int]:
    with open(f"/proc/self/task/{threading.main_thread().native_id}/children") as file:
        return [int(word) for word in file.read().split()]


@pytest.mark.parametrize("ready", [True, False])
def test_who_is_ready_counts_when_the_forker_is_killed(forker: Forking, ready: bool) -> None:
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, its:
        if ready:
            its.send(json.dumps([1234, "ready", 0]).encode())
        its.close()
        assert forker._answer(ours) == (1234 if ready else None)


def test_whoever_is_ready_at_the_last_moment_counts(forker: Forking) -> None:
    """Else it would run twice. Who comes later is not heard, and cannot begin."""
    assert status_of(forker.order("/bin/true")) == 0
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with Belated(fileno=ours.detach()) as link, its:
        link.settimeout(0.1)
        link.late = [b"", json.dumps([1234, "ready", 0]).encode()]
        link.other = its
        assert forker._answer(link) == 1234
        with pytest.raises(BrokenPipeError):
            its.send(b"ready")


class Belated(socket.socket):
    """What comes when we have just ceased to wait for it."""

    late: list[bytes]
    other: socket.socket

    def recv(self, size: int, flags: int = 0) -> bytes:
        try:
            return super().recv(size, flags)
        except TimeoutError:
            if message := self.late.pop(0):
                self.other.send(message)
            raise


def running(pid: int) -> bool:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"
