"""The log thread: order, sleep, and being relieved when it hangs."""

import os
import threading
import time

import pytest

from supervise.system.blocked import naps
from supervise.system.flows import FLOW
from supervise.system.pump import HUNG, Inside, Pump, Worker
from tests.tools import PATIENCE, wait_for


class Reader:
    """A source that collects what it reads."""

    def __init__(self, pump: Pump) -> None:
        self.pump, self.data = pump, b""
        self.fd, self.end = os.pipe()
        os.set_blocking(self.fd, False)
        self.closed = False
        pump.watch(self.fd, self)

    def ready(self, worker: Worker) -> None:
        count = os.readv(self.fd, (worker.buffer,))
        self.data += worker.buffer[:count]
        if not count:
            self.pump.close_source(self.fd)
            self.closed = True


class Hanging:
    """A source whose reading hangs in something, as a write to a sick disk does."""

    def __init__(self, pump: Pump) -> None:
        self.pump = pump
        self.fd, self.end = os.pipe()
        self.inside, self.go = threading.Event(), threading.Event()
        self.stalled = self.lost = False
        pump.watch(self.fd, self)

    def stall(self) -> None:
        self.stalled = True

    def lose(self) -> None:
        self.lost = True

    def thaw(self) -> None:
        pass

    def ready(self, worker: Worker) -> None:
        if self.stalled:
            os.read(self.fd, 100)
            return
        worker.since, worker.work = time.monotonic(), self
        self.pump.busy()
        self.inside.set()
        self.go.wait()
        worker.work = None


class Busy(Hanging):
    """One that has a lot to do, and gets on with it as far as others let it."""

    def ready(self, worker: Worker) -> None:
        with Inside(self.pump, self, worker):
            self.inside.set()
            while not self.go.is_set():
                pass
        os.read(self.fd, 100)


BEFORE = set[threading.Thread]()  # what tests of other files may have left


@pytest.fixture(autouse=True)
def _before() -> None:
    BEFORE.clear()
    BEFORE.update(threading.enumerate())


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "logs" and thread not in BEFORE]


def switches() -> int:
    """How often the one log thread has gone to sleep; -1 while it does not sleep."""
    (thread,) = threads()
    assert thread.native_id
    return naps(thread.native_id)


def rests() -> bool:
    """The log thread sleeps, and does not just wait for the interpreter's lock: who does that looks every 5 ms."""
    before = switches()
    time.sleep(0.1)
    return before == switches() >= 0


def test_sources_and_calls() -> None:
    pump = Pump()
    reader, order = Reader(pump), []
    os.write(reader.end, b"hello")
    wait_for(lambda: reader.data == b"hello")
    for number in range(100):
        pump.call(lambda _, number=number: order.append(number))
    os.close(reader.end)
    wait_for(lambda: reader.closed and len(order) == 100)
    assert order == sorted(order)
    assert pump.close(PATIENCE)


def test_gathered_calls_wake_the_thread_once_they_are_complete() -> None:
    pump, done = Pump(), list[int]()
    pump.call(lambda _: done.append(0))
    wait_for(lambda: done == [0] and rests())
    with pump.gathered():
        pump.call(lambda _: done.append(1))
        pump.call(lambda _: done.append(2))
        time.sleep(0.05)
        assert done == [0]
    wait_for(lambda: done == [0, 1, 2])
    with pump.gathered():
        pass
    pump.call(lambda _: done.append(3))
    wait_for(lambda: done == [0, 1, 2, 3])
    assert pump.close(PATIENCE)
    with pump.gathered():
        pump.call(lambda _: done.append(4))
    assert done == [0, 1, 2, 3]


def test_an_idle_thread_sleeps() -> None:
    pump = Pump()
    reader = Reader(pump)
    os.write(reader.end, b"x")
    wait_for(lambda: reader.data)
    wait_for(rests)
    before = switches()
    time.sleep(1)
    assert switches() == before
    os.close(reader.end)
    pump.close()


