"""Sending lines to a log server that may be slow, dead or away: a bounded queue and a thread for each server."""

import contextlib
import errno
import logging
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NamedTuple, Protocol

from supervise.system.threads import begin

QUEUE = 1 << 20  # bytes that wait for the server; what comes then is dropped
OVERHEAD = 200  # bytes that an entry of the queue takes beside its text
PATIENCE = 1.0  # seconds that a closed sender may take for what is queued
RETRIES = (0.1, 10.0)  # seconds before a server is tried again, at the first failure and at most
STUCK = 1.0  # seconds without progress that are told
SETTLED = 5.0  # seconds without an error after which a datagram's server counts as there again
REPEAT = 60.0  # seconds before the same trouble is told again

log = logging.getLogger("supervise")


class Connection(Protocol):
    """An open, non-blocking way to a server. `reliable`: a successful send means that somebody is there."""

    sock: socket.socket
    reliable: bool

    def frame(self, message: bytes) -> bytes:
        """What goes over the wire for one message."""

    def gone(self) -> bool:
        """Whether the server has left in the meantime."""


class Entry(NamedTuple):
    """Some lines, and how they become messages; that is done in the sender's thread."""

    messages: Callable[["Entry"], Iterable[bytes]]
    data: bytes
    at: float  # wall-clock seconds
    pid: int


