"""Where log bytes end: a file or a stream that may fail, hang and recover, shared by all who name the same path."""

import errno
import logging
import os
import time
from collections.abc import Callable

from supervise.daemon.backlog import Backlog
from supervise.system.logfile import LogFile, NotAFileError
from supervise.system.pump import Hang, Inside, Pump, Worker
from supervise.system.spool import Spool
from supervise.system.stream import StreamWriter, inherited, open_stream, resolve

log = logging.getLogger("supervise")

CHECK = 1.0  # seconds between looks whether a file in use still has its name
RETRIES = (0.05, 2.0)  # seconds before a failed file is tried again, at the first failure and at most
REPEAT = 60.0  # seconds before the same trouble with a file is told again
MANY = 16  # released targets that may have been closed and still be kept


class Sink:
    """One target. The loop opens, shares and releases it; everything else happens in the log thread.

    Nothing here raises for a bad file: what cannot be written is dropped and counted, `problem` says why, one line goes
    to the main log, and when more output comes it is tried again. A file that hangs keeps one worker of the pump
    (relieved by a fresh one); meanwhile what comes goes to a `Backlog`. When that is full, who writes waits (see
    `holds_back`): a disk that is only slow loses nothing. One that has been asleep for long may never answer, and
    programs are to go on: then what comes is dropped.
    """

    __slots__ = (
        *("_backlog", "_check_at", "_closed", "_delay", "_hang", "_pump", "_retry_at", "_tell_at", "_told", "dropped"),
        *("file", "hanging", "listeners", "path", "problem", "stream", "touched", "users"),
    )

    _hang: Hang  # since it hung for the first time, like
    _backlog: Backlog

    def __init__(self, path: str, pump: Pump) -> None:
        self.path, self.users = path, 1
        self.problem = ""
        self.dropped = 0
        self.listeners: tuple[Callable[[], None], ...] = ()  # called after every write, in the log thread
        self.stream: StreamWriter | None = None
        self.file = LogFile(path)
        self._pump = pump
        self.touched = False
        self.hanging = False
        self._closed = False
        self._check_at = self._retry_at = self._tell_at = 0.0
        self._told = False
        self._delay = RETRIES[0]

    @property
    def is_stream(self) -> bool:
        """Whether it can only be written: nothing to read back, rotate or clear."""
        return self.stream is not None or inherited(self.path) is not None

    def touch(self, worker: Worker) -> None:
        """Create the file if need be, so that it exists when its program runs and trouble is told early."""
        if self.touched or self.hanging or self.stream is not None:
            return
        self.touched = True
        if self.file.fd >= 0:  # its program was quicker
            return
        try:
            with Inside(self._pump, self, worker):
                self._open()
                self.file.close()  # a silent program costs no descriptor
        except NotAFileError:
            self._become_stream(b"")
        except _HungDeviceError:
            self.touched = False
        except OSError as exc:
            self._failed(exc, time.monotonic())

    def write(self, worker: Worker, data: memoryview | bytes) -> int:
        """Write, and return how many bytes were dropped. The caller touches nothing shared afterwards."""
        lost = self.stream.write(bytes(data)) if self.stream is not None else None
        while lost is None:  # more than once if the file begins or ends to hang just now
            lost = self._defer(worker, data) if self.hanging else self._write_file(worker, data)
        self._ring()
        return lost

    def _ring(self) -> None:
        for listener in self.listeners:
            listener()

    def _write_file(self, worker: Worker, data: memoryview | bytes) -> int | None:
        """How many bytes were dropped; None if it hangs, and all are to be deferred."""
        now = time.monotonic()
        if now < self._retry_at:
            self.dropped += len(data)
            return len(data)
        file, before = self.file, self.file.total
        try:
            with Inside(self._pump, self, worker):
                if self._pump.hung:
                    self._avoid_hung_device()
                if now >= self._check_at:
                    self._check(now)
                if file.fd < 0:
                    self._open()
                file.write(data, worker.intent)
            if file.rotation_problem or self.problem:
                self._note(file.rotation_problem, now)
            self._retry_at, self._delay = 0.0, RETRIES[0]
        except NotAFileError:
            return self._become_stream(data)
        except _HungDeviceError:
            return None
        except OSError as exc:
            lost = len(data) - (file.total - before)
            self.dropped += lost
            self._failed(exc, now)
            return lost
        return 0

    def _check(self, now: float) -> None:
        self._check_at = now + CHECK
        if self.file.fd >= 0 and not self.file.current():
            self.file.close()  # deleted or moved away: supervisord goes on writing where nobody can read it

    def _open(self) -> None:
        if (target := resolve(self.path)) != self.path or inherited(self.path) is not None:
            raise NotAFileError(0, "an inherited descriptor", target)
        if self._pump.hung:
            self._avoid_hung_device()
        self.file.open()

    def _become_stream(self, data: memoryview | bytes) -> int:
        now = time.monotonic()
        try:
            self.stream = StreamWriter(open_stream(resolve(self.path)), self._stream_problem)
        except OSError as exc:
            self.dropped += len(data)
            self._failed(exc, now)
            return len(data)
        self._note("", now)
        return self.stream.write(bytes(data)) if data else 0

    def _stream_problem(self, problem: str) -> None:
        self._note(f"cannot write to {self.path}: {problem}" if problem else "", time.monotonic())

    def _failed(self, exc: OSError, now: float) -> None:
        self._retry_at = now + self._delay
        self._delay = min(self._delay * 2, RETRIES[1])
        self._note(f"cannot write to {self.path}: {exc.strerror or exc}", now)

    def _note(self, problem: str, now: float) -> None:
        """Remember the trouble or its end, and tell it, but not again and again."""
        if problem == self.problem:
            return
        self.problem = problem
        if not problem:
            if self._told:
                self._told = False
                log.info("writing to %s again; %d bytes were lost so far", self.path, self.total_dropped)
        elif now >= self._tell_at:
            self._tell_at, self._told = now + REPEAT, True
            log.error("%s; what is to be written there meanwhile is lost", problem)

    @property
    def total_dropped(self) -> int:
        """Bytes that did not reach the target."""
        return self.dropped + (self.stream.dropped if self.stream is not None else 0)

    # A file that hangs

    def stall(self) -> None:
        """The worker in our file is given up (the pump's lock is held)."""
        hang = self._pump.hung.setdefault(self.file.device, Hang()) if self.file.device else Hang()
        self._begin_to_hang(hang, f"writing to {self.path} hangs")

    def _begin_to_hang(self, hang: Hang, problem: str) -> None:
        if not self.hanging:
            self._backlog = Backlog(self.path)
        self.hanging, self._hang, self.problem = True, hang, problem

    def lose(self) -> None:
        """Our worker has slept for long (the pump's lock is held)."""
        self._hang.lost = True
        self._try_again()

    def holds_back(self, go_on: Callable[[Worker], None]) -> bool:
        """Whether nothing more shall be read for this target. Then `go_on` is called when that may have changed."""
        if not self.hanging:
            return False
        with self._pump.lock:
            if not self.hanging or self._hang.lost or not self._backlog.full:
                return False
            self._hang.held.append(go_on)
        return True

    def _try_again(self) -> None:
        """Have those go on who are held back (the pump's lock is held)."""
        held, self._hang.held = self._hang.held, []
        for go_on in held:
            self._pump.call(go_on)

    def _avoid_hung_device(self) -> None:
        """Do not hang where another worker does already. Raises _HungDeviceError: the output is to be deferred."""
        device = self.file.locate()
        with self._pump.lock:
            if (hang := self._pump.hung.get(device)) is None:
                return
            hang.others.append(self._revive)
            self._begin_to_hang(hang, f"the disk of {self.path} hangs")
        raise _HungDeviceError(errno.EAGAIN, self.problem, self.path)

    def _defer(self, worker: Worker, data: memoryview | bytes) -> int | None:
        """Keep it until the file answers; how many bytes were dropped instead. None if it does answer."""
        with self._pump.lock:
            if not self.hanging:
                return None
            if self._backlog.add(data, worker.intent, self._pump.intents):
                return 0
        self.dropped += len(data)
        return len(data)

    def thaw(self) -> None:
        """In the worker that hung, when it comes back, with the pump's other work in other hands."""
        log.warning("%s: it answers again; %d bytes were lost so far", self.problem or self.path, self.total_dropped)
        self._write_deferred()
        with self._pump.lock:
            self._pump.hung.pop(self.file.device, None)
            others, self._hang.others = self._hang.others, []
        for revive in others:
            self._pump.call(revive)

    def _revive(self, worker: Worker) -> None:
        with Inside(self._pump, self, worker):
            self._write_deferred()

    def _write_deferred(self) -> None:
        while (kept := self._next_deferred()) is not None:
            spool, data = (kept, kept.content) if isinstance(kept, Spool) else (None, kept)
            before = self.file.total
            try:
                self.file.write(data, spool)
            except OSError as exc:
                self.dropped += len(data) - (self.file.total - before)
                self._failed(exc, time.monotonic())
            if spool is not None:
                spool.remove()
        if self._retry_at == 0.0:
            self.problem = ""
        self._ring()

    def _next_deferred(self) -> bytes | Spool | None:
        with self._pump.lock:
            self._hang.lost = False  # it writes
            if (kept := self._backlog.take()) is None:
                self.hanging = False
                if self._closed:
                    self.file.close()
            self._try_again()
            return kept

    # Orders; they run in the log thread and raise OSError

    def command(self, worker: Worker, action: Callable[[], None]) -> None:
        """Perform a method of the file on order. Raises OSError."""
        if self.stream is not None:
            return
        if self.hanging:
            raise OSError(errno.EAGAIN, self.problem, self.path)
        try:
            with Inside(self._pump, self, worker):
                if self._pump.hung:
                    self._avoid_hung_device()
                action()
            self._retry_at, self._delay = 0.0, RETRIES[0]
            self._note("", time.monotonic())
        except NotAFileError:
            self._become_stream(b"")
        self._ring()

    def probe(self) -> None:
        """For `command`: open the file if it is not."""
        if self.file.fd < 0:
            self._open()

    def close(self, worker: Worker) -> None:
        """Close the file, or end the stream after what it still has to write."""
        with self._pump.lock:
            self._closed = True
            if self.stream is not None:
                self.stream.close()
            elif not self.hanging:
                self.file.close()

    @property
    def closed(self) -> bool:
        """Whether nothing is left to be written after `close`."""
        return self._closed and (self.stream is None or not self.stream.alive)


