"""The forker: starts programs of other users in the daemon's place, and as its children. A program of its own.

    python -I -S - NUMBER DAEMON [what ps(1) shall show] < forker.py

NUMBER is our end of a socket (SOCK_SEQPACKET), DAEMON the pid at the other end. An order is one message: JSON, and the
descriptors that shall be 0, 1 and 2 of the program. There are two answers [pid, stage, errno]:

    from the child, when only the program is left to be executed: stage "ready". It is not sent if that point was not
        reached, and whoever waits for it sees the socket's end only when the child has sent it, or will not.
    from us, when it has been executed: stage "", or where it failed: "fork", "user", "chdir", "exec"

So the daemon knows of every child, whoever is killed in the middle. Orders are carried out one after the other; when
the other end is closed, or the daemon dies in whatever way, so do we.

`subprocess` uses vfork(2) only where the user stays the same. A fork(2) copies the page tables of the whole process,
and then every page that is written to: 2 to 4 ms for the daemon. We have little to copy, and a single thread, so that
Python may run in the child. CLONE_PARENT makes it the daemon's child, which reaps it, and is its getppid().
"""

import array
import ctypes
import errno
import gc
import json
import os
import platform
import signal
import socket
import sys
from typing import Any

# clone(2) by its number, where its first argument is the flags: the function of the C library wants a stack.
CLONE = {"x86_64": 56, "aarch64": 220, "riscv64": 220, "loongarch64": 220, "ppc64le": 120}
CLONE_PARENT = 0x8000  # linux/sched.h
PR_SET_PDEATHSIG = 1  # linux/prctl.h
LARGEST = 1 << 20  # bytes of an order, at most
NOT_STARTED = 127  # exit status of what could not be executed


def serve(link: socket.socket, daemon: int) -> None:
    """Carry out orders until there are no more."""
    libc = ctypes.PyDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    buffer, space = bytearray(LARGEST), socket.CMSG_LEN(3 * array.array("i").itemsize)
    gc.freeze()
    gc.disable()
    while os.getppid() == daemon:
        size, rights, _, _ = link.recvmsg_into([buffer], space, socket.MSG_CMSG_CLOEXEC)
        if not size:
            return
        fds = array.array("i")
        for _, _, numbers in rights:
            fds.frombytes(numbers)
        pid, stage, number = begin(libc, link, daemon, json.loads(buffer[:size]), fds.tolist())
        for fd in fds:
            os.close(fd)
        answer(link, pid, stage, number)


def answer(link: socket.socket, pid: int, stage: str, number: int = 0) -> None:
    """Tell the daemon how far it came."""
    link.send(json.dumps([pid, stage, number]).encode())


def begin(
    libc: ctypes.PyDLL, link: socket.socket, daemon: int, order: dict[str, Any], fds: list[int]
) -> tuple[int, str, int]:
    """Have a child begin, and wait until it is the program. Returns its pid (0: none), the stage, and the errno."""
    hear, tell = os.pipe()  # which says nothing, but that it is closed, if the program is executed
    flags = CLONE_PARENT | signal.SIGCHLD
    pid: int = libc.syscall(*map(ctypes.c_long, (CLONE[platform.machine()], flags, 0, 0, 0, 0)))
    if pid == 0:
        become(link, daemon, order, fds, tell)
    os.close(tell)
    said = os.read(hear, 100).decode() if pid > 0 else f"fork {ctypes.get_errno()}"
    os.close(hear)
    stage, _, number = said.partition(" ")
    return max(pid, 0), stage, int(number or 0)


def become(link: socket.socket, daemon: int, order: dict[str, Any], fds: list[int], tell: int) -> None:
    """In the child: be the program. Does not return. The directory is entered with the rights of the user."""
    stage = "fork"
    try:
        os.setsid()
        for number, fd in enumerate(fds):
            os.dup2(fd, number)
        if os.getppid() != daemon:  # it died before the next one could find us by our stdout, and would start another
            return
        for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # by Python
            signal.signal(ignored, signal.SIG_DFL)
        if order["umask"] is not None:
            os.umask(order["umask"])
        stage = "user"
        if order["groups"] is not None:
            os.setgroups(order["groups"])
        os.setgid(order["group"])
        if order["user"] is not None:
            os.setuid(order["user"])
        stage = "chdir"
        if order["directory"] is not None:
            os.chdir(order["directory"])
        stage = "exec"
        answer(link, os.getpid(), "ready")
        os.execve(order["filename"], order["argv"], order["env"])
    except Exception as error:
        code = error.errno if isinstance(error, OSError) else errno.EINVAL
        os.write(tell, f"{stage} {code}".encode())
    finally:
        os._exit(NOT_STARTED)


if __name__ == "__main__":
    own = int(sys.argv[1])
    os.set_inheritable(own, False)
    serve(socket.socket(fileno=own), int(sys.argv[2]))
