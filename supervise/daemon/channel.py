"""A channel: what happens to a program's stdout or stderr between the pipe and the file."""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncGenerator, Callable
from typing import Protocol

from supervise.core.capture import Capture
from supervise.daemon.followers import Gap, Live, Truncated, follow_log, readable_path
from supervise.daemon.sinks import Sink
from supervise.system.pipes import enlarge, pending
from supervise.system.pump import Pump, Worker

log = logging.getLogger("supervise")

RING = 2048  # last bytes kept in memory of every channel, for `explain`
STREAM_RING = 64 * 1024  # of a channel whose target cannot be read back, for `tail`
FULL = 32 * 1024  # bytes in one read that show that a pipe wants to be larger
OLD_PIPES = 16  # pipes of earlier runs, held open by what these left behind

OutputHook = Callable[[str, str, int, bytes], None]


class Filter(Protocol):
    """Takes the stream and returns what goes on to the log (the rest it may keep, drop, or send elsewhere)."""

    def feed(self, data: bytes) -> bytes: ...
    def flush(self) -> bytes: ...


class Channel:
    """One program's stdout or stderr, over all its runs. Fed in the log thread; asked in the loop's."""

    __slots__ = (
        "_dropped",
        "_filter",
        "_live",
        "_loop",
        "_ring",
        "capture",
        "copied",
        "hook",
        "name",
        "namespec",
        "old",
        "passage",
        "path",
        "sink",
        "written",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, namespec: str, name: str) -> None:
        self.namespec, self.name = namespec, name  # "group:process", "stdout" or "stderr"
        self.path: str | None = None  # the target as configured; an AUTO one with its real name
        self.sink: Sink | None = None  # None: read, kept in the ring, and written nowhere
        self.written = 0
        self.hook: OutputHook | None = None  # called in the log thread with (namespec, channel, pid, data)
        self.capture = 0  # bytes of a passage between capture tokens that are kept, from the next run on; 0: no capture
        self.passage: OutputHook | None = None  # called like `hook`, with whole passages
        self.copied = ""  # with loglevel debug the output is copied to the main log under this name
        self.old: list[ChildPipe] = []  # of earlier runs, oldest first; both threads use it, by atomic operations
        self._dropped = 0
        self._filter: Filter | None = None
        self._live: tuple[Live, ...] = ()
        self._ring = bytearray()
        self._loop = loop

    def set_filter(self, new: Filter | None) -> None:
        """Put a filter between the pipe and all that follows. Before the first byte."""
        self._filter = new

    @property
    def problem(self) -> str:
        """Why output is not written at present; "" if it is."""
        return self.sink.problem if self.sink is not None else ""

    @property
    def dropped(self) -> int:
        """Bytes that were read and could not be written."""
        stream = self.sink.stream if self.sink is not None else None
        return self._dropped if stream is None else stream.dropped

    def feed(self, worker: Worker, data: memoryview | bytes, pid: int) -> None:
        """Pass the next piece on. Log thread; the write to the sink comes last (see `Pump`)."""
        if self._filter is not None:
            data = self._filter.feed(bytes(data))
        if data:
            self._pass(worker, data, pid)

    def flush(self, worker: Worker) -> None:
        """Pass on what the filter has held back (B7). Log thread."""
        if self._filter is not None and (data := self._filter.flush()):
            self._pass(worker, data, 0)

    def _pass(self, worker: Worker, data: memoryview | bytes, pid: int) -> None:
        sink = self.sink
        self._remember(data, STREAM_RING if sink is not None and sink.is_stream else RING)
        if self._live or self.hook is not None or self.copied:
            self._share(bytes(data), pid)
        if sink is not None:
            lost = sink.write(worker, data)
            self._dropped += lost
            self.written += len(data) - lost

    def _remember(self, data: memoryview | bytes, limit: int) -> None:
        ring = self._ring
        if len(data) >= limit:
            ring[:] = data[-limit:]
            return
        ring += data
        if len(ring) > limit + limit // 2:
            del ring[:-limit]

    def _share(self, data: bytes, pid: int) -> None:
        for live in self._live:
            live.put(data)
        if self.hook is not None:
            self.hook(self.namespec, self.name, pid, data)
        if self.copied and log.isEnabledFor(logging.DEBUG):
            text = data.decode("utf-8", "backslashreplace")
            log.debug("%r %s output:\n%s", self.copied, self.name, text, extra={"verbatim": True})

    def tail_ring(self) -> bytes:
        """The last bytes that passed, from memory: RING of them, STREAM_RING for a target that cannot be read back."""
        limit = STREAM_RING if self.sink is not None and self.sink.is_stream else RING
        return bytes(self._ring[-limit:])

    def live(self, maxbuffer: int = 256 * 1024) -> Live:
        """Return an async iterator over what passes from now on (`bytes | Gap`); closing it ends it."""
        live = Live(self._loop, maxbuffer, self._leave)
        self._live = (*self._live, live)
        return live

    @property
    def readable_path(self) -> str | None:
        """The file to read back; None: only `tail_ring` can tell."""
        return readable_path(self)

    def follow(self, start: int) -> AsyncGenerator[bytes | Gap | Truncated, None]:
        """The last `start` bytes, beginning with a whole character, then what comes, for ever; close it at the end."""
        return follow_log(self, start)

    def _leave(self, live: Live) -> None:
        self._live = tuple(each for each in self._live if each is not live)


