"""The pidfile, which is also the lock that keeps a second daemon away.

The lock is flock(2) on the pidfile itself, not on a file beside it: init scripts know and remove that one file, and
nothing else is left lying about. So the pid is written in place (5 to 8 bytes in one write, which no reader sees half
of) and not by rename, which would leave the lock on a file that nobody opens any more. A lock dies with its holder
however that ends: a stale pidfile, or one whose pid now belongs to another process, is no obstacle.

A child that a killed daemon was just spawning has the lock until its exec, and a keeper until it ends, so a lock whose
holder is no longer there is waited for, a little. An upgrade and the keeper hand the lock itself on, as a descriptor.

Who removes the pidfile of a running daemon removes the lock, too; the probe of the control socket is the second wall,
and the lock of the journal the third.
Where the file cannot be opened (a read-only file system, no permission) there is no lock, and the daemon goes on with
a CRIT line, as supervisord does.
"""

import errno
import fcntl
import os
import stat
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

PATIENCE = 2.0  # seconds that a lock may outlive the daemon that held it
LOOK_AGAIN = 0.02


class LockedError(Exception):
    """Another daemon runs with this pidfile. `str()` says so, with the pid that the file names."""


@dataclass(slots=True)
class PidFile:
    """A pidfile that we hold, or could not take: then `problem` says why, and all else does nothing."""

    path: str
    fd: int = -1
    problem: str = ""
    inherited: bool = False  # from the daemon before us

    @classmethod
    def acquire(cls, path: str) -> Self:
        """Lock the file, creating it if need be; what it says is not touched. Raises LockedError.

        That comes at once if the process that the file names is there, else within PATIENCE seconds.
        The lock belongs to this open file and passes to forked children, so it may be taken before daemonising.
        """
        until = time.monotonic() + PATIENCE
        while True:
            try:
                fd = _open(path)
            except OSError as error:
                return cls(path, problem=error.strerror or str(error))
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _same(fd, path):
                    return cls(path, fd)
                os.close(fd)  # its last holder removed it between our open and our lock
            except BlockingIOError:
                holder = os.pread(fd, 64, 0).decode(errors="replace").strip()
                os.close(fd)
                there = bool(holder) and os.path.exists(f"/proc/{holder}")
                if there or time.monotonic() > until:
                    how = f"running with pidfile {path} (pid {holder})" if there else f"starting with pidfile {path}"
                    raise LockedError(f"another daemon is already {how}") from None
                time.sleep(LOOK_AGAIN)
            except OSError as error:  # ENOLCK: a file system without locks
                os.close(fd)
                return cls(path, problem=error.strerror or str(error))

    @classmethod
    def inherit(cls, path: str, fd: int) -> Self | None:
        """The lock that the daemon before us had. None, with `fd` closed, if it is not on the file at this path."""
        with suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _same(fd, path):
                return cls(path, fd, inherited=True)
        os.close(fd)
        return None

    def write(self) -> bool:
        """Write our pid. False: `problem` says why not."""
        if self.fd < 0:
            return False
        line = b"%d\n" % os.getpid()
        try:
            os.pwrite(self.fd, line, 0)
            os.ftruncate(self.fd, len(line))
        except OSError as error:
            self.problem = error.strerror or str(error)
            return False
        return True

    def release(self) -> None:
        """Remove the file, if it is still ours, and give the lock back. May be called again."""
        fd, self.fd = self.fd, -1
        if fd < 0:
            return
        with suppress(OSError):
            if _same(fd, self.path):
                os.unlink(self.path)
        os.close(fd)

    def forsake(self) -> None:
        """Leave file and lock to whoever has inherited them, too. May be called again."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


def _open(path: str) -> int:
    """Open the file without harm to whatever it is. Raises OSError for anything that does not look like a pidfile."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY, 0o644)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        content = os.pread(fd, 64, 0).strip(b" \n\0")
        if content and not content.isdigit():
            raise OSError(errno.EINVAL, "it holds something else than a pid")
    except OSError:
        os.close(fd)
        raise
    return fd


def _same(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except OSError:
        return False
