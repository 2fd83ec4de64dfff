"""The forker as the daemon uses it: children of ours, and whatever happens to the forker."""

import asyncio
import fcntl
import os
import re
import resource
import signal
import socket
import termios
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from supervise.system import forking
from supervise.system.forker import ANSWER, STAGES
from supervise.system.forking import Forker, NotStarted
from supervise.system.reap import Reaper
from tests.tools import alive, children, need_cgroup, wait_for

NULL = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
READY = ANSWER.pack(1234, STAGES.index("ready"), 0)


class Forking(Forker):
    """One with a way in."""

    def order(self, *argv: str, **options: Any) -> int | None:
        return self.start(argv[0], argv, {}, (NULL, NULL, NULL), "/", None, group=os.getgid(), **options)

    @property
    def pid(self) -> int:
        return self._pid


@pytest.fixture
def forker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Forking]:
    monkeypatch.setattr(forking, "SLOW", 60)  # machines are, too
    monkeypatch.setattr(forking, "QUICK", 60)
    monkeypatch.setattr(forking, "PATIENCE", 60)
    monkeypatch.setattr(Reaper.take, "__defaults__", (60,))
    before, others = sorted(os.listdir("/proc/self/fd")), set(children())  # which tests before have left
    loop = asyncio.new_event_loop()
    reaper = Reaper(loop)
    forker = Forking(reaper)
    yield forker
    forker.close()
    reaper.close()
    loop.close()
    assert set(os.listdir("/proc/self/fd")) <= set(before)
    assert set(children()) <= others


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
    thread = threading.Thread(target=kill_when_told, args=(forker.pid, forker._link))
    thread.start()
    assert forker.order("/bin/touch", str(tmp_path / "file")) is None
    thread.join()
    assert not (tmp_path / "file").exists()


def kill_when_told(pid: int, link: socket.socket) -> None:
    """When the order is on its way (unix(7), SIOCOUTQ)."""
    wait_for(lambda: fcntl.ioctl(link, termios.TIOCOUTQ, bytes(4)) != bytes(4))
    os.kill(pid, signal.SIGKILL)


