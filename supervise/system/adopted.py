"""Processes that run for us but are not our children: a daemon before us started them.

Their end shows at a pidfd. Their exit status goes to whoever is their parent now; it reaches us from the keeper, which
tells what it reaped, or from the kernel (`pidfd`). Otherwise it stays unknown.
"""

import asyncio
import os
import signal
from collections.abc import Callable

from supervise.system.handover import Handover
from supervise.system.journal import start_time
from supervise.system.pidfd import exit_status, zombie_status

PATIENCE = 1.0  # seconds that the present parent may take to reap it, before the status counts as unknown
LOOK_AGAIN = 0.01


class Adopted:
    """One such process, named by its pid and start time. Loop thread only."""

    def __init__(self, pid: int, start: int, ended: Callable[[int | None, bool], None], handover: Handover) -> None:
        """Call `ended` once, with its exit code, or minus a signal, or None, and whether it dumped core.

        `handover` may hold a pidfd of it, and keeps ours. Raises ProcessLookupError where there is no such process,
        OSError without descriptors.
        """
        self.pid, self._start, self._ended, self._handover = pid, start, ended, handover
        self._loop = asyncio.get_running_loop()
        name = f"process-{pid}-{start}"
        if (kept := handover.take(name)) is not None:
            self._fd = kept
        else:
            self._fd = os.pidfd_open(pid)
            if start_time(pid) != start:  # another one has the number by now
                os.close(self._fd)
                raise ProcessLookupError(pid)
            handover.hold(self._fd, name)
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
            self._handover.drop(fd)

    def _readable(self) -> None:
        self._loop.remove_reader(self._fd)
        self._until = self._loop.time() + PATIENCE
        self._ask()

    def _ask(self) -> None:
        status = self._handover.status(self.pid, self._start)
        if status is None:
            status = exit_status(self._fd)
        if status is None:
            status = zombie_status(self.pid, self._start)
        if status is None and self._loop.time() < self._until:
            self._timer = self._loop.call_later(LOOK_AGAIN, self._ask)
            return
        self.close()
        if status is None:
            self._ended(None, False)
        else:
            self._ended(os.waitstatus_to_exitcode(status), os.WIFSIGNALED(status) and os.WCOREDUMP(status))


def parent_of(pid: int) -> int | None:
    """The parent's pid (proc_pid_stat(5), field 4); None if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except OSError:
        return None