def test_no_thread_before_it_is_needed() -> None:
    pump = Pump()
    assert not threads()
    assert pump.close(PATIENCE)


def test_a_mistake_does_not_end_the_thread(caplog: pytest.LogCaptureFixture) -> None:
    def mistake(_: object) -> None:
        raise ZeroDivisionError

    pump, done = Pump(), threading.Event()
    pump.call(mistake)
    pump.call(lambda _: done.set())
    assert done.wait(60)
    assert "ZeroDivisionError" in caplog.text
    pump.close()


def test_a_hanging_worker_is_relieved() -> None:
    asked = threading.Event()
    pump = Pump(asked.set)
    hanging, other = Hanging(pump), Reader(pump)
    os.write(hanging.end, b"x")
    hanging.inside.wait()
    assert asked.is_set()
    os.write(other.end, b"waiting")
    assert pump.relieve(3600)  # not long enough yet: look again later
    assert other.data == b""
    wait_for(lambda: pump.relieve(0) and hanging.stalled)
    wait_for(lambda: other.data == b"waiting")
    assert hanging.stalled
    assert len(threads()) == 2
    hanging.go.set()
    wait_for(lambda: len(threads()) == 1)
    wait_for(lambda: not pump.relieve(0), "nobody hangs: no need to look again")
    os.close(hanging.end)
    os.close(other.end)
    assert pump.close(PATIENCE)


def test_who_only_lacks_the_processor_is_not_relieved() -> None:
    """Another worker would not get it either, and what came meanwhile would have to wait in memory, or be dropped."""
    pump = Pump()
    busy = Busy(pump)
    os.write(busy.end, b"x")
    busy.inside.wait()
    for _ in range(50):
        assert pump.relieve(0), "it is worth another look"
    assert not busy.stalled
    assert len(threads()) == 1
    busy.go.set()
    wait_for(lambda: not pump.relieve(0))
    os.close(busy.end)
    assert pump.close(PATIENCE)


def test_who_sleeps_on_is_lost() -> None:
    pump = Pump()
    hanging = Hanging(pump)
    began = time.monotonic()
    pump.call(hanging.ready)
    hanging.inside.wait()
    wait_for(lambda: pump.relieve(0) and hanging.lost)
    assert time.monotonic() - began > HUNG
    hanging.go.set()
    wait_for(lambda: not pump.relieve(0), "nobody is to be looked at any more")
    os.close(hanging.end)
    assert pump.close(PATIENCE)


def test_calls_that_a_hanging_worker_had_taken_over_are_not_lost() -> None:
    pump, done = Pump(), []
    hanging = Hanging(pump)
    pump.call(hanging.ready)
    for number in range(10):
        pump.call(lambda _, number=number: done.append(number))
    hanging.inside.wait()
    wait_for(lambda: pump.relieve(0) and hanging.stalled)
    wait_for(lambda: done == list(range(10)))
    hanging.go.set()
    os.close(hanging.end)
    assert pump.close(PATIENCE)


def test_close_gives_everything_back() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(100):
        pump = Pump()
        reader = Reader(pump)
        assert pump.close(PATIENCE)
        os.close(reader.end)
    assert len(os.listdir("/proc/self/fd")) <= before
    wait_for(lambda: not threads())


def test_close_gives_up_only_what_hangs() -> None:
    pump = Pump()
    hanging, done = Hanging(pump), list[object]()
    pump.call(hanging.ready)
    pump.call(done.append)
    hanging.inside.wait()
    relief = threading.Thread(target=wait_for, args=(lambda: pump.relieve(0) and hanging.stalled,))
    relief.start()
    assert pump.close(PATIENCE)
    relief.join()
    assert done
    hanging.go.set()
    wait_for(lambda: not threads())
    os.close(hanging.end)


def test_close_has_patience_but_not_for_ever() -> None:
    pump = Pump()
    hanging = Hanging(pump)
    pump.call(hanging.ready)
    hanging.inside.wait()
    assert not pump.close(0.1)
    hanging.go.set()
    assert pump.close(PATIENCE)
    os.close(hanging.end)


