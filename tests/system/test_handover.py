"""Descriptors from one daemon to the next, each under its name."""

import contextlib
import fcntl
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from supervise.system import handover as handover_module
from supervise.system.bequest import LOWEST
from supervise.system.handover import ENDS_KEPT, Handover, is_hidden, passed, pipes_in_use, places, put_back
from supervise.system.journal import start_time
from supervise.system.pidfd import exit_status
from tests.tools import ROOT, need, need_root, wait_for


@contextmanager
def holding(fd: int) -> Iterator[int]:
    """A session leader whose stdout is `fd`."""
    with subprocess.Popen(["sleep", "1000"], stdout=fd, start_new_session=True) as child:
        yield child.pid
        child.kill()


def inode(fd: int) -> int:
    return os.fstat(fd).st_ino


def is_open(fd: int) -> bool:
    return os.path.exists(f"/proc/self/fd/{fd}")


class Told:
    """A safe that only remembers what it was told."""

    reaps = False

    def __init__(self) -> None:
        self.held: dict[str, int] = {}
        self.said: list[str] = []

    def hold(self, name: str, fd: int) -> None:
        self.held[name] = fd
        self.said.append(f"hold {name}")

    def release(self, name: str) -> None:
        self.held.pop(name, None)
        self.said.append(f"release {name}")


def test_what_is_held_is_told_to_whoever_keeps() -> None:
    first, second = os.pipe()
    handover, safe = Handover(), Told()
    handover.hold(first, "a")
    handover.attach(safe)
    assert safe.held == {"a": first}
    handover.hold_pipe(second)
    assert safe.held == handover.held == {"a": first, f"pipe-{inode(second)}": second}
    handover.hold(second, "a")  # in the other's place
    handover.release(first)
    assert safe.held["a"] == second
    handover.release(second)
    assert "a" not in safe.held
    handover.release(second)
    handover.release(99)
    for fd in (first, second):
        os.close(fd)


def test_what_was_received_is_taken_or_let_go() -> None:
    pairs = [os.pipe() for _ in range(3)]
    received = {"control-x-1-2": pairs[0][0], "control-x-1-3": pairs[1][0], "pipe-1": pairs[2][0]}
    handover, safe = Handover(received), Told()
    handover.attach(safe)
    assert not safe.said, "whoever gave them keeps them still"
    assert handover.names("control-x-") == ["control-x-1-2", "control-x-1-3"]
    assert handover.take("control-x") is None
    assert handover.take("control-x-1-2") == pairs[0][0]
    assert handover.take("control-x-1-2") is None
    handover.hold(pairs[0][0], "control-x-1-2")
    assert not safe.said
    assert handover.held == received
    handover.close()
    assert safe.said == ["release control-x-1-3", "release pipe-1"]
    assert [is_open(read) for read, _ in pairs] == [True, False, False]
    assert handover.held == {"control-x-1-2": pairs[0][0]}
    for fd in (pairs[0][0], *(write for _, write in pairs)):
        os.close(fd)


def test_sockets_of_programs_are_for_who_recognises_them() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        fd = os.dup(server.fileno())
        handover = Handover({f"socket-{inode(fd)}": fd})
        assert handover.sockets == [fd]
        handover.close()
        assert not is_open(fd)


def test_a_pipe_by_its_inode() -> None:
    reader, writer = os.pipe()
    handover = Handover({f"pipe-{inode(reader)}": reader})
    assert handover.pipe(inode(writer)) == reader
    handover.close()
    assert is_open(reader)
    os.close(reader)
    os.close(writer)


def test_a_pipe_is_opened_anew_where_a_process_has_it() -> None:
    reader, writer = os.pipe()
    both = os.open(f"/proc/self/fd/{writer}", os.O_RDWR)
    number = inode(both)
    with holding(both) as pid:
        for fd in (reader, writer, both):
            os.close(fd)
        assert (number, f"/proc/{pid}/fd/1") in set(pipes_in_use())
        handover = Handover()
        assert handover.leader_with(number) == pid
        found = handover.pipe(number)
        assert found is not None
        assert inode(found) == number
        assert not os.get_blocking(found)
        os.close(found)


