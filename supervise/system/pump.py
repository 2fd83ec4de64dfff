"""The log thread: an epoll of its own, so that slow files hold up neither the loop nor, for long, each other."""

import contextlib
import logging
import os
import select
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

log = logging.getLogger("supervise")

BUFFER = 256 * 1024  # bytes a source may hand on in one round; fits in a core's cache together with its copy
WORKERS = 16  # threads that may be stuck in hung files at one time; after that the pump waits as well


class Work(Protocol):
    """Something that a worker may hang in."""

    def stall(self) -> None:
        """The worker inside is given up: defer what comes, until it returns. Called with the pump's lock held."""


class Worker:
    """One thread's own things. They are passed on as an argument, so that a second thread can take over at any time."""

    __slots__ = ("buffer", "retired", "since", "thread", "work")

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(BUFFER))
        self.work: Work | None = None
        self.since = 0.0
        self.retired = False
        self.thread: threading.Thread | None = None


class Source(Protocol):
    def ready(self, worker: Worker) -> None:
        """Read at most one buffer. Log thread; must do nothing of its own after the last write to a file."""


class Pump:
    """Calls sources whose descriptor is readable, and functions that others send, one at a time, in a thread.

    `watch` and `call` may be used from any thread. The thread is started by the first of them (so: after a fork that
    makes a daemon) and sleeps without a timeout while nothing happens.

    A worker marks what it is about to do with a file (`worker.work`, `worker.since`). Somebody with a clock, told by
    `on_busy` that there is something to look at, calls `relieve()`; if the mark is too old, a fresh worker takes all
    other sources over, and the old one ends when the kernel lets it go.
    """

    def __init__(self, on_busy: Callable[[], None] | None = None) -> None:
        self.armed = on_busy is None
        self.lock = threading.Lock()
        self.hung: dict[int, list[Callable[[Worker], None]]] = {}  # device -> what to call when it answers again
        self._on_busy = on_busy
        self._sources: dict[int, Source] = {}
        self._calls: deque[Callable[[Worker], None]] = deque()
        self._woken = False
        self._stopping = False
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._worker: Worker | None = None
        self._stuck: list[Worker] = []

    def watch(self, fd: int, source: Source) -> None:
        """Call `source.ready` whenever `fd` is readable or at its end."""
        self._sources[fd] = source
        self._epoll.register(fd, select.EPOLLIN)
        self._start()

    def close_source(self, fd: int) -> None:
        """Forget and close a watched descriptor. In the log thread only."""
        # The number may be used again, by another thread, as soon as it is closed: so that comes last.
        self._sources.pop(fd, None)
        with contextlib.suppress(OSError):
            self._epoll.unregister(fd)
        os.close(fd)

    def call(self, function: Callable[[Worker], None]) -> None:
        """Run `function(worker)` in the log thread, after everything that was sent before. Nothing after `close`."""
        if self._stopping:
            return
        self._calls.append(function)
        self._start()
        if not self._woken:
            self._woken = True
            os.eventfd_write(self._wake, 1)

    def busy(self) -> None:
        """A worker begins something that may hang: have somebody look again later. Cheap when already arranged."""
        if not self.armed and self._on_busy is not None:
            self.armed = True
            self._on_busy()

    def relieve(self, limit: float) -> bool:
        """Replace a worker that has been in one file for `limit` seconds. True while it is worth looking again."""
        with self.lock:
            worker = self._worker
            self.armed = False
            if worker is None or (work := worker.work) is None:
                return False
            self.armed = True
            if time.monotonic() - worker.since < limit or len(self._stuck) >= WORKERS:
                return True
            worker.retired = True
            work.stall()
            self._stuck = [each for each in self._stuck if each.thread is not None and each.thread.is_alive()]
            self._stuck.append(worker)
            self._worker = None
        self._start()
        return True

    def close(self, patience: float = 2.0) -> bool:
        """Run what was sent, then end the thread and free the descriptors. False if it hangs in a file."""
        worker = self._worker
        if worker is not None and worker.thread is not None:
            self.call(self._stop)
            worker.thread.join(patience)
            if worker.thread.is_alive():
                return False
        for fd in list(self._sources):
            self.close_source(fd)
        self._epoll.close()
        os.close(self._wake)
        return True

    def _stop(self, worker: Worker) -> None:
        self._stopping = True

    def _start(self) -> None:
        if self._worker is not None or self._stopping:
            return
        with self.lock:
            if self._worker is None:
                worker = self._worker = Worker()
                worker.thread = threading.Thread(target=self._run, args=(worker,), name="logs", daemon=True)
                worker.thread.start()

    def _run(self, worker: Worker) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # they are the main thread's business
        while not (worker.retired or self._stopping):
            for fd, _ in self._epoll.poll():
                if fd == self._wake:
                    self._run_calls(worker)
                elif (source := self._sources.get(fd)) is not None:
                    self._guard(source.ready, worker)
                if worker.retired or self._stopping:
                    break

    def _run_calls(self, worker: Worker) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        self._woken = False  # before the queue is emptied: what is added from now on wakes us again
        while self._calls and not worker.retired:
            self._guard(self._calls.popleft(), worker)
        if self._calls and not self._woken:  # the rest is our successor's
            self._woken = True
            os.eventfd_write(self._wake, 1)

    @staticmethod
    def _guard(function: Callable[[Worker], None], worker: Worker) -> None:
        try:
            function(worker)
        except Exception:  # the one thread that reads every program's output must not end by a mistake of ours
            log.critical("the log thread met an error of its own and goes on", exc_info=True)
