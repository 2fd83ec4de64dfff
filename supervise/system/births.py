"""When a child of ours was born, as proc_pid_stat(5) has it, and mostly without asking there."""

import math
import os
import time

from supervise.system.journal import start_time

TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")  # nanoseconds
DOUBTS = 16  # children


class Births:
    """Of children that are made between `begin` and `of`. Any one thread.

    The kernel notes when a process was made by the clock that CLOCK_BOOTTIME shows (kernel/fork.c), and tells it in
    ticks of 10 ms. If we look at the clock before and after, and it is the same tick, that is the start time. To read
    /proc/PID/stat while the child is still in execve(2) takes a tenth of the whole start: 0.87 s instead of 1.02 for
    1,000 programs (Linux 6.18). Whether the clock is the right one is seen by the first DOUBTS children: another kernel
    (gVisor) may have another idea of it, which may come to the same tick now and then.
    """

    def __init__(self) -> None:
        self._doubts: float = DOUBTS  # children that must still show that the clock is the right one
        self._before = -1

    def begin(self) -> None:
        """A child will be made now."""
        self._before = _now()

    def of(self, pid: int) -> int | None:
        """When it was made, in ticks since the boot; None if it is not there any more."""
        tick = _now()
        if tick != self._before:
            return start_time(pid)
        if not self._doubts:
            return tick
        told = start_time(pid)
        if told is not None:
            self._doubts = self._doubts - 1 if told == tick else math.inf
        return told


def _now() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // TICK