@contextmanager
def redirecting() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A shell that moves its stdout out of the way when it reads a line, and the pipe that it is."""
    reader, writer = os.pipe()
    both = os.open(f"/proc/self/fd/{writer}", os.O_RDWR)
    number = inode(both)
    words = "read x; exec 9>&1 >/dev/null; echo moved >&2; read x"
    with subprocess.Popen(["sh", "-c", words], stdin=subprocess.PIPE, stdout=both, stderr=subprocess.PIPE) as shell:
        for fd in (reader, writer, both):
            os.close(fd)
        try:
            yield shell, number
        finally:
            shell.kill()


def test_a_pipe_has_moved_since_it_was_seen() -> None:
    with redirecting() as (shell, number):
        assert shell.stdin
        assert shell.stderr
        handover = Handover()
        assert handover.leader_with(number) is None, "it has looked at all of /proc"
        shell.stdin.write(b"\n")
        shell.stdin.flush()
        assert shell.stderr.readline() == b"moved\n"
        found = handover.pipe(number)
        assert found is not None
        assert inode(found) == number
        os.close(found)


def test_a_pipe_was_not_seen_with_who_has_it() -> None:
    handover = Handover()
    assert handover.pipe(0) is None, "it has looked at all of /proc"
    with redirecting() as (shell, number):
        assert handover.pipe(number) is None
        found = handover.pipe(number, shell.pid)
        assert found is not None
        assert inode(found) == number
        os.close(found)


def test_a_pipe_of_a_shell_that_writes_to_a_file_in_turn() -> None:
    """Its stdout is elsewhere for a good part of the time."""
    reader, writer = os.pipe()
    both = os.open(f"/proc/self/fd/{writer}", os.O_RDWR)
    number = inode(both)
    words = "while :; do echo in >> /dev/null; echo out; done"
    with subprocess.Popen(["bash", "-c", words], stdout=both) as shell:
        for fd in (reader, writer, both):
            os.close(fd)
        try:
            for _ in range(200):
                found = Handover().pipe(number, shell.pid)
                assert found is not None
                with contextlib.suppress(BlockingIOError):
                    while os.read(found, 1 << 16):  # it waits for room otherwise, and moves nothing
                        pass
                os.close(found)
        finally:
            shell.kill()


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whose descriptors have been looked at."""
    looks, look = list[str](), handover_module._pipes_of

    def counted(pid: str) -> list[tuple[int, str]]:
        looks.append(pid)
        return look(pid)

    monkeypatch.setattr(handover_module, "_pipes_of", counted)
    return looks


