"""Reading a log, wherever it is: from its file, or from memory where there is none to read or it hangs."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Protocol

from supervise.daemon.followers import Bell, Gap, Live, Truncated, follow_file
from supervise.daemon.sinks import Sink
from supervise.system.logread import cut_lines, read_slice, tail, tail_lines, whole_characters


class Log(Protocol):
    """A channel of a process, or the main log."""

    @property
    def path(self) -> str | None: ...
    @property
    def sink(self) -> Sink | None: ...
    def tail_ring(self) -> bytes: ...
    def live(self, maxbuffer: int = ...) -> Live: ...


def _file(log: Log) -> str | None:
    """The file to read; None: use the ring. Raises FileNotFoundError if the log is not kept at all."""
    if log.path is None:
        raise FileNotFoundError(2, "no log is kept")
    sink = log.sink
    return None if sink is None or sink.is_stream or sink.hanging else log.path


async def read_log(log: Log, offset: int, length: int) -> bytes:
    """supervisord's readLog (see `logread.read_slice`). Raises ValueError("BAD_ARGUMENTS"), OSError."""
    if (path := _file(log)) is not None:
        return await asyncio.to_thread(read_slice, path, offset, length)
    if (offset < 0 and length) or length < 0:
        raise ValueError("BAD_ARGUMENTS")
    data = log.tail_ring()
    return data[offset:] if not length else data[offset : offset + length]


async def tail_log(log: Log, offset: int, length: int) -> tuple[bytes, int, bool]:
    """supervisord's tail (see `logread.tail`); a file that does not exist is empty. Raises OSError."""
    if (path := _file(log)) is not None:
        return await asyncio.to_thread(tail, path, offset, length)
    data = log.tail_ring()
    wanted = max(0, min(length, len(data))) if offset < len(data) else 0
    return data[len(data) - wanted :], len(data), len(data) > offset + length


async def tail_log_lines(log: Log, lines: int) -> bytes:
    """The last lines, an unfinished one included. Raises OSError."""
    if (path := _file(log)) is not None:
        return await asyncio.to_thread(tail_lines, path, lines)
    return cut_lines(log.tail_ring(), lines) if lines > 0 else b""


def follow_log(log: Log, start: int = 1024) -> AsyncGenerator[bytes | Gap | Truncated, None]:
    """The last `start` bytes, beginning with a whole character, then what comes, for ever. Use `aclosing`.

    Raises FileNotFoundError at once if the log is not kept.
    """
    if (path := _file(log)) is not None and log.sink is not None:
        return _follow_file(log.sink, path, start)
    return _follow_ring(log, start)


async def _follow_file(sink: Sink, path: str, start: int) -> AsyncGenerator[bytes | Gap | Truncated, None]:
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
        if start and ring:
            yield whole_characters(ring[-start:]) if len(ring) > start else ring
        async for item in live:
            yield item
    finally:
        live.close()
