"""One pipe, read by a log thread that is killed: at any line, at several, at random instants."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervise.core.capture import BEGIN
from supervise.daemon.backlog import LIMIT
from supervise.daemon.channel import Channel
from supervise.daemon.childpipe import ChildPipe
from supervise.daemon.sinks import Sinks
from supervise.daemon.unfinished import Unfinished
from supervise.system.pipes import open_pipe, pending
from supervise.system.pump import BUFFER, Pump
from tests.daemon.dying import SCENARIOS, Still
from tests.disks import mounted
from tests.tools import ROOT, wait_for


def dying(*words: str) -> int:
    """Run the harness; how many lives there were, or a failed test."""
    argv = [sys.executable, "-m", "tests.daemon.dying", *words]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return int(done.stdout)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killed_at_any_line(scenario: str) -> None:
    """At all of them: `python -m tests.daemon.dying SCENARIO every`."""
    assert dying(scenario, "every", "3") > 100


@pytest.mark.parametrize("scenario", ["rotated", "shared", "filtered", "stalled", "frozen"])
def test_killed_again_while_finishing(scenario: str) -> None:
    assert dying(scenario, "twice", "7", "40") == 40


def test_killed_at_random_instants() -> None:
    assert dying("random", "7", "40") >= 40


@pytest.fixture
def pump() -> Iterator[Still]:
    pump = Still()
    yield pump
    pump.close()


@pytest.fixture
def channel() -> Iterator[Channel]:
    loop = asyncio.new_event_loop()
    yield Channel(loop, "web:1", "stdout")
    loop.close()


def test_the_end_of_a_stream_gives_up_what_was_held(pump: Still, channel: Channel) -> None:
    channel.strip, channel.capture = True, 100
    reader, writer = open_pipe()
    pipe = ChildPipe(pump, channel, reader)
    os.write(writer, b"a" + BEGIN + b"half\x1b")
    pump.run()
    assert not pipe.idle()
    os.close(writer)
    pump.run()
    assert pipe.idle()
    assert pipe.fd == -1
    assert channel.tail_ring() == b"a" + BEGIN + b"half\x1b"


def test_draining_does_not_wait_for_more(pump: Still, channel: Channel) -> None:
    reader, writer = open_pipe()
    pipe = ChildPipe(pump, channel, reader)
    os.write(writer, b"some")
    pump.call(pipe.drain)
    pump.take()
    assert pipe.idle()
    assert channel.tail_ring() == b"some"
    os.close(writer)
    pump.run()


def test_of_a_pipe_that_nobody_has_any_more_the_rest_is_written(tmp_path: Path, channel: Channel) -> None:
    """The child has ended, and with it the pipe; what was read of it is in the log thread's area."""
    reader, writer = open_pipe()
    inode = os.fstat(reader).st_ino
    first = Still()
    Unfinished(first, str(tmp_path))
    first._start()
    assert first._worker is not None
    assert first._worker.intent is not None
    os.write(writer, b"last words")
    first._worker.intent.begin(inode, 10, str(tmp_path / "log"))
    first._worker.intent.have(os.readv(reader, [first._worker.buffer[:10]]))
    os.close(reader)
    os.close(writer)
    second = Still()
    unfinished = Unfinished(second, str(tmp_path))
    channel.sink = Sinks(second).acquire(str(tmp_path / "log"), 0, 0)
    pipe = ChildPipe(second, channel, -1, inode, unfinished.of(inode))
    assert not pipe.idle()
    second.run()
    assert pipe.idle()
    assert (tmp_path / "log").read_bytes() == b"last words"
    third = Still()
    assert Unfinished(third, str(tmp_path)).of(inode) == []
    for pump in (first, second, third):
        pump.close()


def test_filters_that_are_not_configured_any_more_lose_nothing(tmp_path: Path, channel: Channel) -> None:
    reader, writer = open_pipe()
    inode = os.fstat(reader).st_ino
    first = Still()
    Unfinished(first, str(tmp_path))
    channel.capture = 100
    ChildPipe(first, channel, os.dup(reader))
    os.write(writer, b"a" + BEGIN + b"half")
    first.run()
    assert channel.tail_ring() == b"a"
    channel.capture = 0
    second = Still()
    ChildPipe(second, channel, reader, inode, Unfinished(second, str(tmp_path)).of(inode))
    os.write(writer, b" way")
    second.run()
    assert channel.tail_ring() == b"a" + BEGIN + b"half way"
    assert list(tmp_path.glob("carry-*"))
    os.close(writer)
    second.run()
    assert not list(tmp_path.glob("carry-*"))
    for pump in (first, second):
        pump.close()


def test_where_nothing_can_be_kept_it_is_said_once(
    tmp_path: Path, channel: Channel, caplog: pytest.LogCaptureFixture
) -> None:
    """Not for every line, into a log whose disk may be the one that is full."""
    pump, channel.capture = Still(), 100
    Unfinished(pump, str(tmp_path))
    pump._start()
    assert pump.intents is not None
    pump.intents.directory = f"{tmp_path}/gone"
    reader, writer = open_pipe()
    ChildPipe(pump, channel, reader)
    for times in (1, 2):
        for _ in range(5):
            os.write(writer, BEGIN[:9])
            pump.run()
        assert caplog.text.count("is not safe") == times
        pump.intents.directory = str(tmp_path)  # for a while
        os.write(writer, BEGIN[:9])
        pump.run()
        pump.intents.directory = f"{tmp_path}/gone"
    os.close(writer)
    pump.run()
    pump.close()


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("recorded", [False, True])
def test_a_disk_that_does_not_answer(tmp_path: Path, channel: Channel, lost: bool, recorded: bool) -> None:
    """As long as it may be slow only, the program waits, and loses nothing; then it goes on."""
    data = b"".join(b"line %d\n" % number for number in range(700_000))
    reader, writer = open_pipe()

    def write() -> None:
        with open(writer, "wb") as file:
            file.write(data)

    program, pump = threading.Thread(target=write), Pump()
    if recorded:
        Unfinished(pump, str(tmp_path))
    with mounted(tmp_path) as disk:
        sink = channel.sink = Sinks(pump).acquire(str(disk.place / "log"), 0, 0)
        done = threading.Event()
        pump.call(sink.touch)
        pump.call(lambda _: done.set())
        assert done.wait(60)
        pipe = ChildPipe(pump, channel, reader)
        disk.freeze()
        program.start()
        wait_for(lambda: sink.hanging or (pump.relieve(0) and False))
        wait_for(lambda: pending(reader) > 60_000 and pipe._held)
        assert program.is_alive()
        if lost:
            wait_for(lambda: pump.relieve(0) and not program.is_alive())
            wait_for(lambda: pipe.fd < 0)
            assert channel.dropped > 0
        disk.thaw()
        wait_for(lambda: pipe.fd < 0 and not sink.hanging)
        program.join()
        found = (disk.place / "log").read_bytes()
        assert sink.total_dropped == channel.dropped == len(data) - len(found)
        assert (channel.dropped > 0) is lost
        assert found[: LIMIT - BUFFER] == data[: LIMIT - BUFFER] if lost else found == data
        pump.call(sink.close)
        assert pump.close(60)
