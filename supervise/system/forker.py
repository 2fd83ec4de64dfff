"""The forker: starts programs of other users in the daemon's place, and as its children. A program of its own.

    python -I -S - NUMBER DAEMON [what ps(1) shall show] < forker.py

NUMBER is our end of a socket (SOCK_SEQPACKET), DAEMON the pid at the other end. An order is one message: JSON, in which
a character of a text is a byte; after a null byte each, the file, its `words` arguments, its environment; and the
descriptors that shall be 0, 1, 2, … of the program. There are two answers (`ANSWER`: pid, stage, errno):

    from the child, when nothing is left but what its user or a disk may delay: stage "ready". It is not sent if that
        point was not reached, and whoever waits for it sees the socket's end only when the child has sent it, or
        will not.
    from us, when it has been executed: stage "", or where it failed: "fork", "user", "chdir", "exec"

So the daemon knows of every child, whoever is killed in the middle. When the other end is closed, or the daemon dies in
whatever way, so do we. A child that is not executed yet keeps nobody waiting: the next order may come before we answer.

`subprocess` uses vfork(2) only where the user stays the same. A fork(2) copies the page tables of the whole process,
and then every page that is written to: 2 to 4 ms for the daemon. We have little to copy, and a single thread, so that
Python may run in the child; whatever can be done before it begins is. CLONE_PARENT makes it the daemon's child, which
reaps it, and is its getppid().
"""

import array
import ctypes
import errno
import gc
import json
import mmap
import os
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from functools import partial
from os import chdir, close, dup2, getpid, getppid, setgid, setgroups, setsid, setuid, umask
from typing import Any, Literal, NamedTuple

# clone(2) by its number, where its first argument is the flags: the function of the C library wants a stack.
CLONE = {"x86_64": 56, "aarch64": 220, "riscv64": 220, "loongarch64": 220, "ppc64le": 120}
CLONE_PARENT = 0x8000  # linux/sched.h
PR_SET_PDEATHSIG = 1  # linux/prctl.h
LARGEST = 1 << 20  # bytes of an order, at most
MOST = 40  # descriptors of a program, at most: all others of ours have higher numbers
NOT_STARTED = 127  # exit status of what could not be executed
Stage = Literal["fork", "user", "chdir", "exec", "ready", ""]
STAGES: tuple[Stage, ...] = ("fork", "user", "chdir", "exec", "ready", "")
READY = STAGES.index("ready")
ANSWER = struct.Struct("=3i")  # the stage by its number
FAILURE = struct.Struct("=2i")  # of a child: stage and errno


class Order(NamedTuple):
    """What a child shall be. Texts are as execve(2) and chdir(2) take them."""

    filename: bytes
    argv: "ctypes.Array[ctypes.c_char_p]"
    env: "ctypes.Array[ctypes.c_char_p]"
    directory: bytes | None
    umask: int | None
    user: int | None
    group: int
    groups: list[int] | None
    cgroup: bytes | None


class Means(NamedTuple):
    """What a child uses, found beforehand: what it had to look up would be written to, and each page of that copied."""

    clone: Callable[[], int]
    send: Callable[[bytes, int], int]
    execve: Callable[..., int]
    link: int
    daemon: int


def serve(link: socket.socket, daemon: int) -> None:
    """Carry out orders until there are no more."""
    libc = ctypes.PyDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    call = CLONE[os.uname().machine], CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0
    clone = partial(libc.syscall, *map(ctypes.c_long, call))
    means = Means(clone, link.send, libc.execve, link.fileno(), daemon)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # by Python, and a program shall have neither
        signal.signal(ignored, signal.SIG_DFL)
    buffer = mmap.mmap(-1, LARGEST)
    buffer.madvise(mmap.MADV_DONTFORK)  # no child has a part of it
    space = socket.CMSG_LEN(MOST * array.array("i").itemsize)
    beginning: dict[int, int] = {}  # pipes of children that are not executed yet, and their pids
    poll = select.poll()
    poll.register(link, select.POLLIN)
    gc.freeze()
    gc.disable()
    while os.getppid() == daemon:
        for ready, _ in poll.poll():
            if ready in beginning:
                poll.unregister(ready)
                failed = os.read(ready, FAILURE.size)
                os.close(ready)
                stage, number = FAILURE.unpack(failed) if failed else (STAGES.index(""), 0)
                answer(link, beginning.pop(ready), STAGES[stage], number)
                continue
            size, rights, flags, _ = link.recvmsg_into([buffer], space, socket.MSG_CMSG_CLOEXEC)
            if not size:
                return
            fds = array.array("i")
            for _, _, numbers in rights:
                fds.frombytes(numbers)
            try:
                if flags & socket.MSG_CTRUNC:
                    raise OSError(errno.EMFILE, "")
                pid, hear = begin(means, understood(buffer[:size]), fds)
                beginning[hear] = pid
                poll.register(hear, select.POLLIN)
            except Exception as error:
                answer(link, 0, "fork", (isinstance(error, OSError) and error.errno) or errno.EINVAL)
            for fd in fds:
                os.close(fd)


