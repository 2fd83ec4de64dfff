"""Targets that fail, hang, come back, and are none of them a reason for a program to stop."""

import logging
import os
import resource
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from supervise.daemon.backlog import LIMIT
from supervise.daemon.sinks import Sink, Sinks
from supervise.system.pump import Pump, Worker
from tests.disks import Disk, mount, mounted
from tests.tools import wait_for


@pytest.fixture
def pump() -> Iterator[Pump]:
    pump = Pump()
    yield pump
    assert pump.close(60)


def write(pump: Pump, sink: Sink, data: bytes) -> int:
    """Write in the log thread, and return what was lost."""
    lost: list[int] = []
    pump.call(lambda worker: lost.append(sink.write(worker, data)))
    wait_for(lambda: lost)
    return lost[0]


def test_one_path_one_target(pump: Pump, tmp_path: Path) -> None:
    sinks = Sinks(pump)
    first = sinks.acquire(f"{tmp_path}/x", 10, 1)
    assert sinks.acquire(f"{tmp_path}/./x", 20, 2) is first
    assert sinks.acquire(f"{tmp_path}/y", 0, 0) is not first
    write(pump, first, b"hello\n")
    assert (first.file.maxbytes, first.file.backups) == (20, 2)
    sinks.release(first)
    assert first in sinks.all()
    assert first.file.fd >= 0
    sinks.release(first)
    assert first not in sinks.all()
    wait_for(lambda: first.file.fd < 0)
    assert sinks.acquire(f"{tmp_path}/x", 10, 1) is not first


def test_a_file_that_is_written_to_is_not_opened_again_to_make_it(pump: Pump, tmp_path: Path) -> None:
    sink, worker = Sink(str(tmp_path / "log"), pump), Worker()
    sink.touch(worker)
    assert (tmp_path / "log").exists()
    assert sink.file.fd < 0, "a silent program costs no descriptor"
    quick = Sink(str(tmp_path / "quick"), pump)
    quick.write(worker, b"line\n")
    quick.touch(worker)
    assert quick.touched
    assert quick.file.fd >= 0
    quick.file.close()


