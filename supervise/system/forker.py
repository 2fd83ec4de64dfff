"""The forker: starts programs of other users in the daemon's place, and as its children. A program of its own.

    python -I -S - NUMBER DAEMON [what ps(1) shall show] < forker.py

NUMBER is our end of a socket (SOCK_SEQPACKET), DAEMON the pid at the other end. An order is one message: JSON, in which
a character of a text is a byte; after a null byte each, the file, its `words` arguments, its environment; and the
descriptors that shall be 0, 1, 2, … of the program. There are two answers (`ANSWER`: pid, stage, errno):

    from the child, when nothing is left but what its user or a disk may delay: stage "ready". Whoever waits for it sees
        the socket's end only when the child has sent it, or will not; without it nothing is executed.
    from us, when it has been executed: stage "", or where it failed: "fork", "user", "chdir", "exec"

So the daemon knows of every child, whoever is killed in the middle. When the other end is closed, or the daemon dies in
whatever way, so do we. A child that is not executed yet keeps nobody waiting: the next order may come before we answer.

`subprocess` uses vfork(2) only where the user stays the same. A fork(2) copies the page tables of the whole process,
and then every page that is written to: 2 to 4 ms for the daemon. We have little to copy, and the child writes to little
of it: it runs no Python (1 ms), but makes `Calls`. CLONE_PARENT makes it the daemon's child, which reaps it, and is its
getppid().
"""

import array
import ctypes
import errno
import json
import mmap
import os
import select
import signal
import socket
import struct
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import accumulate
from typing import Literal

# Where makecontext(3) takes addresses, whose upper bytes are the last ones; and bytes enough for a ucontext_t.
MACHINES = {"x86_64": 1024} | dict.fromkeys(("aarch64", "riscv64", "loongarch64", "ppc64le"), 8192)
CLONE_PARENT, CLONE_CHILD_SETTID = 0x8000, 0x1000000  # linux/sched.h
MADV_DONTFORK = 10  # asm-generic/mman-common.h
PR_SET_PDEATHSIG = 1  # linux/prctl.h
LARGEST = 1 << 20  # bytes of an order, at most
MOST = 40  # descriptors of a program, at most: all others of ours have higher numbers
NOT_STARTED = 127  # exit status of what could not be executed
Stage = Literal["fork", "user", "chdir", "exec", "ready", ""]
STAGES: tuple[Stage, ...] = ("fork", "user", "chdir", "exec", "ready", "")
FAILURES = 4  # of them are where it may fail
ANSWER = struct.Struct("=3i")  # the stage by its number
INT, POINTER = ctypes.sizeof(ctypes.c_int), ctypes.sizeof(ctypes.c_void_p)
LIBRARY = ("setuid", "pthread_create", "__tls_get_addr")  # functions of all files that make it up


class Context(ctypes.Structure):
    """How a ucontext_t begins everywhere."""

    _fields_ = (
        ("flags", ctypes.c_ulong),
        ("next", ctypes.c_void_p),
        ("stack", ctypes.c_void_p),
        ("stack_flags", ctypes.c_int),
        ("stack_size", ctypes.c_size_t),
    )


class Calls:
    """What a child does: functions of the C library, one after the other, whatever they return. Only system calls.

    Each has a context and a stack, from makecontext(3), and leads to the next one: so the child needs no Python, which
    would write to hundreds of pages. Whoever fails leaves its mark in errno, which nobody who succeeds touches. All
    they need is in an area of its own, and of the rest of our memory a child gets nothing.
    """

    MOST = MOST + 20
    STACK = 1024  # bytes. Below it are those of the calls that are over

    def __init__(self) -> None:
        self.libc = ctypes.PyDLL(None, use_errno=True)
        locate = self.libc["__errno_location"]
        locate.restype = ctypes.c_void_p
        self.errno: int = locate()
        functions = (ctypes.cast(self.libc[name], ctypes.c_void_p).value or 0 for name in LIBRARY)
        withhold(self.libc, [self.errno, *functions])
        room = MACHINES[os.uname().machine]
        contexts, stacks = room * self.MOST, self.STACK * (self.MOST + 1)  # it begins on the last one
        data = LARGEST * (2 + POINTER)  # in the worst order every byte is a text, and has an address
        self._area = mmap.mmap(-1, contexts + stacks + data, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._contexts = [Context.from_buffer(self._area, room * number) for number in range(self.MOST)]
        self._address, self._data = ctypes.addressof(self._contexts[0]), contexts + stacks
        for number, context in enumerate(self._contexts):
            self.libc.getcontext(ctypes.byref(context))
            context.stack, context.stack_size = self._address + contexts + number * self.STACK, self.STACK
            self._contexts[number - 1].next = ctypes.addressof(context)

    def clear(self) -> None:
        """Begin anew."""
        self._count, self._free = 0, self._data
        self.add("memset", self.errno, 0, INT)

    def put(self, data: bytes) -> int:
        """The address at which a child has that. Raises IndexError."""
        at, self._free = self._free, self._free + len(data) + -len(data) % POINTER  # where the next one may be an array
        self._area[at : at + len(data)] = data
        return self._address + at

    def add(self, function: str, *arguments: int) -> None:
        """Add a call. Raises TypeError, IndexError."""
        context, words = self._contexts[self._count], map(ctypes.c_long, arguments)
        self.libc.makecontext(ctypes.byref(context), getattr(self.libc, function), len(arguments), *words)
        self._count += 1

    def clone(self, place: int) -> int:
        """The pid of a new child of our parent, which makes the calls, of which the last does not return, and has its
        pid at that address. Raises OSError."""
        first, flags = self._contexts[0], CLONE_PARENT | CLONE_CHILD_SETTID | signal.SIGCHLD
        stack, *rest = map(ctypes.c_void_p, (self._address + self._data, None, None, place))
        pid: int = self.libc.clone(self.libc.setcontext, stack, flags, ctypes.byref(first), *rest)
        if pid < 0:
            raise OSError(ctypes.get_errno(), "")
        return pid


def withhold(libc: ctypes.PyDLL, needed: Sequence[int]) -> None:
    """Have children get nothing of what is mapped now, but the areas and the files in which these addresses are."""
    areas = []
    with open("/proc/self/maps") as file:
        for line in file:
            span, *_, path = line.split(" ", 5)
            start, end = (int(number, 16) for number in span.split("-"))
            areas.append((start, end, path.strip(), any(start <= address < end for address in needed)))
    files, before = {path for _, _, path, wanted in areas if wanted} - {""}, 0
    for start, end, path, wanted in areas:
        if wanted or path in files or (not path and start == before):  # .bss has no name, and follows its file
            before = end
        else:
            libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), MADV_DONTFORK)