def test_a_forker_that_stands_still_does_not_stop_us(
    forker: Forking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert status_of(forker.order("/bin/true")) == 0
    monkeypatch.setattr(forking, "PATIENCE", 0.3)
    os.kill(forker.pid, signal.SIGSTOP)
    assert forker.order("/bin/touch", str(tmp_path / "file")) is None
    assert forker.pid == 0
    assert not (tmp_path / "file").exists()
    monkeypatch.setattr(forking, "PATIENCE", 60)
    assert status_of(forker.order("/bin/true")) == 0


def test_a_child_that_was_given_up_does_not_begin(
    forker: Forking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is held up where a disk might: between its birth and its program."""
    hook = b"    try:\n        setsid()\n"
    assert hook in forker._program
    forker._program = forker._program.replace(hook, hook + STOP)
    born = set[int]()
    for patience in (0.3, 3, 30):  # on a slow machine it is not even born so soon
        monkeypatch.setattr(forking, "PATIENCE", patience)
        forker.begin()
        others = set(children())
        assert forker.order("/bin/touch", str(tmp_path / "file")) is None
        if born := set(children()) - others:
            break
    [child] = born
    wait_for(lambda: state(child) == "T")
    os.kill(child, signal.SIGCONT)
    assert status_of(child) != 0
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize("ready", [True, False])
def test_who_is_ready_counts_when_the_forker_is_killed(forker: Forking, ready: bool) -> None:
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, its:
        if ready:
            its.send(READY)
        its.close()
        assert forker._answer(ours) == (1234 if ready else None)


def test_whoever_is_ready_at_the_last_moment_counts(forker: Forking) -> None:
    """Else it would run twice. Who comes later is not heard, and cannot begin."""
    assert status_of(forker.order("/bin/true")) == 0
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with Belated(fileno=ours.detach()) as link, its:
        link.settimeout(0.1)
        link.late = [b"", READY]
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


STOP = b"        os.kill(os.getpid(), signal.SIGSTOP)\n"


def held_up(forker: Forking, stage: bytes) -> None:
    """Have its children stop at that stage, as their user can make them."""
    hook = b'        stage = "%s"\n' % stage
    assert hook in forker._program
    forker._program = forker._program.replace(hook, hook + STOP)


@pytest.mark.parametrize("stage", [b"user", b"chdir", b"exec"])
def test_a_child_that_its_user_stops_stops_nobody_else(
    forker: Forking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: bytes
) -> None:
    monkeypatch.setattr(forking, "SLOW", 0.2)
    monkeypatch.setattr(forking, "QUICK", 0.1)
    held_up(forker, stage)
    pids = [forker.order("/bin/touch", str(tmp_path / name)) for name in "abc"]
    first = forker.pid
    for pid in pids:
        assert pid
        wait_for(lambda pid=pid: state(pid) == "T")
    assert not list(tmp_path.iterdir())
    for pid in pids[:2]:
        os.kill(pid or 0, signal.SIGCONT)
        assert status_of(pid) == 0
    monkeypatch.setattr(forking, "SLOW", 60)
    monkeypatch.setattr(forking, "QUICK", 60)
    with pytest.raises(NotStarted):  # whose answer comes after theirs
        continued(forker, "/no/such")
    forker.close()  # who is ready goes on without it
    os.kill(pids[2] or 0, signal.SIGCONT)
    assert status_of(pids[2]) == 0
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "c"]
    assert not alive(first)


def continued(forker: Forking, *argv: str) -> int | None:
    """Begun, though it is held up."""
    known = set(children())

    def go_on() -> None:
        [new] = wait_for(lambda: {pid for pid in children() if pid not in known and state(pid) == "T"})
        os.kill(new, signal.SIGCONT)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        return forker.order(*argv)
    finally:
        thread.join()


def test_whoever_is_slow_is_waited_for_seldom(forker: Forking, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else whoever makes his program slow would make the daemon slow, again and again."""
    monkeypatch.setattr(forking, "SLOW", 0.2)
    monkeypatch.setattr(forking, "QUICK", 0.1)
    monkeypatch.setattr(forking, "REST", 10000)
    held_up(forker, b"exec")
    patience = []
    for _ in range(3):
        pid = forker.order("/bin/true")
        assert forker._link
        patience.append(forker._link.gettimeout())
        os.kill(pid or 0, signal.SIGKILL)
        assert status_of(pid) == -signal.SIGKILL
    assert patience == [0.2, 0.1, 0.1]


def test_a_file_that_its_owner_does_not_let_be_opened_stops_nobody(
    forker: Forking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease (fcntl(2)) is enough for that: for 45 seconds, and again."""
    monkeypatch.setattr(forking, "SLOW", 0.2)
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nexit 7\n")
    program.chmod(0o755)
    asked = list[int]()  # by the kernel, to give up the lease
    before = signal.signal(signal.SIGIO, lambda number, _: asked.append(number))
    try:
        with program.open("rb+") as file:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            pid = forker.order(str(program))
            assert pid
            assert os.waitpid(pid, os.WNOHANG) == (0, 0)
            wait_for(lambda: asked)
        assert status_of(pid) in {7, 127}  # 127: it was still open for writing
    finally:
        signal.signal(signal.SIGIO, before)


def test_a_late_failure_is_an_end(forker: Forking, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the status that the children of supervisord have, also if the forker is there no more."""
    monkeypatch.setattr(forking, "SLOW", 0.2)
    monkeypatch.setattr(forking, "QUICK", 0.1)
    held_up(forker, b"exec")
    pids = [forker.order("/no/such"), forker.order("/no/such")]
    for pid in pids:
        assert pid
        wait_for(lambda pid=pid: state(pid) == "T")
        os.kill(pid, signal.SIGCONT)
        assert status_of(pid) == 127
        forker.close()


def test_a_forker_without_descriptors_starts_nothing_without_its_output(forker: Forking) -> None:
    assert status_of(forker.order("/bin/true")) == 0
    open_ = len(os.listdir(f"/proc/{forker.pid}/fd"))
    most, pid = resource.getrlimit(resource.RLIMIT_NOFILE)[1], None
    for more in range(6):
        highest = max(int(name) for name in os.listdir(f"/proc/{forker.pid}/fd"))
        resource.prlimit(forker.pid, resource.RLIMIT_NOFILE, (highest + 1 + more, most))
        pid = forker.order("/bin/sh", "-c", "test -c /proc/self/fd/1 && test -c /proc/self/fd/2")
        assert pid is None or status_of(pid) == 0
        wait_for(lambda: len(os.listdir(f"/proc/{forker.pid}/fd")) == open_)
    assert pid, "three for the program, two for its pipe"


def test_more_descriptors_have_the_numbers_that_follow(forker: Forking) -> None:
    files = [os.memfd_create(str(number)) for number in range(35)]
    try:
        argv = ["ls", "-l", "/proc/self/fd"]
        pid = forker.start("/bin/ls", argv, {}, files, None, None, group=os.getgid())
        assert status_of(pid) == 0
        found = dict(re.findall(r"(\d+) -> /memfd:(\d+)", os.pread(files[1], 10000, 0).decode()))
        assert found == {str(number): str(number) for number in range(35)}
    finally:
        for fd in files:
            os.close(fd)


@pytest.mark.parametrize("name", ["a=b", "\0", "\ud800"])
def test_names_that_an_environment_cannot_have(forker: Forking, name: str) -> None:
    with pytest.raises(ValueError, match=r"illegal|embedded|surrogates"):
        forker.start("/bin/true", ["true"], {name: ""}, (NULL, NULL, NULL), None, None, group=os.getgid())


def test_it_follows_us(forker: Forking) -> None:
    assert status_of(forker.order("/bin/true")) == 0
    first = forker.pid
    assert forker.follow()
    assert forker.pid == first
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[0] - 1, before[1]))
    try:
        assert forker.follow()
        assert forker.pid != first
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_its_children_can_begin_in_another_cgroup(forker: Forking) -> None:
    place = need_cgroup() / f"supervise-test{os.getpid()}"
    place.mkdir()
    try:
        assert forker.begin()
        pid = forker.start(
            "/bin/sleep", ["sleep", "1000"], {}, (NULL, NULL, NULL), None, None, group=os.getgid(), cgroup=str(place)
        )
        assert (place / "cgroup.procs").read_text().split() == [str(pid)]
        os.kill(pid or 0, signal.SIGKILL)
        assert status_of(pid) == -signal.SIGKILL
        forker.close()
        fds = (NULL, NULL, NULL)
        assert forker.start("/bin/true", ["true"], {}, fds, None, None, group=0, cgroup=str(place)) is None
        assert forker.pid == 0, "a new one would be in there itself"
    finally:
        wait_for(lambda: removed(place))


def removed(cgroup: Path) -> bool:
    cgroup.rmdir()  # it is busy while somebody in it ends
    return True


def state(pid: int) -> str:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


def running(pid: int) -> bool:
    return state(pid) != "Z"