def test_missing_directory_and_recovery(pump: Pump, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    sink = Sink(str(tmp_path / "gone" / "x"), pump)
    assert sum(write(pump, sink, b"12345") for _ in range(100)) == 500 == sink.total_dropped
    assert "No such file" in sink.problem
    assert len(caplog.records) == 1  # once, not a hundred times
    (tmp_path / "gone").mkdir()
    wait_for(lambda: write(pump, sink, b"back\n") == 0)
    assert sink.problem == ""
    assert (tmp_path / "gone" / "x").read_bytes() == b"back\n"
    assert "500" in caplog.text or "lost so far" in caplog.text
    pump.call(sink.close)


def test_deleted_file_and_directory(pump: Pump, tmp_path: Path) -> None:
    place = tmp_path / "logs"
    place.mkdir()
    sink = Sink(str(place / "x"), pump)
    write(pump, sink, b"1\n")
    (place / "x").unlink()
    wait_for(lambda: write(pump, sink, b"2\n") == 0 and (place / "x").exists())
    (place / "x").unlink()
    place.rmdir()
    wait_for(lambda: write(pump, sink, b"3\n") and sink.problem)
    place.mkdir()
    wait_for(lambda: write(pump, sink, b"4\n") == 0 and not sink.problem)
    assert (place / "x").read_bytes().endswith(b"4\n")
    pump.call(sink.close)


def test_moved_away_file_is_followed(pump: Pump, tmp_path: Path) -> None:
    """As logrotate does it without telling us."""
    sink = Sink(str(tmp_path / "x"), pump)
    write(pump, sink, b"1\n")
    (tmp_path / "x").rename(tmp_path / "moved")
    wait_for(lambda: write(pump, sink, b"2\n") == 0 and (tmp_path / "x").exists())
    pump.call(sink.close)


def test_file_too_large(pump: Pump, tmp_path: Path) -> None:
    """EFBIG stands for a full disk: a write that fits in part, then none, then room again."""
    sink = Sink(str(tmp_path / "x"), pump)
    write(pump, sink, b"x" * 90)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        assert write(pump, sink, b"y" * 30) == 20
        assert "too large" in sink.problem
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    wait_for(lambda: write(pump, sink, b"z") == 0)
    assert sink.problem == ""
    assert (tmp_path / "x").read_bytes() == b"x" * 90 + b"y" * 10 + b"z"
    pump.call(sink.close)


def test_full_device(pump: Pump, caplog: pytest.LogCaptureFixture) -> None:
    """B13: /dev/full, where every write says that the disk is full."""
    sink = Sink("/dev/full", pump)
    for _ in range(50):
        write(pump, sink, b"hello")
    wait_for(lambda: sink.total_dropped == 250)
    assert "No space left" in sink.problem
    assert len([record for record in caplog.records if "/dev/full" in record.getMessage()]) == 1
    pump.call(sink.close)


def test_full_disk(pump: Pump, tmp_path: Path) -> None:
    with mount(tmp_path / "disk", "-t", "tmpfs", "-o", "size=1m", "tmpfs") as disk:
        sink = Sink(str(disk / "x"), pump)
        assert sum(write(pump, sink, b"x" * 65536) for _ in range(32)) >= 1 << 20
        assert "No space left" in sink.problem
        (disk / "x").write_bytes(b"")
        wait_for(lambda: write(pump, sink, b"y\n") == 0)
        assert (disk / "x").read_bytes().endswith(b"y\n")
        done = threading.Event()
        pump.call(sink.close)
        pump.call(lambda _: done.set())
        assert done.wait(60)


def test_a_slow_reader_stalls_nobody(pump: Pump, tmp_path: Path) -> None:
    """A FIFO that nobody reads, beside a file."""
    os.mkfifo(tmp_path / "fifo")
    slow, quick = Sink(str(tmp_path / "fifo"), pump), Sink(str(tmp_path / "file"), pump)
    assert slow.is_stream is False  # not known before it is opened
    for _ in range(100):
        write(pump, slow, b"x" * 65536)
        assert write(pump, quick, b"hello") == 0
    assert slow.is_stream
    assert slow.total_dropped > 4 << 20
    pump.call(slow.close)
    pump.call(quick.close)
    assert (tmp_path / "file").read_bytes() == b"hello" * 100


def test_orders_on_streams_do_nothing(pump: Pump, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    sink = Sink(str(tmp_path / "fifo"), pump)
    done: list[str] = []

    def orders(worker: Worker) -> None:
        for action in (sink.file.clear, sink.file.rotate, sink.file.open):
            sink.command(worker, action)
        done.append("all")

    pump.call(orders)
    wait_for(lambda: done)
    assert sink.is_stream
    assert sink.problem == ""
    pump.call(sink.close)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with mounted(tmp_path) as disk:
        yield disk


def test_a_hung_disk(pump: Pump, disk: Disk, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Others are served on, what is written meanwhile is kept within bounds, and comes in order when it thaws."""
    others = set(threading.enumerate())
    sick = [Sink(str(disk.place / name), pump) for name in ("a", "b", "new")]
    well = Sink(str(tmp_path / "well"), pump)
    for sink in sick[:2]:
        write(pump, sink, b"before\n")
    disk.freeze()

    def hang(worker: Worker) -> None:
        sick[0].write(worker, b"hung\n")

    pump.call(hang)
    wait_for(lambda: pump.relieve(0) and sick[0].hanging)
    assert "hangs" in sick[0].problem
    assert write(pump, well, b"well\n") == 0
    for sink in sick:  # the second is on the same disk: it must not cost another thread
        assert write(pump, sink, b"1\n") == write(pump, sink, b"2\n") == 0
        assert sink.hanging
    assert len([thread for thread in threading.enumerate() if thread.name == "logs" and thread not in others]) == 2
    assert sum(write(pump, sick[1], b"x" * 65536) for _ in range(96)) >= 96 * 65536 - LIMIT
    done: list[Exception] = []

    def order(worker: Worker) -> None:
        try:
            sick[0].command(worker, sick[0].file.clear)
        except OSError as exc:
            done.append(exc)

    pump.call(order)
    wait_for(lambda: done)
    disk.thaw()
    wait_for(lambda: not any(sink.hanging for sink in sick))
    assert (disk.place / "a").read_bytes() == b"before\nhung\n1\n2\n"
    assert (disk.place / "b").read_bytes().startswith(b"before\n1\n2\nxxx")
    assert (disk.place / "new").read_bytes() == b"1\n2\n"
    assert not pump.hung
    assert write(pump, sick[0], b"after\n") == 0
    assert "answers again" in caplog.text
    assert (tmp_path / "well").read_bytes() == b"well\n"
    stopped = threading.Event()
    for sink in (*sick, well):
        pump.call(sink.close)
    pump.call(lambda _: stopped.set())
    assert stopped.wait(60)


def test_thousands_are_released_before_the_log_thread_closes_one(
    pump: Pump, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each was compared with all before it: 2.5 of the 3.8 s in which 5,000 programs with logs ended."""
    looks, closed = count(), vars(Sink)["closed"]
    monkeypatch.setattr(Sink, "closed", property(lambda sink: (next(looks), closed.fget(sink))[1]))
    sinks, going_on = Sinks(pump), threading.Event()
    every = [sinks.acquire(f"{tmp_path}/{number}", 0, 0) for number in range(1000)]

    def busy(_: Worker) -> None:
        going_on.wait(60)

    pump.call(busy)
    for sink in every:
        sinks.release(sink)
    going_on.set()
    assert next(looks) < 4 * len(every)


def test_a_released_stream_is_still_waited_for(pump: Pump, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    sinks = Sinks(pump)
    sink = sinks.acquire(f"{tmp_path}/fifo", 0, 0)
    write(pump, sink, b"x" * 300_000)  # more than a FIFO holds
    sinks.release(sink)
    sinks.release_all()
    sinks.release(sinks.acquire(f"{tmp_path}/other", 0, 0))
    (stream,) = sinks.ending()
    with open(tmp_path / "fifo", "rb", buffering=0) as reader:
        data = b""
        while len(data) < 300_000:
            data += reader.read(65536)
    wait_for(lambda: not stream.alive)
    assert stream.dropped == 0
    sinks.release(sink)  # once too often: nothing happens
