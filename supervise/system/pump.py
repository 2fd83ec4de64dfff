"""The log thread: an epoll of its own, so that slow files hold up neither the loop nor, for long, each other."""

import contextlib
import logging
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol

from supervise.system.blocked import naps
from supervise.system.flows import Flows
from supervise.system.gathering import PAUSE, Gathering
from supervise.system.intent import Intent, Intents
from supervise.system.threads import begin

log = logging.getLogger("supervise")

BUFFER = 512 * 1024  # bytes a source may hand on in one round; measured: half of it costs a tenth more time
HUNG = 3.0  # seconds asleep in one file after which nothing is expected of it any more
WORKERS = 16  # threads that may be stuck in hung files at one time; after that the pump waits as well


class Work(Protocol):
    """Something that a worker may hang in."""

    def stall(self) -> None:
        """The worker inside is given up: defer what comes, until it returns. Called with the pump's lock held."""

    def lose(self) -> None:
        """It may never return: nobody is to wait for that. May be called again. Called with the pump's lock held."""

    def thaw(self) -> None:
        """In the worker that was given up, when it returns, with the pump's other work in other hands."""


class Hang:
    """What concerns all files of a device on which one hangs. Used with the pump's lock held."""

    __slots__ = ("held", "lost", "others")

    def __init__(self) -> None:
        self.lost = False  # for so long that nobody is to wait for it
        self.held: list[Callable[[Worker], None]] = []  # what to call when somebody who waits may try again
        self.others: list[Callable[[Worker], None]] = []  # what to call when it answers


class Worker:
    """One thread's own things. They are passed on as an argument, so that a second thread can take over at any time."""

    __slots__ = ("buffer", "count", "intent", "naps", "retired", "since", "thread", "work")

    def __init__(self, intent: Intent | None = None) -> None:
        self.intent = intent  # where it says what it is about to do with what it reads; None: nowhere
        self.buffer = intent.buffer if intent is not None else memoryview(bytearray(BUFFER))
        self.count = 0  # bytes read in this round; sources add to it
        self.work: Work | None = None
        self.since = 0.0
        self.retired = False
        self.naps = -1  # when somebody has looked last
        self.thread: threading.Thread | None = None

    def sleeps(self, between: float = 0.0) -> bool:
        """Whether its thread has slept since this was asked last, or for `between` seconds from now. One that does
        not get the processor does not sleep."""
        if self.thread is None or self.thread.native_id is None:  # it is about to begin
            return False
        if between:
            self.naps = naps(self.thread.native_id)
            time.sleep(between)
        before, self.naps = self.naps, naps(self.thread.native_id)
        return self.naps >= 0 and self.naps == before


class Inside:
    """Marks a worker as being inside a file, where it may hang."""

    __slots__ = ("_pump", "_work", "_worker")

    def __init__(self, pump: "Pump", work: Work, worker: Worker) -> None:
        self._pump, self._work, self._worker = pump, work, worker
        worker.since, worker.work = time.monotonic(), work
        if not pump.armed:
            pump.busy()

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        worker = self._worker
        with self._pump.lock:
            if not worker.retired:
                worker.work = None
                return
            worker.since = time.monotonic()
        self._work.thaw()
        worker.work = None


class Source(Protocol):
    def ready(self, worker: Worker) -> None:
        """Read at most one buffer, if there is anything to read, and add to the worker's count. Log thread; must do
        nothing of its own after the last write to a file."""


class Custody(Protocol):
    """Who cares for descriptors beyond our death. Any thread."""

    def hold_pipe(self, fd: int) -> None: ...

    def release(self, fd: int) -> None: ...