def test_who_sleeps_is_looked_at_once(looks: list[str]) -> None:
    """Many programs have closed their stdout for good, and the loop waits for each at a recovery."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as cat:
        assert cat.stdin
        assert cat.stdout
        cat.stdin.write(b"x")
        assert cat.stdout.read(1) == b"x"
        wait_for(lambda: "State:\tS" in Path(f"/proc/{cat.pid}/status").read_text())
        assert list(places(1, [str(cat.pid)])) == []
        cat.kill()
    assert looks == [str(cat.pid)]


def test_who_runs_is_not_looked_at_for_ever(looks: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """With 19,000 descriptors open, fifty looks took 5 s."""
    with subprocess.Popen(["bash", "-c", "echo; while :; do :; done"], stdout=subprocess.PIPE) as busy:
        assert busy.stdout
        assert busy.stdout.read(1) == b"\n"
        assert list(places(1, [str(busy.pid)])) == []
        many = len(looks)
        monkeypatch.setattr(handover_module, "LOOKING", 0.0)
        assert list(places(1, [str(busy.pid)])) == []
        busy.kill()
    assert (many > 1, len(looks) - many) == (True, 1)


def test_what_nobody_has_is_gone() -> None:
    reader, writer = os.pipe()
    number = inode(reader)
    os.close(reader)
    os.close(writer)
    handover = Handover()
    assert handover.pipe(number) is None
    assert handover.leader_with(number) is None


def test_ends_that_somebody_told() -> None:
    handover = Handover({}, {"ends": [[1, 10, 3 << 8], [2, 20, 9], [3, 30, 11 | 0x80]]})
    ends = [handover.end_of(pid, start) for pid, start in ((1, 10), (2, 20), (3, 30), (4, 40), (1, 11), (1, None))]
    assert ends == [(3, False), (-9, False), (-11, True), (None, False), (None, False), (None, False)]


def test_ends_do_not_grow_for_ever() -> None:
    handover = Handover()
    for pid in range(ENDS_KEPT + 10):
        handover.ended(pid, 1, 0)
    assert handover.status(9, 1) is None
    assert handover.status(10, 1) == handover.status(ENDS_KEPT + 9, 1) == 0


def test_an_end_that_a_kept_pidfd_knows() -> None:
    with subprocess.Popen(["sh", "-c", "read x; exit 7"], stdin=subprocess.PIPE) as child:
        start = start_time(child.pid)
        pidfd = os.pidfd_open(child.pid)
        child.communicate(b"\n")
    known = 7 if exit_status(pidfd) is not None else None  # Linux 6.15
    handover = Handover({f"process-{child.pid}-{start}": pidfd})
    assert handover.end_of(child.pid, start) == (known, False)
    assert not is_open(pidfd)
    assert not handover.held


def test_a_pidfd_for_who_does_not_reap() -> None:
    handover, safe = Handover(), Told()
    handover.entrust(os.getpid(), 5)
    handover.attach(safe)
    handover.entrust(os.getpid(), 5)
    handover.entrust(2**22 + 1, 5)  # nobody has it
    handover.dismiss(os.getpid(), 5)
    assert safe.said == [f"hold process-{os.getpid()}-5", f"release process-{os.getpid()}-5"]
    safe.reaps = True
    handover.entrust(os.getpid(), 5)
    assert len(safe.said) == 2


def test_what_systemd_passes() -> None:
    environ = {"LISTEN_PID": "77", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b", "X": "y"}
    assert passed(environ, 78) == {}, "meant for another process"
    assert environ == {"X": "y"}
    code = (
        "import os; from supervise.system.handover import passed\n"
        "environ = {'LISTEN_PID': '77', 'LISTEN_FDS': '2', 'LISTEN_FDNAMES': 'a:b'}\n"
        "print(passed(environ, 77), environ, os.path.exists('/proc/self/fd/3'), os.path.exists('/proc/self/fd/4'))"
    )
    script = 'exec 3</dev/null 4</dev/null; exec "$0" -c "$1"'
    done = subprocess.run(
        ["sh", "-c", script, sys.executable, code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == f"{{'a': {LOWEST}, 'b': {LOWEST + 1}}} {{}} False False\n"


def test_inherited_descriptors_get_their_numbers_back(tmp_path: Path) -> None:
    """Also one that another was moved to meanwhile."""
    (tmp_path / "log").touch()
    log, pipe = os.open(tmp_path / "log", os.O_WRONLY), os.pipe()
    placed = put_back({"fd-201": log, "pipe-7": fcntl.fcntl(pipe[0], fcntl.F_DUPFD, 200), "fd-200": pipe[1], "fd-x": 5})
    assert {name: fd for name, fd in placed.items() if name != "pipe-7"} == {"fd-201": 201, "fd-200": 200, "fd-x": 5}
    assert os.path.samestat(os.fstat(201), os.stat(tmp_path / "log"))
    os.write(200, b"through the pipe")
    assert os.read(placed["pipe-7"], 100) == b"through the pipe"
    assert not any(os.get_inheritable(fd) for fd in (200, 201, placed["pipe-7"]))
    assert not is_open(log) or not os.path.samestat(os.fstat(log), os.stat(tmp_path / "log"))
    handover = Handover({name: fd for name, fd in placed.items() if name != "fd-x"})
    handover.close()
    assert handover.held == {"fd-201": 201, "fd-200": 200}, "they stay"
    for fd in (pipe[0], 200, 201):
        os.close(fd)


def test_whom_we_may_not_look_into() -> None:
    """Root without CAP_SYS_PTRACE looks as the process's user; who is not dumpable is hidden even then."""
    need_root()
    weaker = [need("setpriv"), "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"]
    script = (
        "import ctypes, sys, time; ctypes.CDLL(None).prctl(4, int(sys.argv[1]), 0, 0, 0); print(1); time.sleep(1000)"
    )
    asks = (
        "import sys; from supervise.system.handover import is_hidden; print([is_hidden(int(p)) for p in sys.argv[1:]])"
    )
    with contextlib.ExitStack() as running:
        pids = []
        for dumpable in "10":
            command = [*weaker, sys.executable, "-u", "-c", script, dumpable]
            child = running.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
            running.callback(child.kill)
            assert child.stdout is not None
            child.stdout.readline()
            pids.append(str(child.pid))
        other = running.enter_context(subprocess.Popen(["sleep", "1000"], user="nobody", group=0, extra_groups=()))
        running.callback(other.kill)
        said = subprocess.run(
            [*weaker, sys.executable, "-c", asks, *pids, str(other.pid)], stdout=subprocess.PIPE, cwd=ROOT, check=True
        )
        assert said.stdout == b"[False, True, False]\n"
    assert not is_hidden(other.pid), "it is not there"
