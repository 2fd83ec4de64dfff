"""What a process or a thread that seems to do nothing waits for."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress

READ = {"x86_64": 0, "aarch64": 63, "riscv64": 63, "loongarch64": 63, "i686": 3, "armv7l": 3, "ppc64le": 3, "s390x": 3}


def waits_for_stdin(pid: int) -> bool | None:
    """Whether a process is inside read(2) of its descriptor 0 (proc(5), /proc/PID/syscall), by its first thread.

    None where that cannot be seen: it takes the right to trace the process.
    """
    try:
        with open(f"/proc/{pid}/syscall") as file:
            words = file.read().split()
    except OSError:
        return None
    try:
        return int(words[0]) == READ.get(os.uname().machine) and int(words[1], 16) == 0
    except (IndexError, ValueError):  # "running"
        return False


def readers(pipe: int) -> Iterator[int]:
    """The processes whose descriptor 0 is the pipe with this inode, as far as they may be looked at.

    One look at all processes, a few µs each.
    """
    for name in os.listdir("/proc"):
        with suppress(OSError):
            if name.isdecimal() and os.readlink(f"/proc/{name}/fd/0") == f"pipe:[{pipe}]":
                yield int(name)


def naps(thread: int) -> int:
    """How often one of our own threads has gone to sleep so far; -1 while it runs, or would if it had the processor.

    The same number twice: it has slept all the time. (Who waits for the interpreter's lock looks every 5 ms.)
    0 where that cannot be seen.
    """
    try:
        with open(f"/proc/self/task/{thread}/status") as file:
            status = file.read()
    except OSError:
        return 0
    if re.search(r"^State:\s*R", status, re.MULTILINE):
        return -1
    return sum(int(count) for count in re.findall(r"ctxt_switches:\s*(\d+)", status))


def is_python(pid: int) -> bool:
    """Whether a process executes a Python interpreter, by the name of its file."""
    try:
        name = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
    except OSError:
        return False
    return name.startswith(("python", "pypy"))
