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

    __slots__ = ("_channel", "_kept", "_losses", "_map", "_namespec", "before")

    def __init__(self, losses: "Losses | None" = None, namespec: str = "", channel: str = "") -> None:
        """Without `losses` nothing outlives us."""
        self._losses, self._namespec, self._channel = losses, namespec, channel
        self._map: mmap.mmap | None = None
        self.before = self._kept = 0  # what daemons before us have counted

    @property
    def file(self) -> str:
        """The name of its file, which is there when some bytes were lost."""
        return PREFIX + hashlib.sha256(f"{self._namespec} {self._channel}".encode()).hexdigest()[:16]

    def take_up(self, counted: mmap.mmap) -> None:
        """Go on from the count of a daemon before us."""
        self._map = counted
        (self.before,) = (self._kept,) = _NUMBER.unpack_from(counted)

    def keep(self, count: int) -> None:
        """So much has been lost, by daemons before us too."""
        if count == self._kept or self._losses is None:
            return
        self._kept = count
        if self._map is None:  # where there is no room for it, it does not outlive us
            self._map = self._losses.make(self)
        if self._map is not None:
            _NUMBER.pack_into(self._map, 0, count)

    def renew(self) -> None:
        """Its file is gone: make it anew."""
        count, self._map, self._kept = self._kept, None, 0
        self.keep(count)

    def forget(self) -> None:
        """The channel is no more."""
        if self._losses is not None and self._map is not None:
            self._losses.remove(self)
        self._losses = self._map = None


class Losses:
    """The counts of all channels. Loop thread only, but for `make`."""

    def __init__(self, directory: str | None = None) -> None:
        """They are in that directory; without one, nothing outlives us."""
        self._directory = directory
        self._left = frozenset(path.name for path in Path(directory).glob(PREFIX + "*")) if directory else frozenset()
        self._counted: dict[str, Loss] = {}  # those that have a file, by its name

    def of(self, namespec: str, channel: str) -> Loss:
        """The count of a channel, as it stood last."""
        loss = Loss(self, namespec, channel)
        if self._left and (name := loss.file) in self._left and (counted := self._map(name, os.O_RDWR)) is not None:
            self._counted[name] = loss
            loss.take_up(counted)
        return loss

    def make(self, loss: Loss) -> mmap.mmap | None:
        """A new file for a channel that has lost something; None where there can be none."""
        if (made := self._map(loss.file, os.O_RDWR | os.O_CREAT)) is not None:
            self._counted[loss.file] = loss
        return made

    def remove(self, loss: Loss) -> None:
        """Its file is not needed any more, unless another channel of that name has taken it up."""
        if self._counted.get(loss.file) is loss:
            del self._counted[loss.file]
            with suppress(OSError):
                os.unlink(f"{self._directory}/{loss.file}")

    def renew(self, directory: str) -> bool:
        """If files were removed, make them anew, there; whether that was done. Never raises."""
        if self._directory is None:
            return False
        moved, self._directory = directory != self._directory, directory
        gone = [(name, loss) for name, loss in [*self._counted.items()] if moved or not self._is_there(name)]
        for _, loss in gone:
            loss.renew()
        return any(self._is_there(name) for name, _ in gone)

    def _is_there(self, name: str) -> bool:
        return os.path.exists(f"{self._directory}/{name}")

    def _map(self, name: str, flags: int) -> mmap.mmap | None:
        if self._directory is None:
            return None
        try:
            fd = os.open(f"{self._directory}/{name}", flags | os.O_CLOEXEC | os.O_NOFOLLOW, MODE)
            try:
                os.posix_fallocate(fd, 0, _NUMBER.size)  # so that touching it never is a SIGBUS
                return mmap.mmap(fd, _NUMBER.size)
            finally:
                os.close(fd)
        except OSError:
            return None


def forget(directory: str) -> None:
    """Remove every count: all is over, or they are of another boot."""
    for path in Path(directory).glob(PREFIX + "*"):
        with suppress(OSError):
            path.unlink()
