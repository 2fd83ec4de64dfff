"""A channel: what happens to a program's stdout or stderr between the pipe and the file."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from typing import Protocol

from supervise.daemon.followers import Gap, Live, Truncated, follow_log, readable_path
from supervise.daemon.losses import Loss
from supervise.daemon.outputs import LineStream
from supervise.daemon.sinks import Sink
from supervise.system.pump import Worker

log = logging.getLogger("supervise")

RING = 2048  # last bytes kept in memory of every channel, for `explain`
STREAM_RING = 64 * 1024  # of a channel whose target cannot be read back, for `tail`
OLD_PIPES = 16  # pipes of earlier runs, held open by what these left behind

OutputHook = Callable[[str, str, int, bytes], None]
Target = tuple[str, int, int]  # the path of a file, maxbytes, backups


class Former(Protocol):
    """A pipe of an earlier run that is still read."""

    inode: int
    fd: int
    given_up: bool

    def leave(self) -> None: ...

    locked: bool

    def drain(self, worker: Worker) -> None: ...
    def flush(self, worker: Worker) -> None: ...
    def close(self, worker: Worker) -> None: ...


class Channel:
    """One program's stdout or stderr, over all its runs. Fed in the log thread; asked in the loop's."""

    __slots__ = (
        "_dropped",
        "_live",
        "_loop",
        "_passed",
        "_ring",
        "auto",
        "begun",
        "capture",
        "copied",
        "hook",
        "lines",
        "loss",
        "name",
        "namespec",
        "old",
        "passage",
        "path",
        "sink",
        "strip",
        "target",
        "unheard",
        "unread",
        "written",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, namespec: str, name: str) -> None:
        self.namespec, self.name = namespec, name  # "group:process", "stdout" or "stderr"
        self.path: str | None = None  # where it goes as configured; if that is AUTO, by its real name
        self.auto = False
        self.target: Target | None = None  # the same with its limits, if anything is written there
        self.sink: Sink | None = None  # None: read, kept in the ring, and written nowhere
        self.lines: LineStream | None = None  # where lines go besides: syslog, the journal
        self.written = 0
        self.hook: OutputHook | None = None  # called in the log thread with (namespec, channel, pid, data)
        self.capture = 0  # bytes of a passage between capture tokens that are kept, from the next run on; 0: no capture
        self.passage: OutputHook | None = None  # called like `hook`, with whole passages
        self.strip = False  # whether terminal sequences are removed, from the next run on
        self.copied = ""  # with loglevel debug the output is copied to the main log under this name
        self.old: list[Former] = []  # of earlier runs, oldest first; both threads use it, by atomic operations
        self.unread = 0  # pipes of earlier runs that were too many
        self.unheard = ""  # why what the present run writes cannot be read
        self.loss = Loss()
        self._dropped = 0
        self._live: tuple[Live, ...] = ()
        self._ring = bytearray()
        self._passed = self.begun = 0  # bytes that have passed, now and when the present run began
        self._loop = loop

    @property
    def problem(self) -> str:
        """Why output is not written at present, or some of it not read any more; "" if all is well."""
        problem = self.sink.problem if self.sink is not None else ""
        unread = f"{self.unread} pipes of processes of earlier runs are no longer read" if self.unread else ""
        return self.unheard or problem or (self.lines.problem if self.lines is not None else "") or unread

    @property
    def dropped(self) -> int:
        """Bytes that were read and could not be written, also by daemons before us."""
        stream = self.sink.stream if self.sink is not None else None
        unsent = self.lines.dropped if self.lines is not None else 0
        return self.loss.before + unsent + (self._dropped if stream is None else stream.dropped)

    def feed(self, worker: Worker, data: memoryview | bytes, pid: int) -> None:
        """Pass the next piece on. Log thread; the write to the sink comes last (see `Pump`)."""
        sink = self.sink
        self._remember(data, STREAM_RING if sink is not None and sink.is_stream else RING)
        if self._live or self.hook is not None or (self.copied and log.isEnabledFor(logging.DEBUG)):
            self._share(bytes(data), pid)
        if self.lines is not None:
            self.lines.feed(bytes(data), pid)
        lost = 0
        if sink is not None:
            lost = sink.write(worker, data)
            self._dropped += lost
            self.written += len(data) - lost
        if lost or self.lines is not None:
            self.loss.keep(self.dropped)

    def end_line(self, worker: Worker) -> None:
        """A line that has no end so far will have none. Log thread."""
        if self.lines is not None:
            self.lines.flush()

    def _remember(self, data: memoryview | bytes, limit: int) -> None:
        self._passed += len(data)
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

    def begin(self) -> None:
        """A new run of the program begins: `run_ring` starts empty."""
        self.unheard = ""
        self.begun = self._passed
        if self.lines is not None:
            self.lines.pid = 0

    def cut_off(self, pid: int) -> None:
        """A daemon before us has started the present run, and its pipe is out of our reach: say so until the next."""
        self.unheard = (
            f"the {self.name} of pid {pid} cannot be read since the daemon that started it was killed, and once a pipe"
            f" is full of it the program hangs: restart it; with --respawn the pipe would have been kept"
        )
        log.critical("%s: %s", self.namespec, self.unheard)

    def run_ring(self) -> bytes:
        """The last bytes that the present run has written, RING of them at most."""
        of_run = min(RING, self._passed - self.begun)
        return bytes(self._ring[-of_run:]) if of_run > 0 else b""

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
