"""Whoever reads a log while it is written: bounded, told what was missed, and of no cost when nobody does."""

import asyncio
import contextlib
import os
import stat
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

from supervise.daemon.sinks import Sink
from supervise.system.links import open_log
from supervise.system.logfile import FRONT
from supervise.system.logread import whole_characters

PIECE = 64 * 1024


class Gap(NamedTuple):
    """The reader was too slow, or the file was rotated too often: so many bytes were missed (0: an unknown number)."""

    missed: int


@dataclass(frozen=True, slots=True)
class Truncated:
    """The file was cut: what follows starts at its beginning."""


class Live:
    """The bytes that pass from now on: an async iterator of `bytes | Gap`, holding at most `limit` bytes.

    `put` is called in the log thread, the rest in the loop. When it is full the oldest bytes go.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: int, leave: Callable[["Live"], None]) -> None:
        self._loop, self._limit, self._leave = loop, limit, leave
        self._lock = threading.Lock()
        self._queue: deque[bytes] = deque()
        self._size = self._missed = 0
        self._told = self._closed = False
        self._wake = asyncio.Event()

    def put(self, data: bytes) -> None:
        """Queue `data`; wakes the loop once, however much comes before it looks."""
        with self._lock:
            self._queue.append(data)
            self._size += len(data)
            while self._size > self._limit and len(self._queue) > 1:
                self._size -= len(self._queue[0])
                self._missed += len(self._queue.popleft())
            if self._told:
                return
            self._told = True
        _wake(self._loop, self._wake.set)

    def _take(self) -> list[bytes | Gap]:
        with self._lock:
            items: list[bytes | Gap] = [Gap(self._missed)] if self._missed else []
            if self._queue:
                items.append(b"".join(self._queue))
            self._queue.clear()
            self._size = self._missed = 0
            self._told = False
            self._wake.clear()
        return items

    def close(self) -> None:
        """Leave; the iteration ends. May be called again."""
        self._closed = True
        self._leave(self)
        self._wake.set()

    async def __aiter__(self) -> AsyncIterator[bytes | Gap]:
        try:
            while not self._closed:
                await self._wake.wait()
                for item in self._take():
                    yield item
        finally:
            self.close()


class Bell:
    """Rung in the log thread, heard in the loop; any number of rings before it is heard are one."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._rung = False
        self._event = asyncio.Event()

    def ring(self) -> None:
        """Any thread."""
        if not self._rung:
            self._rung = True
            _wake(self._loop, self._event.set)

    async def wait(self) -> None:
        """Wait for a ring since the last `wait`."""
        await self._event.wait()
        self._event.clear()
        self._rung = False


