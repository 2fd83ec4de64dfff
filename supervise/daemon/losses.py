"""How much output was lost, counted beyond our death: a file of one number for each channel that has lost any.

The numbers are in mapped memory, so that counting costs no system call, and SIGKILL no count.
"""

import hashlib
import mmap
import os
import struct
from contextlib import suppress
from pathlib import Path

from supervise.system.journal import MODE

PREFIX = "lost-"

_NUMBER = struct.Struct("@Q")


class Loss:
    """The bytes that one channel has lost. `keep` may be called in any thread, by one at a time."""

    __slots__ = ("_file", "_kept", "_map", "before")

    def __init__(self, file: str | None = None) -> None:
        """Take up the count in that file. Without one, or where there is no room for it, nothing outlives us."""
        self.before = self._kept = 0  # what daemons before us have counted
        self._file, self._map = file, None if file is None else _mapped(file, os.O_RDWR)
        if self._map is not None:
            (self.before,) = (self._kept,) = _NUMBER.unpack_from(self._map)

    def keep(self, count: int) -> None:
        """So much has been lost, by daemons before us too."""
        if count == self._kept or self._file is None:
            return
        self._kept = count
        if self._map is None:
            self._map = _mapped(self._file, os.O_RDWR | os.O_CREAT)
        if self._map is not None:
            _NUMBER.pack_into(self._map, 0, count)

    def renew(self, file: str) -> bool:
        """If the file was removed, make it anew, there; whether that was done."""
        if self._map is None or (file == self._file and os.path.exists(file)):
            return False
        count, self._file, self._map, self._kept = self._kept, file, None, 0
        self.keep(count)
        return self._map is not None

    def forget(self) -> None:
        """The channel is no more."""
        if self._file is not None:
            with suppress(OSError):
                os.unlink(self._file)
        self._file = self._map = None


class Losses:
    """The counts of all channels. Loop thread only."""

    def __init__(self, directory: str | None = None) -> None:
        """From now on they are in that directory; without one, nothing outlives us."""
        self._directory = directory
        self._known: dict[str, Loss] = {}

    def of(self, namespec: str, channel: str) -> Loss:
        """The count of a channel, as it stood last."""
        name = PREFIX + hashlib.sha256(f"{namespec} {channel}".encode()).hexdigest()[:16]
        loss = self._known[name] = Loss(None if self._directory is None else f"{self._directory}/{name}")
        return loss

    def renew(self, directory: str) -> bool:
        """If files were removed, make them anew, there; whether that was done. Never raises."""
        if self._directory is None:
            return False
        self._directory = directory
        made = [loss.renew(f"{directory}/{name}") for name, loss in self._known.items()]
        return any(made)


def forget(directory: str) -> None:
    """Remove every count: all is over, or they are of another boot."""
    for path in Path(directory).glob(PREFIX + "*"):
        with suppress(OSError):
            path.unlink()


def _mapped(file: str, flags: int) -> mmap.mmap | None:
    try:
        fd = os.open(file, flags | os.O_CLOEXEC | os.O_NOFOLLOW, MODE)
        try:
            os.posix_fallocate(fd, 0, _NUMBER.size)  # so that touching it never is a SIGBUS
            return mmap.mmap(fd, _NUMBER.size)
        finally:
            os.close(fd)
    except OSError:
        return None