class _HungDeviceError(OSError):
    """Another file on the same device hangs."""


class Sinks:
    """The targets in use, by path: whoever names the same path shares one, so that it is rotated by one. Loop only."""

    def __init__(self, pump: Pump) -> None:
        self._pump = pump
        self._open: dict[str, Sink] = {}
        self._ending: list[Sink] = []  # released; their streams may still be writing
        self._many = MANY  # so many of them are looked at, whether they still are

    def acquire(self, path: str, maxbytes: int, backups: int) -> Sink:
        """Return the target at `path`; the limits given last hold for all who share it."""
        path = os.path.abspath(path)
        if (sink := self._open.get(path)) is None:
            sink = self._open[path] = Sink(path, self._pump)
            sink.file.configure(maxbytes, backups)  # which nobody uses yet
        else:
            sink.users += 1
        if (maxbytes, backups) != (sink.file.maxbytes, sink.file.backups):
            file = sink.file
            self._pump.call(lambda worker: file.configure(maxbytes, backups))
        return sink

    def release(self, sink: Sink) -> None:
        """Give up one use; the last one closes the target, after all that was sent to it."""
        sink.users -= 1
        if sink.users == 0:
            del self._open[sink.path]
            if len(self._ending) >= self._many:  # not at each: a thousand may end before the log thread closes one
                self._ending = [each for each in self._ending if not each.closed]
                self._many = max(MANY, 2 * len(self._ending))
            self._ending.append(sink)
            self._pump.call(sink.close)

    def release_all(self) -> None:
        """Close every target, after all that was sent to it."""
        for sink in self.all():
            sink.users = 1
            self.release(sink)

    def ending(self) -> tuple[StreamWriter, ...]:
        """The streams of released targets that have not written all yet."""
        return tuple(sink.stream for sink in self._ending if sink.stream is not None)

    def all(self) -> tuple[Sink, ...]:
        """Every target in use."""
        return tuple(self._open.values())
