"""Reading log files: slices and tails, as supervisord's readLog and tail calls define them. Any thread; may block."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from supervise.system.links import open_log

MOST = 64 << 20  # bytes of one answer


def read_slice(path: str, offset: int, length: int) -> bytes:
    """supervisord's readLog: a negative offset (with length 0) means the last bytes, length 0 means to the end.

    Past the end is empty. At most MOST bytes. Raises ValueError("BAD_ARGUMENTS") for the combinations that supervisord
    refuses, OSError (FileNotFoundError; NotADirectory… ; a pipe or device is EINVAL).
    """
    if (offset < 0 and length) or length < 0:
        raise ValueError("BAD_ARGUMENTS")
    with _open(path) as file:
        if offset < 0:
            size = file.seek(0, os.SEEK_END)
            offset = max(0, size + offset)
        file.seek(offset)
        return file.read(min(length or MOST, MOST))


def tail(path: str, offset: int, length: int) -> tuple[bytes, int, bool]:
    """supervisord's tail: (the last `length` bytes, size of the file, overflow).

    Overflow is true when the file goes on beyond offset + length; with an offset at or past the end the text is empty.
    (So a caller that comes back with the size it was told gets nothing, or the last `length` bytes: supervisord's
    own rule.) A file that is not there is (b"", 0, False). At most MOST bytes. Raises OSError.
    """
    try:
        file = _open(path)
    except FileNotFoundError:
        return b"", 0, False
    with file:
        size = file.seek(0, os.SEEK_END)
        wanted = max(0, min(length, MOST, size)) if offset < size else 0
        file.seek(size - wanted)
        return file.read(wanted), size, size > offset + length


def tail_lines(path: str, lines: int, most: int = MOST) -> bytes:
    """The last `lines` lines, an unfinished one included, within the last `most` bytes. Raises OSError."""
    with _open(path) as file:
        return last_lines(file, lines, most)


def last_lines(file: BinaryIO, lines: int, most: int = MOST) -> bytes:
    """The last `lines` lines of a seekable file, read backwards in blocks."""
    if lines <= 0:
        return b""
    position = size = file.seek(0, os.SEEK_END)
    blocks: list[bytes] = []
    newlines = 0
    while position and newlines <= lines and size - position < most:
        step = min(65536, position)
        position -= step
        file.seek(position)
        blocks.append(file.read(step))
        newlines += blocks[-1].count(b"\n")
    return cut_lines(b"".join(reversed(blocks)), lines)


def cut_lines(data: bytes, lines: int) -> bytes:
    """The last `lines` lines of `data`."""
    end = len(data) - data.endswith(b"\n")
    for _ in range(lines):
        end = data.rfind(b"\n", 0, end)
        if end < 0:
            return data
    return data[end + 1 :]


def whole_characters(data: bytes) -> bytes:
    """Without the rest of a UTF-8 character that began before `data` (at most three continuation bytes)."""
    start = 0
    while start < min(3, len(data)) and data[start] & 0xC0 == 0x80:
        start += 1
    return data[start:] if start < len(data) and data[start] & 0xC0 != 0x80 else data


def _open(path: str) -> BinaryIO:
    if not stat.S_ISREG(Path(path).stat().st_mode):
        raise OSError(22, "it is not a regular file", path)
    return os.fdopen(open_log(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY), "rb", buffering=0)
