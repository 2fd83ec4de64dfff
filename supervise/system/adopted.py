"""Processes that run for us but are not our children: a daemon before us started them.

Their end shows at a pidfd. Their exit status goes to whoever is their parent now; it reaches us from the keeper, which
tells what it reaped, or from the kernel, which tells holders of a pidfd (PIDFD_GET_INFO with PIDFD_INFO_EXIT, Linux
6.15: a struct of 64 bytes, the mask first and the wait status last). Otherwise it stays unknown.
"""

import asyncio
import fcntl
import os
import signal
import struct
from collections.abc import Callable, Mapping

PIDFD_INFO_EXIT = 1 << 3
PIDFD_INFO_SIZE = 64
PIDFD_GET_INFO = (3 << 30) | (PIDFD_INFO_SIZE << 16) | (0xFF << 8) | 11  # _IOWR(0xFF, 11, struct pidfd_info)
PATIENCE = 1.0  # seconds that the present parent may take to reap it, before the status counts as unknown
LOOK_AGAIN = 0.01


class Adopted:
    """One such process. Loop thread only. `statuses` (pid -> wait status) may fill at any time."""

    def __init__(self, pid: int, ended: Callable[[int | None, bool], None], statuses: Mapping[int, int]) -> None:
        """Call `ended` once, with its exit code, or minus a signal, or None, and whether it dumped core.

        Raises ProcessLookupError where there is no such process, OSError without descriptors.
        """
        self.pid, self._ended, self._statuses = pid, ended, statuses
        self._loop = asyncio.get_running_loop()
        self._fd = os.pidfd_open(pid)
        self._until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._loop.add_reader(self._fd, self._readable)

    def signal(self, number: int, group: bool) -> None:
        """Signal the process, or its group while it is there. Raises ProcessLookupError, PermissionError."""
        if self._fd < 0:
            raise ProcessLookupError
        if group:
            signal.pidfd_send_signal(self._fd, 0)  # while the leader is there, the group is its own
            os.killpg(self.pid, number)
        else:
            signal.pidfd_send_signal(self._fd, number)

    def close(self) -> None:
        """Stop watching. May be called again."""
        if self._timer is not None:
            self._timer.cancel()
        fd, self._fd = self._fd, -1
        if fd >= 0:
            self._loop.remove_reader(fd)
            os.close(fd)

    def _readable(self) -> None:
        self._loop.remove_reader(self._fd)
        self._until = self._loop.time() + PATIENCE
        self._ask()

    def _ask(self) -> None:
        status = self._statuses.get(self.pid)
        if status is None:
            status = exit_status(self._fd)
        if status is None and self._loop.time() < self._until:
            self._timer = self._loop.call_later(LOOK_AGAIN, self._ask)
            return
        self.close()
        if status is None:
            self._ended(None, False)
        else:
            self._ended(os.waitstatus_to_exitcode(status), os.WIFSIGNALED(status) and os.WCOREDUMP(status))


def exit_status(pidfd: int) -> int | None:
    """The wait status of a process that somebody has reaped; None if nobody has, or the kernel does not tell."""
    info = bytearray(PIDFD_INFO_SIZE)
    struct.pack_into("Q", info, 0, PIDFD_INFO_EXIT)
    try:
        fcntl.ioctl(pidfd, PIDFD_GET_INFO, info)
    except OSError:
        return None
    (mask,), (status,) = struct.unpack_from("Q", info, 0), struct.unpack_from("i", info, PIDFD_INFO_SIZE - 4)
    return status if mask & PIDFD_INFO_EXIT else None


def parent_of(pid: int) -> int | None:
    """The parent's pid (proc_pid_stat(5), field 4); None if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except OSError:
        return None
