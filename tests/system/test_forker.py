"""The forker by itself: what it tells, and when it ends."""

import array
import errno
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from supervise.system import forker
from tests.tools import alive, need, need_root, wait_for


@pytest.fixture
def link() -> Iterator[socket.socket]:
    """To a forker that does what it is told."""
    with linked() as ours:
        yield ours


@contextmanager
def linked(*prefix: str) -> Iterator[socket.socket]:
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [*prefix, sys.executable, "-I", "-S", forker.__file__, str(its.fileno()), str(os.getpid())]
    with ours, subprocess.Popen(command, pass_fds=[its.fileno()]) as process:
        its.close()
        yield ours
        ours.close()
        assert process.wait(30) == 0


def order(link: socket.socket, *argv: str, fds: int = 3, **options: Any) -> tuple[list[list[Any]], bytes]:
    """All answers, and what the child wrote (it may go on)."""
    reader, end = os.pipe()
    told = {"words": len(argv), "group": os.getgid()}
    rest = dict.fromkeys(("directory", "umask", "user", "groups", "cgroup"))
    words = [json.dumps({**told, **rest, **options}), argv[0], *argv]
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [reader, *[end] * (fds - 1)]))]
    link.sendmsg(["\0".join(words).encode()], rights)
    os.close(end)
    answers = [answer(link)]
    while answers[-1][1] == "ready":
        answers.append(answer(link))
    if answers[-1][0]:
        os.waitpid(answers[-1][0], 0)
    output = os.read(reader, 10000) if select.select([reader], [], [], 0)[0] else b""
    os.close(reader)
    return answers, output


def answer(link: socket.socket) -> list[Any]:
    pid, stage, number = forker.ANSWER.unpack(link.recv(100))
    return [pid, forker.STAGES[stage], number]


def test_a_child_is_ready_and_then_the_program(link: socket.socket) -> None:
    answers, output = order(link, "/bin/sh", "-c", "echo $$ $PPID; ls /proc/self/fd")
    pid = answers[0][0]
    assert answers == [[pid, "ready", 0], [pid, "", 0]]
    assert output.split() == [b"%d" % pid, b"%d" % os.getpid(), b"0", b"1", b"2", b"3"], "3 is that of ls"


def test_signals_that_python_ignores_are_not_ignored(link: socket.socket) -> None:
    _, output = order(link, "/bin/grep", "SigIgn", "/proc/self/status")
    found = re.search(r"SigIgn:\s*(\w+)", Path("/proc/self/status").read_text())
    assert found
    others = int(found[1], 16) & ~sum(1 << number - 1 for number in (signal.SIGPIPE, signal.SIGXFSZ))
    assert output.split() == [b"SigIgn:", b"%016x" % others], "others are ignored by who has started us"


def test_it_tells_how_far_it_came(link: socket.socket) -> None:
    [ready, (pid, *failure)], output = order(link, "/no/such")
    assert (ready, failure, output) == ([pid, "ready", 0], ["exec", 2], b"")
    [_, (_, *failure)], output = order(link, "/bin/true", directory="/no/such")
    assert (failure, output) == (["chdir", 2], b"")
    [_, (_, *failure)], output = order(link, "/bin/true", user=-1, groups=[])
    assert failure[0] == "user"
    [(_, *failure)], output = order(link, "/bin/true", umask="nonsense")
    assert failure == ["fork", 22], "a fault of ours is no child of ours"
    assert order(link, "/bin/echo", "next")[1] == b"next\n"


def test_the_child_has_nothing_of_root(link: socket.socket) -> None:
    need_root()
    ids = ["/bin/grep", "-E", "^(Uid|Gid|Groups|CapEff)", "/proc/self/status"]
    _, output = order(link, *ids, user=60001, group=60002, groups=[60002, 60003], umask=0o027)
    assert output.split() == [
        *[b"Uid:", *[b"60001"] * 4],
        *[b"Gid:", *[b"60002"] * 4],
        *[b"Groups:", b"60002", b"60003"],
        *[b"CapEff:", b"0000000000000000"],
    ]


@pytest.mark.parametrize("right", ["setuid", "setgid"])
def test_nothing_is_executed_as_somebody_else(right: str) -> None:
    """Whatever the reason that the kernel has: here we have not the right. It is the child that goes on regardless."""
    need_root()
    with linked(need("setpriv"), "--bounding-set", f"-{right}") as link:
        answers, output = order(link, "/bin/echo", "executed", user=60001, group=60002, groups=[60002])
        assert [(stage, number) for _, stage, number in answers] == [("ready", 0), ("user", errno.EPERM)]
        assert output == b""
        assert order(link, "/bin/echo", "next")[1] == b"next\n"


def test_a_cgroup_that_cannot_be_entered_is_no_way(link: socket.socket, tmp_path: Path) -> None:
    [(_, *failure)], output = order(link, "/bin/echo", "executed", cgroup=str(tmp_path))
    assert (failure, output) == (["fork", errno.ENOENT], b"")
    os.symlink("/dev/full", tmp_path / "cgroup.procs")
    [(_, *failure)], output = order(link, "/bin/echo", "executed", cgroup=str(tmp_path))
    assert (failure, output) == (["fork", errno.ENOSPC], b"")


def test_as_many_descriptors_and_words_as_there_may_be(link: socket.socket) -> None:
    words = ["x"] * 100_000
    answers, output = order(link, "/bin/sh", "-c", "echo $#; ls /proc/self/fd | wc -l", "", *words, fds=forker.MOST)
    assert answers[-1][1:] == ["", 0]
    assert output.split() == [b"100000", b"%d" % (forker.MOST + 1)]
    assert order(link, "/bin/true", fds=forker.MOST + 1)[0] == [[0, "fork", errno.EMFILE]]


def test_whoever_kills_a_child_that_begins_kills_nobody_else(link: socket.socket) -> None:
    """Also where it is executed already: its end is told by wait(2)."""
    answers, _ = order(link, "/bin/sh", "-c", "kill -9 $$")
    assert answers[-1][1:] == ["", 0]
    assert order(link, "/bin/echo", "next")[1] == b"next\n"


def test_it_dies_with_the_daemon() -> None:
    code = (
        "import os, socket, subprocess, sys, time;"
        "ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET);"
        f"command = [sys.executable, '-I', '-S', {forker.__file__!r}, str(its.fileno()), str(os.getpid())];"
        "print(subprocess.Popen(command, pass_fds=[its.fileno(), ours.fileno()]).pid, flush=True);"
        "time.sleep(1000)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        pid = int(daemon.stdout.readline())
        wait_for(lambda: "S" in status(pid))  # it waits for orders, with both ends of the socket open
        time.sleep(0.05)
        daemon.kill()
    wait_for(lambda: not alive(pid))


def status(pid: int) -> str:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]