class Pump:
    """Calls sources whose descriptor is readable, and functions that others send, one at a time, in a thread.

    `watch` and `call` may be used from any thread. The thread is started by the first of them (so: after a fork that
    makes a daemon) and sleeps without a timeout while nothing happens.

    A worker marks what it is about to do with a file (`worker.work`, `worker.since`). Somebody with a clock, told by
    `on_busy` that there is something to look at, calls `relieve()`; if the mark is too old, and the worker sleeps, a
    fresh one takes all other sources over, and the old one ends when the kernel lets it go. One that only lacks the
    processor is left alone: a second would not get it either.
    """

    def __init__(self, on_busy: Callable[[], None] | None = None, custody: Custody | None = None) -> None:
        self.armed = on_busy is None
        self._custody = custody
        self.lock = threading.RLock()  # `call` may start a worker
        self.intents: Intents | None = None
        self.hung: dict[int, Hang] = {}  # by device
        self._on_busy = on_busy
        self._sources: dict[int, Source] = {}
        self._calls: deque[Callable[[Worker], None]] = deque()
        self._woken = self._gathering = False
        self._stopping = False
        self._ended = threading.Event()
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._flows = Flows(self._epoll)
        self._worker: Worker | None = None
        self._stuck: list[Worker] = []

    def record(self, intents: Intents) -> None:
        """From now on every worker says what it is about to do. In the thread that starts the pump; before `watch`."""
        self.intents = intents
        if self._worker is not None:
            self.call(self._equip)

    @property
    def recorded(self) -> bool:
        """Whether what the present worker is about to do is on file, as far as it can be."""
        worker = self._worker
        return worker is None or worker.intent is None or worker.intent.intact

    @property
    def sources(self) -> list["Source"]:
        """Everything that is watched. In the log thread only."""
        return list(self._sources.values())

    def _equip(self, worker: Worker) -> None:
        if self.intents is not None and (intent := self.intents.new()) is not None:
            worker.intent, worker.buffer = intent, intent.buffer

    def watch(self, fd: int, source: Source) -> None:
        """Call `source.ready` whenever `fd` is readable or at its end, and now and then for nothing."""
        if self._custody is not None:
            self._custody.hold_pipe(fd)
        self._sources[fd] = source
        self._epoll.register(fd, select.EPOLLIN)
        self._start()

    def close_source(self, fd: int) -> None:
        """Forget and close a watched descriptor. In the log thread only."""
        # The number may be used again, by another thread, as soon as it is closed: so that comes last.
        self._sources.pop(fd, None)
        if self._custody is not None:
            self._custody.release(fd)
        self._flows.forget(fd)
        os.close(fd)

    def call(self, function: Callable[[Worker], None]) -> None:
        """Run `function(worker)` in the log thread, after everything that was sent before. Nothing after `close`."""
        if self._stopping:
            return
        self._calls.append(function)
        self._start()
        if not self._woken and not self._gathering:
            self._woken = True
            os.eventfd_write(self._wake, 1)

    @contextlib.contextmanager
    def gathered(self) -> Iterator[None]:
        """Inside, the log thread is not woken for each call, but for all of them at the end. For one thread, and not
        nested. (A thread that wakes for every line takes turns with us at the interpreter's lock.)"""
        self._gathering = True
        try:
            yield
        finally:
            self._gathering = False
            if self._calls and not self._stopping:
                os.eventfd_write(self._wake, 1)

    def busy(self) -> None:
        """A worker begins something that may hang: have somebody look again later. Cheap when already arranged."""
        if not self.armed and self._on_busy is not None:
            self.armed = True
            self._on_busy()

    def relieve(self, limit: float) -> bool:
        """Replace a worker that sleeps and has been in one file for `limit` seconds; tell the work of those replaced
        before that sleep on. True while it is worth looking again. Takes a moment, then."""
        worker, now = self._worker, time.monotonic()
        since = worker.since if worker is not None and worker.work is not None else now
        sleeps = worker is not None and since < now - limit and worker.sleeps(3 * sys.getswitchinterval())
        with self.lock:
            self._stuck = [each for each in self._stuck if each.thread is not None and each.thread.is_alive()]
            for each in self._stuck:
                if each.sleeps() and each.work is not None and each.since < now - HUNG:
                    each.work.lose()
            self.armed = bool(self._stuck) or (worker is not None and worker.work is not None)
            if not sleeps or worker is None or worker is not self._worker or worker.since != since:
                return self.armed
            if (work := worker.work) is None or len(self._stuck) >= WORKERS:
                return self.armed
            self.armed = True
            worker.retired = True
            work.stall()
            self._stuck.append(worker)
            self._worker = None
        os.eventfd_write(self._wake, 1)  # it may have hung in a call, with others behind it that have been announced
        self._start()
        return True

    def ignore(self, fd: int) -> None:
        """Do not read a descriptor until `attend`. In the log thread only."""
        self._flows.ignore(fd)

    def attend(self, fd: int) -> None:
        """Read it again, if it is watched. In the log thread only."""
        if fd in self._sources:
            with contextlib.suppress(FileExistsError):
                self._epoll.register(fd, select.EPOLLIN)

    def pause(self, patience: float) -> Callable[[], None] | None:
        """Have the log thread stand still, after all that was sent before, until what this returns is called.

        None if that does not come about within `patience` seconds, or a worker is stuck. Blocks, so long.
        """
        resting, go_on = threading.Event(), threading.Event()

        def rest(worker: Worker) -> None:
            resting.set()
            go_on.wait()

        self.call(rest)
        if any(worker.thread is not None and worker.thread.is_alive() for worker in self._stuck) or not resting.wait(
            patience
        ):
            go_on.set()
            return None
        return go_on.set

    def close(self, patience: float = 4.0) -> bool:
        """Run what was sent, then end the thread and free the descriptors. False if it hangs in a file.

        The patience should be longer than it takes until somebody calls `relieve`, so that only one file is given up.
        """
        if self._worker is not None:
            self.call(self._stop)
            if not self._ended.wait(patience):
                return False
        self._stopping = True
        locked = {id(each.work) for each in self._stuck if each.thread is not None and each.thread.is_alive()}
        for fd, source in list(self._sources.items()):
            if id(source) not in locked:  # else we hang, too
                self.close_source(fd)
        self._epoll.close()
        os.close(self._wake)
        if self.intents is not None:
            self.intents.close()
        return True

    def _stop(self, worker: Worker) -> None:
        self._stopping = True

    def _start(self) -> None:
        if self._worker is not None or self._stopping:
            return
        with self.lock:
            if self._worker is None:
                worker = self._worker = Worker(self.intents.new() if self.intents is not None else None)
                try:
                    worker.thread = begin(partial(self._run, worker), "logs")
                except OSError:  # there can be no thread; whoever calls next tries again
                    self._worker = None
                    if worker.intent is not None:
                        worker.intent.remove()

    def _run(self, worker: Worker) -> None:
        self._loop(worker)
        if worker.intent is not None:
            worker.intent.remove()
        if self._stopping and not worker.retired:
            self._ended.set()

    def _loop(self, worker: Worker) -> None:
        gathering = Gathering()
        while not (worker.retired or self._stopping):
            ready = self._epoll.poll(0 if self._flows.now else None)
            ready += [(fd, select.EPOLLIN) for fd in self._flows.now]
            for fd, _ in ready:
                if fd == self._wake:
                    self._run_calls(worker)
                elif (source := self._sources.get(fd)) is not None:
                    before = worker.count
                    self._guard(source.ready, worker)
                    if not worker.retired and fd in self._sources:
                        self._flows.note(fd, worker.count - before, alone=len(ready) == 1)
                if worker.retired or self._stopping:
                    return
            count, worker.count = worker.count, 0
            if gathering.worthwhile(count, len(ready), time.monotonic()):
                time.sleep(PAUSE)

    def _run_calls(self, worker: Worker) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        self._woken = False  # before the queue is emptied: what is added from now on wakes us again
        while self._calls and not worker.retired:
            self._guard(self._calls.popleft(), worker)

    @staticmethod
    def _guard(function: Callable[[Worker], None], worker: Worker) -> None:
        try:
            function(worker)
        except Exception:  # the one thread that reads every program's output must not end by a mistake of ours
            log.critical("the log thread met an error of its own and goes on", exc_info=True)
