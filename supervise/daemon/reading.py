"""Reading logs for clients: slices, tails and followers, off the loop's thread, with supervisord's faults.

What cannot be read back (a pipe, a terminal, /dev/stdout) is answered from the last bytes kept in memory.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Protocol, TypeAlias, TypeVar

from supervise.daemon.followers import Gap, Truncated
from supervise.errors import CommandError, Fault
from supervise.system import logread

MOST = 16 << 20  # bytes that one answer may carry

LogItem: TypeAlias = bytes | Gap | Truncated
T = TypeVar("T")


class Log(Protocol):
    """A log that can be read: a channel of a process, or the main log."""

    @property
    def path(self) -> str | None: ...
    @property
    def readable_path(self) -> str | None: ...
    def tail_ring(self) -> bytes: ...
    def follow(self, start: int) -> AsyncGenerator[LogItem, None]: ...


async def read(log: Log, offset: int, length: int) -> bytes:
    """supervisord's readLog. Raises CommandError: BAD_ARGUMENTS, NO_FILE, FAILED."""
    if (offset < 0 and length) or length < 0:
        raise CommandError(Fault.BAD_ARGUMENTS, "a negative offset goes with length 0, and no length is negative")
    path = log.readable_path
    if path is None:
        kept = _kept(log)
        return kept[offset : offset + length] if length else kept[offset:]
    data = await _read(path, lambda: logread.read_slice(path, offset, min(length, MOST + 1)))
    if len(data) > MOST:
        raise CommandError(Fault.FAILED, f"more than {MOST} bytes at once; ask for a slice")
    return data


async def tail(log: Log, offset: int, length: int) -> tuple[bytes, int, bool]:
    """supervisord's tail; a log that is not there is empty. Raises CommandError(FAILED)."""
    path = log.readable_path
    if path is None:
        kept = log.tail_ring() if log.path else b""
        return kept[-length:] if length > 0 else b"", len(kept), len(kept) > offset + length
    return await _read(path, lambda: logread.tail(path, offset, min(length, MOST)))


async def tail_lines(log: Log, lines: int) -> bytes:
    """The last lines. Raises CommandError: BAD_ARGUMENTS, NO_FILE, FAILED."""
    if lines < 0:
        raise CommandError(Fault.BAD_ARGUMENTS, "the number of lines is negative")
    path = log.readable_path
    if path is None:
        return logread.cut_lines(_kept(log), lines) if lines else b""
    return await _read(path, lambda: logread.tail_lines(path, lines, MOST))


def follow(log: Log, start: int) -> AsyncGenerator[LogItem, None]:
    """The last `start` bytes, then what comes; close it in the end. Raises CommandError(NO_FILE) if none is kept."""
    if log.path is None:
        raise CommandError(Fault.NO_FILE)
    return log.follow(max(0, min(start, MOST)))


def _kept(log: Log) -> bytes:
    if log.path is None:
        raise CommandError(Fault.NO_FILE)
    return log.tail_ring()


async def _read(path: str, act: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(act)
    except FileNotFoundError:
        raise CommandError(Fault.NO_FILE, path) from None
    except OSError as exc:
        raise CommandError(Fault.FAILED, f"{path}: {exc.strerror}") from None
