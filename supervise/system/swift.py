"""System calls that wait for nothing, made without giving up the interpreter's lock.

Python gives it up around every system call. When a thousand programs end, two threads make one after the other, and
each time one of them returns the other has just begun: what takes a microsecond becomes two switches of contexts. Only
calls belong here that no program can have us hang in.
"""

import ctypes
import os
import select

_LIBC = ctypes.PyDLL(None, use_errno=True)
_EPOLL_CTL_DEL = 2  # sys/epoll.h
_POLLIN = 1  # poll.h


class _Pollfd(ctypes.Structure):
    _fields_ = (("fd", ctypes.c_int), ("events", ctypes.c_short), ("revents", ctypes.c_short))


def ended_child() -> tuple[int, int]:
    """Any child that has ended, and its status; (0, 0): none has. Raises ChildProcessError where there is none."""
    status = ctypes.c_int()
    pid: int = _LIBC.waitpid(-1, ctypes.byref(status), os.WNOHANG)
    if pid < 0:
        raise OSError(ctypes.get_errno(), "waitpid")  # ChildProcessError, which is ECHILD
    return pid, status.value


def hung_up(fd: int) -> bool:
    """Whether nobody has the other end of a pipe any more. (Something may be in it yet.)"""
    return _poll(fd, 0) != 0


def readable(fd: int) -> bool:
    """Whether something is in a pipe."""
    return bool(_poll(fd, _POLLIN) & _POLLIN)


def _poll(fd: int, events: int) -> int:
    """poll(2) is all that can be asked of a pipe without waiting for its lock; see `pipes`."""
    asked = _Pollfd(fd, events)
    _LIBC.poll(ctypes.byref(asked), ctypes.c_ulong(1), 0)
    revents: int = asked.revents
    return revents


def unregister(epoll: select.epoll, fd: int) -> None:
    """Watch it no more. One that is not watched is no mistake."""
    _LIBC.epoll_ctl(epoll.fileno(), _EPOLL_CTL_DEL, fd, None)
