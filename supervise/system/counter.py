"""A number that only grows, also for whoever comes after our death by SIGKILL: a small file that holds the next one."""

import os
from contextlib import suppress
from pathlib import Path

from supervise.system.journal import MODE, is_named

WIDTH = 20  # digits, always all of them: each number replaces the one before by one write(2)


class Counter:
    """One file, preferably on a memory file system. One thread. Without a path it counts as long as we live."""

    def __init__(self, path: str | None) -> None:
        """Go on from what the file says; from 0 without one, or where it says nothing. Raises OSError."""
        self._next = 0
        self._path, self._fd = path, -1
        if path is not None:
            self._open(path)

    def _open(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, MODE)
        found = os.pread(self._fd, WIDTH, 0)
        self._next = max(self._next, int(found) if found.isdigit() else 0)
        try:
            self._write()
        except OSError:
            os.close(self._fd)
            self._fd = -1
            raise

    def renew(self, path: str) -> bool:
        """Make the file anew if it is not there any more; whether that was done. Raises OSError, and counts on."""
        if self._path is None or (path == self._path and self._fd >= 0 and is_named(self._fd, path)):
            return False
        if self._fd >= 0:
            os.close(self._fd)
        self._path, self._fd = path, -1
        self._open(path)
        return True

    def take(self) -> int:
        """The next number, which nobody gets again, whenever we die."""
        number, self._next = self._next, self._next + 1
        if self._fd >= 0:
            with suppress(OSError):  # there is room since the beginning; if a disk fails, it comes right with the next
                self._write()
        return number

    def _write(self) -> None:
        os.pwrite(self._fd, b"%0*d\n" % (WIDTH, self._next), 0)

    def close(self, *, remove: bool) -> None:
        """Close the file, and `remove` it if numbers may begin anew."""
        if self._fd >= 0 and self._path is not None:
            os.close(self._fd)
            self._fd = -1
            if remove:
                Path(self._path).unlink(missing_ok=True)