class Sender:
    """Takes entries at once, in any thread, and delivers them in its own, started by the first of them.

    Never raises and never waits for the server. What finds the queue full is dropped and counted; trouble is told once
    in the main log, with its end. A message may arrive twice if a stream breaks in its middle, and is else sent once.
    """

    def __init__(self, name: str, connect: Callable[[], Connection]) -> None:
        self.name, self.problem = name, ""
        self.dropped = self.lost_lines = 0  # bytes, lines
        self._connect = connect
        self._connection: Connection | None = None
        self._queue: deque[Entry] = deque()
        self._queued = 0
        self._overflowed = False
        self._delay = RETRIES[0]
        self._deadline = self._failed_at = self._told_at = 0.0
        self._changed = threading.Condition()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread: threading.Thread | None = None

    def put(self, entry: Entry) -> int:
        """Queue an entry; returns how many bytes were dropped: none or all."""
        with self._changed:
            if self._deadline or self._queued + len(entry.data) + OVERHEAD > QUEUE:
                self._overflowed = True
                self._lose(entry.data)
                return len(entry.data)
            self._queue.append(entry)
            self._queued += len(entry.data) + OVERHEAD
            if self._thread is None:
                with suppress(OSError):  # there can be no thread; whoever comes next tries again
                    self._thread = begin(self._run, "log sender")
            self._changed.notify()
        return 0

    def close(self) -> None:
        """Deliver what is queued, for at most PATIENCE seconds; does not wait for that."""
        with self._changed:
            if self._deadline:
                return
            self._deadline = time.monotonic() + PATIENCE
            if self._thread is None:
                os.close(self._wake)
                return
            self._changed.notify()
            os.eventfd_write(self._wake, 1)

    @property
    def busy(self) -> bool:
        """Whether its thread is still there."""
        return self._thread is not None and self._thread.is_alive()

    def join(self) -> None:
        """After `close`: wait until all is delivered, or PATIENCE is over."""
        if self._thread is not None:
            self._thread.join(PATIENCE + 0.5)

    def _lose(self, data: bytes) -> None:
        self.dropped += len(data)
        self.lost_lines += max(1, data.count(b"\n"))

    # The sender's thread

    def _run(self) -> None:
        while (entry := self._next()) is not None:
            try:
                lost = [message for message in entry.messages(entry) if not self._deliver(message)]
            except Exception:  # a mistake of ours must not end the thread
                log.critical("lines for %s could not be sent", self.name, exc_info=True)
                lost = [entry.data]
            with self._changed:
                self._queued -= len(entry.data) + OVERHEAD
                for message in lost:
                    self._lose(message)
        self._disconnect()
        os.close(self._wake)

    def _next(self) -> Entry | None:
        with self._changed:
            while not self._queue:
                if self._deadline:
                    return None
                self._changed.wait()
            return self._queue.popleft()

    def _deliver(self, message: bytes) -> bool:
        """Send one message, however long that takes. False if it cannot be sent, or the end has come before."""
        while True:
            if self._deadline and time.monotonic() >= self._deadline:
                return False
            try:
                if self._connection is not None and self._connection.gone():
                    self._disconnect()
                if self._connection is None:
                    self._connection = self._connect()
                if not self._send(self._connection, self._connection.frame(message)):
                    return False
            except OSError as error:
                if error.errno == errno.EMSGSIZE:
                    return False
                reliable = self._connection is None or self._connection.reliable
                self._failed(error.strerror or str(error))
                if reliable or error.errno != errno.ECONNREFUSED:
                    self._pause(self._delay)
                    self._delay = min(self._delay * 2, RETRIES[1])
                else:  # that is about the datagram before; this one may well arrive
                    with self._changed:
                        self._lose(b"")
                continue
            self._delay = RETRIES[0]
            if self.problem and (self._connection.reliable or time.monotonic() > self._failed_at + SETTLED):
                self._recovered()
            return True

    def _send(self, connection: Connection, data: bytes) -> bool:
        """All of `data`. False if the end has come before. Raises OSError."""
        view, since = memoryview(data), time.monotonic()
        while view:
            try:
                view = view[connection.sock.send(view) :]
                since = time.monotonic()
            except BlockingIOError:
                if not self._wait(connection.sock, since):
                    return False
        return True

    def _wait(self, sock: socket.socket, since: float) -> bool:
        """Until the server may take more. False at the end of our patience."""
        now = time.monotonic()
        if self._deadline and now >= self._deadline:
            return False
        if now - since >= STUCK and self._overflowed:
            self._note(f"{self.name} takes nothing", now)
        poll = select.poll()
        poll.register(sock, select.POLLOUT)
        if not self._deadline:
            poll.register(self._wake, select.POLLIN)
        poll.poll(min(STUCK, self._deadline - now if self._deadline else STUCK) * 1000)
        return True

    def _pause(self, seconds: float) -> None:
        """Wait before the next attempt, not beyond the end."""
        if self._deadline:
            time.sleep(max(0.0, min(seconds, self._deadline - time.monotonic())))
            return
        with self._changed:
            self._changed.wait_for(lambda: bool(self._deadline), seconds)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.sock.close()
            self._connection = None

    def _failed(self, why: str) -> None:
        self._disconnect()
        self._failed_at = time.monotonic()
        self._note(f"cannot send to {self.name}: {why}", self._failed_at)

    def _note(self, problem: str, now: float) -> None:
        if problem != self.problem and now >= self._told_at:
            self._told_at = now + REPEAT
            log.error("%s; lines wait, and are dropped when %d bytes are waiting", problem, QUEUE)
        self.problem = problem

    def _recovered(self) -> None:
        with self._changed:
            lost, self.lost_lines, self._overflowed = self.lost_lines, 0, False
        self.problem = ""
        self._told_at = 0.0
        log.info("sending to %s again; %d lines were lost", self.name, lost)


class Stream:
    """A connection whose messages are told apart by a framing. See `Connection`."""

    reliable = True

    def __init__(self, sock: socket.socket, framing: Callable[[bytes], bytes]) -> None:
        self.sock, self._framing = sock, framing
        sock.setblocking(False)

    def frame(self, message: bytes) -> bytes:
        return self._framing(message)

    def gone(self) -> bool:
        with contextlib.suppress(BlockingIOError):
            return not self.sock.recv(1024)  # servers say nothing; an end of file says that they have gone
        return False


class Datagram:
    """A connection that sends each message as one datagram. See `Connection`."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.reliable = sock.family == socket.AF_UNIX
        sock.setblocking(False)

    def frame(self, message: bytes) -> bytes:
        return message

    def gone(self) -> bool:
        return False
