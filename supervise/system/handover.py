"""Descriptors that come from the daemon before us, each recognised by what it is, not by a name.

A pipe is its inode, a listening socket its address. What nobody has kept for us is opened anew through /proc, where a
process that still has it shows it (proc_pid_fd(5)).
"""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress


class Handover:
    """What was received. Whatever is not taken by the end is closed by `close`."""

    def __init__(self, descriptors: Iterable[int] = ()) -> None:
        self._pipes: dict[int, int] = {}
        self._seen: dict[int, list[str]] | None = None
        self.sockets: list[int] = []
        self.statuses: dict[int, int] = {}  # pid -> wait status, of processes that ended while nobody supervised
        for fd in descriptors:
            self.receive(fd)

    def receive(self, fd: int) -> None:
        """Take a descriptor in; one that is of no use is closed."""
        os.set_inheritable(fd, False)
        facts = os.fstat(fd)
        if stat.S_ISFIFO(facts.st_mode) and facts.st_ino not in self._pipes:
            self._pipes[facts.st_ino] = fd
        elif stat.S_ISSOCK(facts.st_mode):
            self.sockets.append(fd)
        else:
            os.close(fd)

    def pipe(self, inode: int) -> int | None:
        """Our end of a pipe, non-blocking and the caller's to close: kept for us, or found with a process that has it.
        None if nobody has it any more."""
        if (fd := self._pipes.pop(inode, None)) is not None:
            return fd
        for path in self._holders(inode):
            with suppress(OSError):  # it has just closed it
                fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                if os.fstat(fd).st_ino == inode:
                    return fd
                os.close(fd)
        return None

    def leader_with(self, inode: int) -> int | None:
        """The session leader whose stdout is that pipe: a child whose pid nobody wrote down."""
        for path in self._holders(inode):
            pid = int(path.split("/")[2])
            with suppress(OSError):
                if path.endswith("/fd/1") and os.getsid(pid) == pid:
                    return pid
        return None

    def _holders(self, inode: int) -> Sequence[str]:
        """Where in /proc the pipe shows; all of /proc is looked at once."""
        if self._seen is None:
            self._seen = {}
            for found, path in pipes_in_use():
                self._seen.setdefault(found, []).append(path)
        return self._seen.get(inode, ())

    def end_of(self, pid: int) -> tuple[int | None, bool]:
        """How a process ended that is not there any more, as `Exited` wants it: None if nobody knows."""
        status = self.statuses.get(pid)
        if status is None:
            return None, False
        return os.waitstatus_to_exitcode(status), os.WIFSIGNALED(status) and os.WCOREDUMP(status)

    def close(self) -> None:
        """Close what was not asked for."""
        for fd in (*self._pipes.values(), *self.sockets):
            os.close(fd)
        self._pipes, self.sockets = {}, []


def pipes_in_use() -> Iterator[tuple[int, str]]:
    """Every pipe of every process that we may look at: its inode, and /proc/PID/fd/N."""
    for pid in os.listdir("/proc"):
        if pid.isdecimal():
            with suppress(OSError):
                for number in os.listdir(f"/proc/{pid}/fd"):
                    path = f"/proc/{pid}/fd/{number}"
                    with suppress(OSError):
                        target = os.readlink(path)
                        if target.startswith("pipe:["):
                            yield int(target[6:-1]), path
