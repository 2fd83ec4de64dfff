"""A log of small entries on a memory file system: what has happened, for whoever comes after our death by SIGKILL.

An entry is appended by one write(2), which costs microseconds and no waiting: a head (checksum, lengths), facts as
JSON, and bytes. A write that was cut off shows in the checksum; nothing comes after it. The file only grows; who writes
it says from time to time what of it still counts (`rewrite`), in a new file that takes the place of the old one.
"""

import json
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from supervise.system.journal import MODE, is_named

_HEAD = struct.Struct("<III")  # checksum of all that follows, length of the facts, length of the data


class Entry(NamedTuple):
    """One entry."""

    facts: Mapping[str, Any]
    data: bytes = b""


class Entries:
    """One file. One thread. Everything that writes raises OSError, and has written nothing then."""

    def __init__(self, path: str) -> None:
        """Open or create the file, and read what is `found` in it, as far as it is whole."""
        self.path = path
        self.size = 0  # bytes of the file
        self._fd = _open(path)
        with open(self._fd, "rb", closefd=False) as file:
            self.found = list(self._parse(file.read()))
        os.ftruncate(self._fd, self.size)

    @property
    def intact(self) -> bool:
        """Whether the file is still to be found by its name."""
        return is_named(self._fd, self.path)

    def append(self, entry: Entry) -> None:
        """Add an entry."""
        self.size = _write(self._fd, _pack(entry), self.size)

    def rewrite(self, entries: Iterable[Entry]) -> None:
        """From now on the file has these entries, and no others."""
        fresh = self.path + ".new"
        with suppress(FileNotFoundError):
            os.unlink(fresh)
        fd = _open(fresh)
        try:
            size = _write(fd, b"".join(map(_pack, entries)), 0)
            os.rename(fresh, self.path)
        except OSError:
            os.close(fd)
            raise
        os.close(self._fd)
        self._fd, self.size = fd, size

    def clear(self) -> None:
        """Forget all, for which no room is needed."""
        os.ftruncate(self._fd, 0)
        self.size = 0

    def close(self, *, remove: bool) -> None:
        """Close the file, and `remove` it if nobody need remember."""
        os.close(self._fd)
        if remove:
            with suppress(OSError):
                os.unlink(self.path)

    def _parse(self, content: bytes) -> Iterator[Entry]:
        while len(content) >= self.size + _HEAD.size:
            checksum, facts, data = _HEAD.unpack_from(content, self.size)
            start, end = self.size + _HEAD.size, self.size + _HEAD.size + facts + data
            if end > len(content) or zlib.crc32(content[self.size + 4 : end]) != checksum:
                return
            yield Entry(json.loads(content[start : start + facts]), content[start + facts : end])
            self.size = end


def forget(directory: str, prefix: str, keep: Iterable[str] = ()) -> None:
    """Remove the files of that prefix: they are of another boot, or nobody's (but those whose paths are in `keep`)."""
    kept = set(keep)
    for path in Path(directory).glob(prefix + "*"):
        if str(path) not in kept:
            path.unlink(missing_ok=True)


def _open(path: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(path, flags, MODE)


def _pack(entry: Entry) -> bytes:
    facts = json.dumps(entry.facts, separators=(",", ":")).encode()
    rest = struct.pack("<II", len(facts), len(entry.data)) + facts + entry.data
    return struct.pack("<I", zlib.crc32(rest)) + rest


def _write(fd: int, content: bytes, size: int) -> int:
    """Append to a file of `size` bytes, all or nothing: the new size."""
    try:
        if os.write(fd, content) != len(content):
            raise OSError(28, "No space left on device")
    except OSError:
        os.ftruncate(fd, size)
        raise
    return size + len(content)
