"""A channel: ring, filter, live readers, and the copy in the main log."""

import asyncio
import logging
import os
import tracemalloc
from collections.abc import Iterator

import pytest

from supervise.daemon.channel import RING, STREAM_RING, Channel
from supervise.daemon.childpipe import ChildPipe
from supervise.daemon.sinks import Sink
from supervise.system.pipes import open_pipe
from supervise.system.pump import Pump, Worker
from tests.tools import wait_for


@pytest.fixture
def channel() -> Iterator[Channel]:
    loop = asyncio.new_event_loop()
    yield Channel(loop, "web:1", "stdout")
    loop.close()


def test_the_ring_keeps_the_last_bytes(channel: Channel) -> None:
    worker, text = Worker(), b"".join(b"%d\n" % number for number in range(5000))
    for start in range(0, len(text), 7):
        channel.feed(worker, text[start : start + 7], 1)
    assert channel.tail_ring() == text[-RING:]
    channel.feed(worker, memoryview(text), 1)
    assert channel.tail_ring() == text[-RING:]


def test_a_target_that_cannot_be_read_back_has_a_larger_ring(channel: Channel) -> None:
    pump = Pump()
    channel.sink = Sink("/dev/stdout", pump)
    assert channel.readable_path is None
    text = os.urandom(STREAM_RING * 3)
    channel._remember(text[:STREAM_RING], STREAM_RING)
    channel._remember(text[STREAM_RING:], STREAM_RING)
    assert channel.tail_ring() == text[-STREAM_RING:]
    pump.close()


def test_debug_copies(channel: Channel, caplog: pytest.LogCaptureFixture) -> None:
    channel.copied = "1"
    channel.feed(Worker(), b"quiet\n", 1)
    caplog.set_level(logging.DEBUG, "supervise")
    channel.feed(Worker(), b"two\nlines\xff\n", 1)
    assert [record.getMessage() for record in caplog.records] == ["'1' stdout output:\ntwo\nlines\\xff\n"]


def test_output_that_nobody_else_wants_is_not_copied(channel: Channel) -> None:
    """It is in the log thread's buffer, and is written from there."""
    channel.copied = "1"
    data = memoryview(bytes(1 << 20))
    tracemalloc.start()
    channel.feed(Worker(), data, 1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < len(data)


def test_a_pipe_is_enlarged_when_it_is_seen_full(channel: Channel) -> None:
    pump = Pump()
    reader, writer = open_pipe()
    pipe = ChildPipe(pump, channel, reader)
    os.write(writer, b"x" * 65536)
    wait_for(pipe.idle)
    os.set_blocking(writer, False)
    assert os.write(writer, b"x" * (1 << 20)) > 65536
    os.close(writer)
    wait_for(lambda: pipe.fd < 0)
    pump.close()
