"""Looking at files as another user, for a moment, in one thread (credentials(7): the file system user ID).

`subprocess` enters the working directory before it changes the user, and supervisord after that. It makes a difference
where root may less than the user (a home on NFS, a container without CAP_DAC_OVERRIDE), and where the user may less.
With this the directory is entered with the user's rights, and nothing else is any different: above all, the user cannot
signal a thread that has his file system ID, as he could one that has his real ID.
"""

import ctypes
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

# setgroups(2), by its number: the function of the C library changes all threads.
SETGROUPS = {"x86_64": 116, "aarch64": 159, "riscv64": 159, "loongarch64": 159, "ppc64le": 81, "s390x": 206}
T = TypeVar("T")

PR_SET_PDEATHSIG, PR_GET_PDEATHSIG, PR_GET_DUMPABLE, PR_SET_DUMPABLE = 1, 2, 3, 4  # linux/prctl.h


@contextmanager
def files_as(uid: int, gid: int, groups: Sequence[int]) -> Iterator[None]:
    """Inside, this thread has these rights to files, and none of root's; children that it makes begin with the same.

    For root; nothing happens on a machine whose system calls have other numbers. Raises OSError.
    """
    number = SETGROUPS.get(os.uname().machine) if ctypes.sizeof(ctypes.c_void_p) == 8 else None
    if number is None or os.geteuid() != 0:
        yield
        return
    libc, own = ctypes.CDLL(None, use_errno=True), os.getgroups()
    with _unchanged(libc):
        _set_groups(libc, number, groups)
        libc.setfsgid(gid)
        libc.setfsuid(uid)
        try:
            yield
        finally:
            libc.setfsuid(0)
            libc.setfsgid(os.getegid())
            _set_groups(libc, number, own)


def look_into(pid: int | str, look: Callable[[], T]) -> T:
    """Look at what a process has open (proc_pid_fd(5)), as its own user where we may not: root without CAP_SYS_PTRACE,
    as in most containers. Raises what `look` raises; PermissionError where that user may not either."""
    try:
        return look()
    except PermissionError:
        if os.geteuid() != 0:
            raise
        owner = os.stat(f"/proc/{pid}")
        with files_as(owner.st_uid, owner.st_gid, ()):
            return look()


def _set_groups(libc: ctypes.CDLL, number: int, groups: Sequence[int]) -> None:
    if libc.syscall(number, len(groups), (ctypes.c_uint32 * len(groups))(*groups)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextmanager
def _unchanged(libc: ctypes.CDLL) -> Iterator[None]:
    """Two things that the kernel forgets when credentials change: whether we may be looked at (and dump core), and
    which signal the death of our parent sends us."""
    dumpable, deathly = libc.prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), ctypes.c_int()
    libc.prctl(PR_GET_PDEATHSIG, ctypes.byref(deathly), 0, 0, 0)
    try:
        yield
    finally:
        libc.prctl(PR_SET_PDEATHSIG, deathly.value, 0, 0, 0)
        if dumpable == 1:  # nobody may set it to 2, and 0 it is
            libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