def serve(link: socket.socket, daemon: int) -> None:
    """Carry out orders until there are no more."""
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # by Python
        signal.signal(ignored, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # no handler runs in a child
    buffer, space = bytearray(LARGEST), socket.CMSG_LEN(MOST * array.array("i").itemsize)
    calls = Calls()  # now: what is there already no child gets
    calls.libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    beginning: dict[int, int] = {}  # pipes of children that are not executed yet, and their pids
    poll = select.poll()
    poll.register(link, select.POLLIN)
    while os.getppid() == daemon:
        for ready, _ in poll.poll():
            if ready in beginning:
                poll.unregister(ready)
                failures = array.array("i", os.read(ready, FAILURES * INT))
                os.close(ready)
                stage, number = next(((at, number) for at, number in enumerate(failures) if number), (-1, 0))
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
                pid, hear = begin(calls, link, bytes(memoryview(buffer)[:size]), fds)
                beginning[hear] = pid
                poll.register(hear, select.POLLIN)
            except Exception as error:
                answer(link, 0, "fork", (isinstance(error, OSError) and error.errno) or errno.EINVAL)
            for fd in fds:
                os.close(fd)


def answer(link: socket.socket, pid: int, stage: Stage, number: int = 0) -> None:
    """Tell the daemon how far it came."""
    link.send(ANSWER.pack(pid, STAGES.index(stage), number), socket.MSG_NOSIGNAL)


def begin(calls: Calls, link: socket.socket, message: bytes, fds: Sequence[int]) -> tuple[int, int]:
    """Have a child begin. Returns its pid, and a pipe that says nothing, but that it is closed, if it is executed; else
    what errno was after each stage.

    Nothing is executed after anything has failed: errno is written over the two bytes of the address of argv[0] that
    are 0 in every address, and execve(2) refuses any other. That the child cannot say that it is ready, because the
    daemon is gone or waits no longer, is such a failure. The directory is entered with the rights of the user.
    """
    calls.clear()
    head, *texts = message.split(b"\0")
    order, start = json.loads(head), calls.put(message + b"\0") + len(head) + 1
    filename, *words, _ = accumulate((len(text) + 1 for text in texts), initial=start)
    argv = calls.put(array.array("L", [*words[: order["words"]], 0]).tobytes())
    env = calls.put(array.array("L", [*words[order["words"] :], 0]).tobytes())
    ready = calls.put(ANSWER.pack(0, STAGES.index("ready"), 0))
    failures = calls.put(bytes(INT * FAILURES))

    def over(stage: Stage) -> None:
        calls.add("memcpy", failures + INT * STAGES.index(stage), calls.errno, INT)

    with ExitStack() as ours, ExitStack() as failed:
        hear, tell = os.pipe()
        failed.callback(os.close, hear)
        ours.callback(os.close, tell)
        calls.add("setsid")
        for number, fd in enumerate(fds):
            calls.add("dup2", fd, number)
        if order["cgroup"] is not None:
            file = os.open(encoded(order["cgroup"]) + b"/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
            ours.callback(os.close, file)
            calls.add("write", file, calls.put(b"0"), 1)
        if order["umask"] is not None:
            calls.add("umask", order["umask"])
        calls.add("send", link.fileno(), ready, ANSWER.size, socket.MSG_NOSIGNAL)
        calls.add("close", link.fileno())  # nothing of ours belongs to the user
        over("fork")
        if order["groups"] is not None:
            groups = array.array("I", order["groups"])
            calls.add("setgroups", len(groups), calls.put(groups.tobytes()))
        calls.add("setgid", order["group"])
        if order["user"] is not None:
            calls.add("setuid", order["user"])
        over("user")
        if order["directory"] is not None:
            calls.add("chdir", calls.put(encoded(order["directory"]) + b"\0"))
        over("chdir")
        calls.add("memcpy", argv + POINTER - 2, calls.errno, 2)
        calls.add("execve", filename, argv, env)
        over("exec")
        calls.add("write", tell, failures, INT * FAILURES)
        calls.add("_exit", NOT_STARTED)
        pid = calls.clone(ready)
        failed.pop_all()
    return pid, hear


def encoded(text: str) -> bytes:
    """The bytes that are the characters of a text."""
    return text.encode("latin-1")


if __name__ == "__main__":
    while os.dup(0) < MOST:
        pass  # all below are taken, so that no descriptor that is given to us is in another one's place
    own = os.dup(int(sys.argv[1]))
    os.dup2(0, int(sys.argv[1]), inheritable=False)
    serve(socket.socket(fileno=own), int(sys.argv[2]))
