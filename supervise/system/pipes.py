"""Pipes between a child and the log thread, made so that the child outlives their reader.

Who writes to a pipe, or reads from it, has it locked while his memory is copied (fs/pipe.c); and if that memory is of a
file on a disk or a host that does not answer, the pipe is locked for as long. Then all wait who read, write, close or
open it, or ask how much is in it, and cannot be killed. Only poll(2) needs no lock: in the loop's thread nothing else
may be asked of a pipe that a program has.
"""

import array
import contextlib
import fcntl
import os
import termios

from supervise.system import swift

LARGE = 1 << 20  # what /proc/sys/fs/pipe-max-size allows everybody by default


def open_pipe(uid: int | None = None) -> tuple[int, int]:
    """Return (our end, the child's end), both close-on-exec; ours does not block.

    The child's end is the pipe opened again O_RDWR: a writer that is its own reader never gets SIGPIPE, so the child
    goes on (and at worst waits for room) when we die. It also belongs to `uid`, so that a program that was given that
    user can open its own /dev/stdout. Raises OSError (EMFILE, ENFILE).
    """
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        both = _both_ways(writer)
    except BaseException:
        os.close(reader)
        raise
    finally:
        os.close(writer)
    if uid is not None:
        with contextlib.suppress(PermissionError):  # we are not root: then the program has our own user anyway
            os.fchown(both, uid, -1)
    return reader, both


def open_inlet() -> tuple[int, int]:
    """Return (the child's end, our end) of a pipe that a child reads, both close-on-exec.

    The child's end is opened O_RDWR here, too: it never sees an end of file, and we can die without its noticing.
    Raises OSError (EMFILE, ENFILE).
    """
    reader, writer = os.pipe()
    try:
        both = _both_ways(reader)
    except BaseException:
        os.close(writer)
        raise
    finally:
        os.close(reader)
    return both, writer


def _both_ways(fd: int) -> int:
    """A pipe opened again, for reading and writing. Raises OSError."""
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:  # no /proc here: an ordinary pipe is better than no program
        os.set_blocking(fd, True)
        return os.dup(fd)


def enlarge(fd: int) -> bool:
    """Give the pipe room for 1 MiB; False where a limit forbids it (pipe(7): pipe-user-pages-soft).

    Meant for pipes that were seen full: enlarging all of them would use up the allowance of an ordinary user, whose
    next pipes then have two pages only, and 10 kB of kernel memory each.
    """
    try:
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, LARGE)
    except OSError:
        return False
    return True


def ended(fd: int) -> bool:
    """Whether nothing is in the pipe, and nobody has its other end any more. Never waits."""
    return swift.hung_up(fd) and not swift.readable(fd)  # in this order


def pending(fd: int) -> int:
    """How many bytes wait in the pipe; 0 if the descriptor is no longer a pipe. Waits for the pipe's lock."""
    count = array.array("i", [0])
    try:
        fcntl.ioctl(fd, termios.FIONREAD, count)
    except OSError:
        return 0
    return count[0]
