"""Pipes to children: they outlive their reader, belong to the program's user, and can grow."""

import fcntl
import os
import stat
import subprocess
import sys

import pytest

from supervise.system.pipes import LARGE, ended, enlarge, open_inlet, open_pipe, pending
from tests.tools import need_root, wait_for


def test_a_writer_outlives_its_reader() -> None:
    reader, writer = open_pipe()
    code = "import sys; sys.stdin.readline(); print('still here', flush=True); sys.exit(7)"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=writer)
    os.close(writer)
    os.close(reader)
    child.communicate(b"go\n", timeout=60)
    assert child.returncode == 7


def test_a_reader_outlives_its_writer() -> None:
    child_end, writer = open_inlet()
    code = "import sys; print(sys.stdin.readline(), end='', flush=True); print(sys.stdin.readline(), end='')"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=child_end, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    os.close(child_end)
    os.write(writer, b"one\n")
    assert child.stdout.readline() == "one\n"
    os.close(writer)  # and there is no end of file
    with open(f"/proc/{child.pid}/fd/0", "wb") as again:
        again.write(b"two\n")
    assert child.communicate(timeout=60)[0] == "two\n"


def test_descriptors_are_closed_on_exec_and_ours_does_not_block() -> None:
    reader, writer = open_pipe()
    assert not os.get_inheritable(reader)
    assert not os.get_inheritable(writer)
    assert os.get_blocking(writer)
    with pytest.raises(BlockingIOError):
        os.read(reader, 1)
    os.close(writer)
    assert os.read(reader, 1) == b""  # the end is seen when the last holder of the child's end is gone
    os.close(reader)


def test_the_program_s_user_can_open_its_own_stdout() -> None:
    need_root()
    reader, writer = open_pipe(65534)
    assert os.fstat(writer).st_uid == 65534
    subprocess.run(["sh", "-c", "echo hello > /dev/stdout"], stdout=writer, user=65534, group=65534, check=True)
    assert os.read(reader, 100) == b"hello\n"
    os.close(reader)
    os.close(writer)


def test_enlarge() -> None:
    reader, writer = open_pipe()
    if enlarge(reader):
        assert fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ) == LARGE
    assert not enlarge(sys.stderr.fileno()) or stat.S_ISFIFO(os.fstat(sys.stderr.fileno()).st_mode)
    os.close(reader)
    os.close(writer)


def test_ended() -> None:
    reader, writer = open_pipe()
    assert not ended(reader)
    os.write(writer, b"1")
    os.close(writer)
    assert not ended(reader)
    os.read(reader, 1)
    assert ended(reader)
    os.close(reader)


def test_pending() -> None:
    reader, writer = open_pipe()
    assert pending(reader) == 0
    os.write(writer, b"12345")
    assert wait_for(lambda: pending(reader)) == 5
    os.close(writer)
    os.close(reader)
    assert pending(reader) == 0
