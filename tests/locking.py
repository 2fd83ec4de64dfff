"""A program that keeps a pipe locked: it writes from memory, or reads into memory, that does not answer.

As a file on a disk that hangs would do it, by means of userfaultfd(2): a page that is only there when the test wants.
"""

import ctypes
import fcntl
import os
import platform
import struct
import sys
import threading
import time
from pathlib import Path

PAGE = 4096
USERFAULTFD = {"x86_64": 323, "aarch64": 282}
API, REGISTER, COPY = 0xC018AA3F, 0xC020AA00, 0xC028AA03  # linux/userfaultfd.h
MISSING = 1
CALLS = {"x86_64": {"0", "1"}, "aarch64": {"63", "64"}}  # read and write
FIRST, SECOND = b"a" * (PAGE - 1) + b"\n", b"b" * (PAGE - 1) + b"\n"


class Memory:
    """Two pages: the first says FIRST, who touches the second waits until it is provided, and says SECOND.

    Raises OSError where the kernel does not let us.
    """

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._fault = libc.syscall(USERFAULTFD.get(platform.machine(), -1), os.O_CLOEXEC)
        if self._fault < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        fcntl.ioctl(self._fault, API, struct.pack("=QQQ", 0xAA, 0, 0))
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
        self.address = libc.mmap(None, 2 * PAGE, 3, 0x22, -1, 0)  # PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS
        ctypes.memmove(self.address, FIRST, PAGE)
        fcntl.ioctl(self._fault, REGISTER, struct.pack("=QQQQ", self.address + PAGE, PAGE, MISSING, 0))

    def provide(self) -> None:
        """Let them go on who wait."""
        page = ctypes.create_string_buffer(SECOND, PAGE)
        told = struct.pack("=QQQQq", self.address + PAGE, ctypes.addressof(page), PAGE, 0, 0)
        fcntl.ioctl(self._fault, COPY, told)


def main(what: str, place: str, leave: str = "") -> None:
    """`read` from stdin or `write` to stdout both pages: the first when there is a file "go" in that place, the second
    when there is "release". Before it is begun to wait for that, our pid is in the file "locking".

    With `leave` a child does it, and its parent goes when it sees that file.
    """
    there = Path(place)
    if leave and os.fork():
        until(there / "locking")
        return
    memory, libc = Memory(), ctypes.CDLL(None)

    def provide() -> None:
        until(there / "release")
        memory.provide()

    threading.Thread(target=provide, daemon=True).start()
    until(there / "go")
    call, fd = (libc.read, 0) if what == "read" else (libc.write, 1)
    first, second = (ctypes.c_void_p(memory.address + at) for at in (0, PAGE))
    call(fd, first, ctypes.c_size_t(PAGE))
    (there / "new").write_text(str(os.getpid()))
    (there / "new").rename(there / "locking")
    call(fd, second, ctypes.c_size_t(PAGE))
    while True:
        time.sleep(1000)


def until(there: Path) -> None:
    while not there.exists():
        time.sleep(0.02)


def is_ready(pid: int) -> bool:
    """Whether it waits for "go": its memory is there."""
    return any("userfaultfd" in os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir())


def is_inside(pid: int) -> bool:
    """Whether it waits in a read or write (proc_pid_syscall(5))."""
    return Path(f"/proc/{pid}/syscall").read_text().split()[0] in CALLS[platform.machine()]


if __name__ == "__main__":
    main(*sys.argv[1:])