class Flood:
    """A source that counts what it reads, and a thread that writes into it without a pause until it is told to end."""

    def __init__(self, pump: Pump) -> None:
        self.pump = pump
        self.fd, self.end = os.pipe()
        os.set_blocking(self.fd, False)
        self.looks = self.read = self.written = 0
        self.inside, self.go = threading.Event(), threading.Event()
        self.hangs = False
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._write)
        pump.watch(self.fd, self)
        self._thread.start()

    def _write(self) -> None:
        while not self._enough.is_set():
            self.written += os.write(self.end, bytes(65536))

    def stop(self) -> None:
        self._enough.set()
        self._thread.join()
        wait_for(lambda: self.read == self.written)

    def stall(self) -> None:
        self.hangs = False

    def lose(self) -> None:
        pass

    def thaw(self) -> None:
        pass

    def ready(self, worker: Worker) -> None:
        self.looks += 1
        try:
            count = os.readv(self.fd, (worker.buffer,))
        except BlockingIOError:
            return
        self.read += count
        worker.count += count
        if self.hangs:
            with Inside(self.pump, self, worker):
                self.inside.set()
                self.go.wait()


def watched(fd: int) -> bool:
    """Whether any epoll of this process tells of the descriptor."""
    for number in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{number}") == "anon_inode:[eventpoll]":
                with open(f"/proc/self/fdinfo/{number}") as file:
                    if any(line.split()[:2] == ["tfd:", str(fd)] for line in file):
                        return True
        except OSError:
            continue
    return False


def test_what_flows_is_read_without_epoll_and_what_has_dried_up_with_it() -> None:
    pump = Pump()
    floods, other = [Flood(pump), Flood(pump)], Reader(pump)
    wait_for(lambda: not any(watched(flood.fd) for flood in floods))
    os.write(other.end, b"a line")
    wait_for(lambda: other.data == b"a line")
    for flood in floods:
        flood.stop()
    wait_for(lambda: all(watched(flood.fd) for flood in floods) and rests(), "nobody looks in vain")
    for flood in floods:
        os.write(flood.end, b"again")
        wait_for(lambda flood=flood: flood.read == flood.written + 5)
        os.close(flood.end)
    os.close(other.end)
    assert pump.close(PATIENCE)


def test_what_flows_can_be_held_back() -> None:
    pump = Pump()
    flood, other = Flood(pump), Flood(pump)
    wait_for(lambda: not watched(flood.fd))
    other.stop()
    pump.call(lambda _: pump.ignore(flood.fd))
    wait_for(rests)
    looks = flood.looks
    time.sleep(0.1)
    assert flood.looks == looks
    assert not watched(flood.fd)
    pump.call(lambda _: pump.attend(flood.fd))
    wait_for(lambda: flood.looks > looks + 10)
    flood.stop()
    os.close(flood.end)
    os.close(other.end)
    assert pump.close(PATIENCE)


def test_a_call_that_reads_a_lot_is_no_flow() -> None:
    def drain(worker: Worker) -> None:
        worker.count += FLOW

    pump, done = Pump(), list[object]()
    pump.call(drain)
    wait_for(rests)
    pump.call(done.append)
    wait_for(lambda: done)
    assert pump.close(PATIENCE)


def test_who_takes_over_reads_on_what_flows() -> None:
    pump = Pump()
    hanging, other = Flood(pump), Flood(pump)
    wait_for(lambda: not watched(hanging.fd) and not watched(other.fd))
    hanging.hangs = True
    hanging.inside.wait()
    wait_for(lambda: pump.relieve(0) and not hanging.hangs)
    before = hanging.read, other.read
    wait_for(lambda: hanging.read > before[0] and other.read > before[1])
    hanging.go.set()
    wait_for(lambda: len(threads()) == 1)
    for flood in (hanging, other):
        flood.stop()
        os.close(flood.end)
    assert pump.close(PATIENCE)