class ChildPipe:
    """Our end of one pipe of one run. It is read for as long as anybody has the other end (B6)."""

    __slots__ = ("_capture", "_large", "busy", "channel", "fd", "inode", "pid", "pump")

    def __init__(self, pump: Pump, channel: Channel, fd: int) -> None:
        self.pump, self.channel, self.fd = pump, channel, fd
        self.inode = os.fstat(fd).st_ino  # how the next daemon knows it again
        self.pid = 0
        self.busy = False  # something was read that is not written yet
        self._large = False
        self._capture = Capture(channel.capture) if channel.capture > 0 else None
        pump.watch(fd, self)

    def ready(self, worker: Worker) -> None:
        """Read one buffer and pass it on."""
        self._read(worker, worker.buffer)

    def _read(self, worker: Worker, buffer: memoryview) -> int:
        if self.fd < 0:
            return 0
        self.busy = True  # before reading, so that `idle` cannot miss bytes between the pipe and the file
        try:
            count = os.readv(self.fd, (buffer,))
        except BlockingIOError:
            self.busy = False
            return 0
        except OSError as exc:
            log.error("cannot read %s of %s: %s", self.channel.name, self.channel.namespec, exc.strerror)
            count = 0
        if count == 0:
            self.close(worker)
            self.flush(worker)
        else:
            if count >= FULL and not self._large:
                self._large = True
                enlarge(self.fd)
            worker.count += count
            self._feed(worker, buffer[:count])
        self.busy = False
        return count

    def _feed(self, worker: Worker, data: memoryview | bytes) -> None:
        if self._capture is not None:
            data, passages = self._capture.feed(bytes(data))
            if (tell := self.channel.passage) is not None:
                for passage in passages:
                    tell(self.channel.namespec, self.channel.name, self.pid, passage)
        self.channel.feed(worker, data, self.pid)

    def flush(self, worker: Worker) -> None:
        """Pass on what the filters have held back, for which there may be no more input (B7). Log thread."""
        if self._capture is not None and (data := self._capture.flush()):
            self.channel.feed(worker, data, self.pid)
        self.channel.flush(worker)

    def idle(self) -> bool:
        """Whether all that was written into the pipe so far has been passed on. Any thread."""
        holds = self._capture is not None and self._capture.holds
        return self.fd < 0 or (pending(self.fd) == 0 and not self.busy and not holds)

    def drain(self, worker: Worker) -> None:
        """Pass on what is in the pipe now, and no more: somebody may be writing for ever."""
        left = pending(self.fd) if self.fd >= 0 else 0
        while left > 0 and not worker.retired:
            count = self._read(worker, worker.buffer[:left])
            if not count:
                break
            left -= count

    def leave(self) -> None:
        """Be no longer one of the channel's old pipes. Any thread."""
        with contextlib.suppress(ValueError):
            self.channel.old.remove(self)

    def close(self, worker: Worker) -> None:
        """Stop reading. Log thread."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            self.pump.close_source(fd)
            self.leave()