def _wake(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(function)
    except RuntimeError:  # the loop is closed: nobody listens any more
        return


class Ringing(Protocol):
    async def wait(self) -> None: ...


async def follow_file(path: str, bell: Ringing, start: int) -> AsyncGenerator[bytes | Gap | Truncated, None]:
    """The last `start` bytes of a file (beginning with a whole character), then all that comes, for ever.

    The first item comes at once, be it b"": from then on nothing is missed. The file itself is read whenever the bell
    rings: exact however slow the reader is, with no memory but one piece. Rotation is followed by inode: first the rest
    of the old file, then every younger one in order; only when ours is older than the backups kept is there a Gap(0). A
    file that is missing is waited for.
    """
    reader = _Reader(path)
    try:
        for item in await asyncio.to_thread(reader.begin, start) or [b""]:
            yield item
        while True:
            for item in await asyncio.to_thread(reader.advance):
                yield item
            if not reader.more:
                await bell.wait()
    finally:
        reader.close()


_Identity: TypeAlias = tuple[int, int]


def _identity(facts: os.stat_result) -> _Identity:
    return facts.st_dev, facts.st_ino


class _Younger(NamedTuple):
    """A file to go on with, as it was called when we looked. `lost`: there were others between."""

    path: str
    file: _Identity
    lost: bool = False


class _Reader:
    """A position in a file that is rotated under us. Its methods block, and run in any thread, one at a time.

    `close` does not wait: a call that is still inside (its awaiter was cancelled, the disk hangs) closes when it ends.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1
        self._position = 0
        self._lock = threading.Lock()
        self._closing = False
        self.more = False  # there was more than one piece

    def begin(self, start: int) -> list[bytes | Gap | Truncated]:
        """Open the file and return its last `start` bytes, or nothing."""
        return self._alone(lambda: self._begin(start))

    def advance(self) -> list[bytes | Gap | Truncated]:
        """The next piece, if there is one, and what happened to the file."""
        return self._alone(self._advance)

    def _alone(self, step: Callable[[], list[bytes | Gap | Truncated]]) -> list[bytes | Gap | Truncated]:
        with self._lock:
            items = step() if not self._closing else []
        if self._closing:
            self.close()
        return items

    def close(self) -> None:
        """Close the file, or have the call that is inside do it."""
        self._closing = True
        if self._lock.acquire(blocking=False):
            try:
                self._shut()
            finally:
                self._lock.release()

    def _begin(self, start: int) -> list[bytes | Gap | Truncated]:
        if not self._try_open(self._path):
            return []
        size = os.fstat(self._fd).st_size
        self._position = max(0, size - start)
        data = os.pread(self._fd, size - self._position, self._position)
        cut = whole_characters(data) if self._position else data
        self._position += len(data)
        return [cut] if cut else []

    def _advance(self) -> list[bytes | Gap | Truncated]:
        items: list[bytes | Gap | Truncated] = []
        if self._fd < 0 and not self._try_open(self._path):
            return items
        if os.fstat(self._fd).st_size < self._position:
            self._position = 0
            items.append(Truncated())
        data = os.pread(self._fd, PIECE, self._position)
        self._position += len(data)
        self.more = len(data) == PIECE
        if data:
            items.append(data)
        if not self.more and (younger := self._younger()) is not None:
            # Whoever rotates has written its last to the old file before: one more look is enough.
            rest = os.pread(self._fd, PIECE, self._position)
            self._position += len(rest)
            if rest:
                items.append(rest)
            opened = len(rest) < PIECE and self._try_open(younger.path, younger.file)
            if opened and younger.lost:
                items.append(Gap(0))
            self.more = opened or len(rest) == PIECE  # else it was just renamed again, or may not be opened: wait
        return items

    def _younger(self) -> "_Younger | None":
        """The next file after ours; None if ours is the current one.

        Files only ever get higher numbers, and we look from the lowest up: so none that is renamed meanwhile is
        overlooked, and the last one seen before ours is the next. Numbers may have gaps (see `LogFile`).
        """
        ours = _identity(os.fstat(self._fd))
        try:
            current = younger = _Younger(self._path, _identity(os.stat(self._path)))
        except OSError:
            return None  # moved away and not there again yet: stay
        if current.file == ours:
            return None
        for number in range(1, self._highest() + 1):
            name = f"{self._path}.{number}"
            with contextlib.suppress(OSError):
                file = _identity(os.stat(name))
                if file == ours:
                    return younger
                younger = _Younger(name, file)
        return current._replace(lost=True)

    def _highest(self) -> int:
        """No backup has a higher number, nor gets one while we look."""
        folder, base = os.path.split(self._path)
        suffixes = (name[len(base) + 1 :] for name in os.listdir(folder or ".") if name.startswith(f"{base}."))
        return max((int(suffix) for suffix in suffixes if suffix.isdecimal()), default=0) + FRONT

    def _try_open(self, path: str, file: _Identity | None = None) -> bool:
        try:
            self._open(path, file)
        except OSError:
            return False
        return True

    def _open(self, path: str, file: _Identity | None) -> None:
        fd = open_log(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or file not in {None, _identity(found)}:
            os.close(fd)
            raise OSError(22, "it is not a regular file, or not the one that was meant", path)
        self._shut()
        self._fd, self._position = fd, 0

    def _shut(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


class Log(Protocol):
    """A channel of a process, or the main log."""

    @property
    def path(self) -> str | None: ...
    @property
    def sink(self) -> Sink | None: ...
    def tail_ring(self) -> bytes: ...
    def live(self, maxbuffer: int = ...) -> Live: ...


def readable_path(log: Log) -> str | None:
    """The file to read; None where there is none, it cannot be read back, or it hangs: then use the ring."""
    sink = log.sink
    return None if sink is None or sink.is_stream or sink.hanging else log.path


def follow_log(log: Log, start: int) -> AsyncGenerator[bytes | Gap | Truncated, None]:
    """The last `start` bytes, beginning with a whole character, then what comes, for ever; see `follow_file`. Loop
    thread."""
    path = readable_path(log)
    return _follow_ring(log, start) if path is None or log.sink is None else _follow_sink(log.sink, path, start)


async def _follow_sink(sink: Sink, path: str, start: int) -> AsyncGenerator[bytes | Gap | Truncated, None]:
    bell = Bell(asyncio.get_running_loop())
    sink.listeners = (*sink.listeners, bell.ring)
    try:
        async with aclosing(follow_file(path, bell, start)) as items:
            async for item in items:
                yield item
    finally:
        sink.listeners = tuple(each for each in sink.listeners if each != bell.ring)


async def _follow_ring(log: Log, start: int) -> AsyncGenerator[bytes | Gap | Truncated, None]:
    live = log.live()
    try:
        ring = log.tail_ring()
        yield (whole_characters(ring[-start:]) if len(ring) > start else ring) if start else b""
        async for item in live:
            yield item
    finally:
        live.close()