def answer(link: socket.socket, pid: int, stage: Stage, number: int = 0) -> None:
    """Tell the daemon how far it came."""
    link.send(ANSWER.pack(pid, STAGES.index(stage), number), socket.MSG_NOSIGNAL)


def understood(message: bytes) -> Order:
    """An order as it was sent. Raises ValueError, KeyError, TypeError."""
    head, filename, *words = message.split(b"\0")
    order: dict[str, Any] = json.loads(head)
    count = order.pop("words")
    for name in ("directory", "cgroup"):
        order[name] = order[name] and encoded(order[name])
    return Order(filename, strings(words[:count]), strings(words[count:]), **order)


def begin(means: Means, order: Order, fds: Sequence[int]) -> tuple[int, int]:
    """Have a child begin. Returns its pid, and a pipe that says nothing, but that it is closed, if it is executed.

    Raises OSError."""
    hear, tell = os.pipe()
    pid = means.clone()
    if pid == 0:
        become(means, order, fds, tell)
    os.close(tell)
    if pid < 0:
        os.close(hear)
        raise OSError(ctypes.get_errno(), "")
    return pid, hear


def become(means: Means, order: Order, fds: Sequence[int], tell: int) -> None:
    """In the child: be the program. Does not return. The directory is entered with the rights of the user.

    Names are found at once here: each object on the way to another would be a page to be copied."""
    stage: Stage = "fork"
    _, send, execve, link, daemon = means
    filename, argv, env, directory, mask, user, group, groups, cgroup = order
    try:
        setsid()
        for number, fd in enumerate(fds):
            dup2(fd, number)
        if cgroup is not None:
            os.write(os.open(cgroup + b"/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC), b"0")
        if getppid() != daemon:  # it died before the next one could find us by our stdout, and would start another
            return
        if mask is not None:
            umask(mask)
        send(ANSWER.pack(getpid(), READY, 0), socket.MSG_NOSIGNAL)
        close(link)  # nothing of ours belongs to the user
        stage = "user"
        if groups is not None:
            setgroups(groups)
        setgid(group)
        if user is not None:
            setuid(user)
        stage = "chdir"
        if directory is not None:
            chdir(directory)
        stage = "exec"
        execve(filename, argv, env)  # os.execve does not take every name of a variable
        raise OSError(ctypes.get_errno(), "")
    except Exception as error:
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # nobody may listen any more
        code = (isinstance(error, OSError) and error.errno) or errno.EINVAL
        os.write(tell, FAILURE.pack(STAGES.index(stage), code))
    finally:
        os._exit(NOT_STARTED)


def encoded(text: str) -> bytes:
    """The bytes that are the characters of a text."""
    return text.encode("latin-1")


def strings(texts: Sequence[bytes]) -> "ctypes.Array[ctypes.c_char_p]":
    """A vector for execve(2)."""
    return (ctypes.c_char_p * (len(texts) + 1))(*texts)


if __name__ == "__main__":
    while os.dup(0) < MOST:
        pass  # all below are taken, so that no descriptor that is given to us is in another one's place
    own = os.dup(int(sys.argv[1]))
    os.dup2(0, int(sys.argv[1]), inheritable=False)
    serve(socket.socket(fileno=own), int(sys.argv[2]))
