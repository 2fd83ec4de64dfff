"""Children that run as the user we are, by posix_spawn(3).

`subprocess` reads from a pipe whether the program was executed. The kernel closes the descriptors of the daemon in the
child, some thousand where many programs run, before it comes to that pipe; posix_spawn goes on when execve(2) can fail
no more, and leaves the closing to the other processor. Per start of 1,000: 0.55 ms instead of 0.8 (Linux 6.18).
`os.posix_spawn` cannot enter a directory, and holds the interpreter's lock meanwhile.
"""

import ctypes
import errno
import os
import signal
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import starmap

from supervise.system.environment import encoded, variable
from supervise.system.forking import NotStarted, Stage

SETSIGDEF, SETSID = 0x04, 0x80  # spawn.h, of glibc since 2.26 and musl
CLOSE_RANGE, CLOEXEC = 436, 4  # close_range(2), with one number on all machines, and its flag (Linux 5.11)
INTERNAL = (32, 33)  # signals
ROOM = 512  # bytes for what C calls posix_spawnattr_t and posix_spawn_file_actions_t: 336 and 80, at most


def start(
    filename: str,
    argv: Sequence[str],
    env: Mapping[str, str],
    fds: tuple[int, int, int],
    *,
    pass_fds: Sequence[int] = (),
    directory: str | None = None,
) -> int | None:
    """The pid of a new child, which has executed that in a session of its own; None: use another way.

    `fds` become 0, 1 and 2, `pass_fds` keep their numbers, and nothing else is passed on. Blocks until exec, without
    the interpreter's lock. Raises NotStarted, ValueError (a null byte, a = in a name).
    """
    libc = _library()
    if libc is None or libc.syscall(CLOSE_RANGE, 3, ctypes.c_uint(-1), CLOEXEC):
        return None
    file, words, pairs = encoded(filename), _array(map(encoded, argv)), _array(starmap(variable, env.items()))
    pid, actions = ctypes.c_int(), ctypes.create_string_buffer(ROOM)
    libc.posix_spawn_file_actions_init(actions)
    try:
        if directory is not None:
            libc.posix_spawn_file_actions_addchdir_np(actions, encoded(directory))
        for number, fd in (*enumerate(fds), *((fd, fd) for fd in pass_fds)):
            libc.posix_spawn_file_actions_adddup2(actions, fd, number)
        number = libc.posix_spawn(ctypes.byref(pid), file, actions, _attributes(libc), words, pairs)
    finally:
        libc.posix_spawn_file_actions_destroy(actions)
    if number:
        raise NotStarted(_stage(number, directory), number)
    return pid.value


def _array(words: Iterable[bytes]) -> "ctypes.Array[ctypes.c_char_p]":
    found = list(words)
    return (ctypes.c_char_p * (len(found) + 1))(*found)


@cache
def _library() -> ctypes.CDLL | None:
    """The C library, if it has what we need: glibc 2.29, musl 1.1.24."""
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "posix_spawn_file_actions_addchdir_np") else None


@cache
def _attributes(libc: ctypes.CDLL) -> "ctypes.Array[ctypes.c_char]":
    """A session of its own, and the default for the signals that Python ignores, and for those that the C library would
    leave ignored because it uses them itself. (sigaddset(3) knows nothing of them.)"""
    bits = 8 * ctypes.sizeof(ctypes.c_ulong)
    attributes, ignored = ctypes.create_string_buffer(ROOM), (ctypes.c_ulong * (8 * ROOM // bits))()
    libc.posix_spawnattr_init(attributes)
    libc.posix_spawnattr_setflags(attributes, ctypes.c_short(SETSIGDEF | SETSID))
    for number in (signal.SIGPIPE, signal.SIGXFSZ, *INTERNAL):
        ignored[(number - 1) // bits] |= 1 << (number - 1) % bits
    libc.posix_spawnattr_setsigdefault(attributes, ignored)
    return attributes


def _stage(number: int, directory: str | None) -> Stage:
    """Where it failed. posix_spawn(3) does not say; but only fork(2) gives up for want of processes or memory."""
    if number in {errno.EAGAIN, errno.ENOMEM}:
        return "fork"
    try:
        if directory is not None:
            os.close(os.open(f"{directory}/.", os.O_PATH | os.O_CLOEXEC))  # as chdir(2), it needs to be searched
    except OSError as why:
        if why.errno == number:
            return "chdir"
    return "exec"
