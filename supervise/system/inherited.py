"""What our children inherit from us and others may change at any time: prlimit(1), renice(1), ionice(1), chrt(1),
taskset(1), choom(1), whoever moves us into another cgroup, or writes to our files in /proc."""

import ctypes
import os
import resource
from contextlib import suppress
from functools import cache

IOPRIO_GET = {"x86_64": 252, "aarch64": 31, "riscv64": 31, "loongarch64": 31, "ppc64le": 274, "s390x": 283}
IOPRIO_WHO_PROCESS = 1  # linux/ioprio.h
LIMITS = 16  # there are so many (linux/resource.h)
FILES = tuple(f"/proc/self/{name}" for name in ("cgroup", "oom_score_adj", "coredump_filter", "timerslack_ns"))


def inherited() -> tuple[object, ...]:
    """All of it, to be compared: for children of the first thread, which must be the one that asks. Takes 0.05 ms."""
    number = IOPRIO_GET.get(os.uname().machine)
    return (
        [resource.getrlimit(limit) for limit in range(LIMITS)],
        os.getpriority(os.PRIO_PROCESS, 0),
        os.sched_getscheduler(0),
        os.sched_getparam(0).sched_priority,
        os.sched_getaffinity(0),
        number and _libc().syscall(number, IOPRIO_WHO_PROCESS, 0),
        [_read(path) for path in FILES],
    )


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def _read(path: str) -> bytes | None:
    with suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(fd, 1 << 16)
        finally:
            os.close(fd)
    return None
