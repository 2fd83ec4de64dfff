"""Writing to what may be slow for ever: our own stdout, a terminal, a FIFO. A bounded queue and a thread each."""

import contextlib
import os
import re
import select
import stat
import threading
import time
from collections import deque
from collections.abc import Callable

from supervise.system.links import open_log
from supervise.system.threads import begin

QUEUE = 1 << 20  # bytes that wait for a slow reader; what comes then is dropped
PATIENCE = 1.0  # seconds that a closed stream may take for what is queued

_INHERITED = re.compile(r"/dev/(?:stdout|stderr)|(?:/dev/fd|/proc/self/fd)/(\d+)")


def inherited(path: str) -> int | None:
    """The number of our own descriptor that `path` means, if it does: it is then used and never opened again.

    Opening it again fails for a socket, and after a change of user (and would start at offset 0 of a file).
    """
    match = _INHERITED.fullmatch(path)
    if match is None:
        return None
    return int(match[1]) if match[1] else {"/dev/stdout": 1, "/dev/stderr": 2}[path]


def resolve(path: str) -> str:
    """`path`, or what it leads to by symbolic links if that is an inherited descriptor (as container images do it)."""
    target = path
    for _ in range(8):
        if inherited(target) is not None:
            return target
        try:
            target = os.path.join(os.path.dirname(target), os.readlink(target))
        except OSError:
            break
    return path


def open_stream(path: str) -> int:
    """Return a new descriptor for an inherited one, or for a FIFO or device. Never waits for a reader.

    Raises OSError; ELOOP for a link that root is not to follow (see `open_log`).
    """
    if (number := inherited(path)) is not None:
        return os.dup(number)
    flags = os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
    if stat.S_ISFIFO(os.stat(path).st_mode):
        return open_log(path, os.O_RDWR | flags)  # as its own reader it neither fails now nor breaks later (fifo(7))
    return open_log(path, os.O_WRONLY | flags)


class StreamWriter:
    """Takes bytes at once and writes them in its own thread, started by the first of them; any thread may call.

    `report(problem)` is called, in that thread, when writing begins to fail, and with "" when it succeeds again.
    """

    def __init__(self, fd: int, report: Callable[[str], None]) -> None:
        self._fd, self._report = fd, report
        self.dropped = 0
        self.problem = ""
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._deadline = 0.0  # set by close
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        # poll(2) promises room for one page in a pipe; more might block in a pipe that is not non-blocking.
        self._piece = 4096 if stat.S_ISFIFO(os.fstat(fd).st_mode) or os.isatty(fd) else 65536

    def write(self, data: bytes) -> int:
        """Queue `data`; return how many bytes were dropped because the queue is full: none or all."""
        with self._changed:
            if self._queued + len(data) > QUEUE or self._deadline:
                self.dropped += len(data)
                return len(data)
            self._queue.append(data)
            self._queued += len(data)
            if self._thread is None:
                with contextlib.suppress(OSError):  # there can be no thread; whoever comes next tries again
                    self._thread = begin(self._run, "log stream")
            self._changed.notify()
        return 0

    def settle(self, seconds: float) -> bool:
        """Wait until all is written that was queued; False if that takes longer."""
        with self._changed:
            return self._changed.wait_for(lambda: self._queued == 0, max(0.0, seconds))

    def close(self) -> None:
        """Write what is queued, for at most PATIENCE seconds, and close the descriptor; does not wait for that."""
        with self._changed:
            if self._deadline:
                return
            self._deadline = time.monotonic() + PATIENCE
            if self._thread is None:
                self._free()
                return
            self._changed.notify()
            os.eventfd_write(self._wake, 1)

    def join(self) -> None:
        """After `close`: wait until all is written, or PATIENCE is over. A thread blocked in write(2) is left alone."""
        if self._thread is not None:
            self._thread.join(PATIENCE + 0.5)

    @property
    def alive(self) -> bool:
        """Whether the writing thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def _free(self) -> None:
        os.close(self._fd)
        os.close(self._wake)

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        poll.register(self._wake, select.POLLIN)
        while (data := self._next()) is not None:
            lost = self._write_all(memoryview(data), poll)
            with self._changed:
                self._queued -= len(data)
                self.dropped += lost
                self._changed.notify_all()
        self._free()

    def _next(self) -> bytes | None:
        with self._changed:
            while not self._queue:
                if self._deadline:
                    return None
                self._changed.wait()
            return self._queue.popleft()

    def _write_all(self, data: memoryview, poll: select.poll) -> int:
        while data:
            left = max(0.0, self._deadline - time.monotonic()) * 1000 if self._deadline else None
            ready = dict(poll.poll(left))
            if not ready:
                return len(data)
            if self._wake in ready:
                poll.unregister(self._wake)  # it was to tell of the deadline
            if self._fd not in ready:
                continue
            try:
                data = data[os.write(self._fd, data[: self._piece]) :]
            except BlockingIOError:
                continue
            except OSError as exc:
                self._tell(exc.strerror or str(exc))
                return len(data)
        self._tell("")
        return 0

    def _tell(self, problem: str) -> None:
        if problem != self.problem:
            self.problem = problem
            with contextlib.suppress(Exception):
                self._report(problem)
