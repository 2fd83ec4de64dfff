"""A child's standard input: a pipe that never ends, not even when the daemon does."""

import ctypes
import errno
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Self

from supervise.system.handover import places
from supervise.system.threads import begin

CAP_SYS_PTRACE = 19  # linux/capability.h


@dataclass(slots=True)
class Stdin:
    """The daemon's way to the standard input of one child.

    The child holds its own pipe open for reading *and* writing, so reading it never says end of file, and nobody
    has to keep the other end: a daemon that is killed takes nothing away. To write, the pipe is opened anew through
    /proc/PID/fd/0, which proc(5) allows where ptrace(2) would be: to the same user, or with CAP_SYS_PTRACE. Root in
    a container often lacks that; only there one descriptor per child of another user is kept (`kept`).
    """

    inode: int
    kept: int = -1

    def write(self, pid: int, data: bytes) -> int:
        """Write what fits now; returns how many bytes did. Never blocks.

        Raises BrokenPipeError: the process has closed or replaced its stdin; BlockingIOError: the pipe is full;
        ProcessLookupError: there is no such process; other OSErrors as open(2) gives them.
        """
        fd = self.open_end(pid)
        try:
            return os.write(fd, data)
        finally:
            os.close(fd)

    def open_end(self, pid: int) -> int:
        """A descriptor to write to, for the caller to close; it never blocks.

        Raises BrokenPipeError, ProcessLookupError and other OSErrors as `write` does.
        """
        if self.kept >= 0:
            return os.dup(self.kept)
        try:
            return self._open(f"/proc/{pid}/fd/0", pid)
        except OSError as error:
            for path in places(self.inode, [str(pid)]):
                with suppress(OSError):  # it has just moved it back
                    return self._open(path, pid)
            if not isinstance(error, FileNotFoundError):
                raise
            if os.path.exists(f"/proc/{pid}/stat"):
                raise BrokenPipeError(errno.EPIPE, f"process {pid} has closed its stdin") from None
            raise ProcessLookupError(errno.ESRCH, f"no process {pid}") from None

    def _open(self, path: str, pid: int) -> int:
        fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        found = os.fstat(fd)
        if not stat.S_ISFIFO(found.st_mode) or found.st_ino != self.inode:
            os.close(fd)
            raise BrokenPipeError(errno.EPIPE, f"process {pid} has replaced its stdin")
        return fd

    def close(self) -> None:
        """Give the kept descriptor back, if there is one. To be called when the process is gone."""
        fd, self.kept = self.kept, -1
        if fd >= 0:
            begin(partial(os.close, fd), "stdin")  # somebody whom it has left may keep the pipe locked

    @classmethod
    def open(cls, uid: int | None) -> tuple[Self, int]:
        """A pipe for a child that will run as `uid` (None: as we do), and the child's end of it.

        The caller closes that end after the spawn. Raises OSError with nothing left open.
        """
        read, write = os.pipe()
        try:
            end = os.open(f"/proc/self/fd/{read}", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            os.close(write)
            raise
        finally:
            os.close(read)
        if reopenable(uid):
            os.close(write)
            write = -1
        else:
            os.set_blocking(write, False)
        return cls(os.fstat(end).st_ino, write), end


def reopenable(uid: int | None) -> bool:
    """Whether /proc/PID/fd of a process that runs as `uid` may be opened by us."""
    return uid is None or uid == os.geteuid() or capable(CAP_SYS_PTRACE)


def capable(capability: int) -> bool:
    """Whether this thread's effective set has the capability (capget(2), version 3)."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.capget(header, sets) == 0 and bool(sets[0] >> capability & 1)
