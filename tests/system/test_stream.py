"""Streams: what is slow or closed holds up nobody, and is told once."""

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from supervise.system.stream import QUEUE, StreamWriter, inherited, open_stream, resolve
from tests.tools import wait_for


@pytest.mark.parametrize(
    "path, number",
    [
        ("/dev/stdout", 1),
        ("/dev/stderr", 2),
        ("/dev/fd/7", 7),
        ("/proc/self/fd/12", 12),
        ("/dev/stdout2", None),
        ("/var/log/x.log", None),
        ("/dev/fd/", None),
    ],
)
def test_inherited(path: str, number: int | None) -> None:
    assert inherited(path) == number


def test_resolve(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("/dev/stdout")
    (tmp_path / "loop").symlink_to("loop")
    assert resolve(str(tmp_path / "a")) == "/dev/stdout"
    assert resolve(str(tmp_path / "loop")) == str(tmp_path / "loop")
    assert resolve(str(tmp_path / "none")) == str(tmp_path / "none")


def test_bytes_arrive_in_order() -> None:
    reader, writer = os.pipe()
    stream = StreamWriter(writer, lambda _: None)
    data = bytes(range(256)) * 1000
    for start in range(0, len(data), 1000):
        assert stream.write(data[start : start + 1000]) == 0
    with open(reader, "rb") as file:
        assert file.read(len(data)) == data
        stream.close()
        assert file.read() == b""
    stream.join()


def test_a_slow_reader_loses_but_does_not_stall() -> None:
    reader, writer = os.pipe()
    stream = StreamWriter(writer, lambda _: None)
    lost = sum(stream.write(b"x" * 10_000) for _ in range(1000))
    assert lost == stream.dropped >= 10_000_000 - QUEUE - 65536 - 10_000
    stream.close()
    stream.join()
    wait_for(lambda: not stream.alive)
    assert stream.dropped > lost  # what was queued could not be written either, within the patience of close
    os.close(reader)


@pytest.mark.parametrize("make", [os.pipe, lambda: [each.detach() for each in socket.socketpair()]])
def test_a_closed_reader_is_told_once(make: Callable[[], tuple[int, int]]) -> None:
    reader, writer = make()
    os.close(reader)
    told: list[str] = []
    stream = StreamWriter(writer, told.append)
    for _ in range(10):
        stream.write(b"hello")
    wait_for(lambda: stream.dropped == 50)
    assert len(told) == 1
    stream.close()
    stream.join()


def test_a_fifo_waits_for_its_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    told: list[str] = []
    stream = StreamWriter(open_stream(str(tmp_path / "fifo")), told.append)
    stream.write(b"early ")
    stream.write(b"bird")
    with open(tmp_path / "fifo", "rb", buffering=0) as reader:
        data = b""
        while len(data) < 10:
            data += reader.read(100)
        stream.close()
        stream.join()
    assert data == b"early bird"
    assert not told


def test_an_inherited_descriptor_is_not_opened_again() -> None:
    ours, theirs = socket.socketpair()  # a socket cannot be opened by its /dev/fd name at all
    fd = open_stream(f"/dev/fd/{theirs.fileno()}")
    stream = StreamWriter(fd, lambda _: None)
    stream.write(b"through")
    assert ours.recv(100) == b"through"
    stream.close()
    stream.join()
    ours.close()
    theirs.close()


def test_nothing_is_left_over() -> None:
    before, others = len(os.listdir("/proc/self/fd")), set(threading.enumerate())
    for used in (True, False) * 20:
        reader, writer = os.pipe()
        stream = StreamWriter(writer, lambda _: None)
        if used:
            stream.write(b"x")
        stream.close()
        stream.join()
        os.close(reader)
    wait_for(lambda: len(os.listdir("/proc/self/fd")) <= before)
    wait_for(lambda: set(threading.enumerate()) <= others)
