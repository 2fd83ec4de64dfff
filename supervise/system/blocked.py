"""What a process that seems to do nothing waits for."""

import os

READ = {"x86_64": 0, "aarch64": 63, "riscv64": 63, "loongarch64": 63, "i686": 3, "armv7l": 3, "ppc64le": 3, "s390x": 3}


def waits_for_stdin(pid: int) -> bool:
    """Whether the first thread of a process is inside read(2) of its descriptor 0 (proc(5), /proc/PID/syscall).

    False too where that cannot be seen: it takes the right to trace the process.
    """
    try:
        with open(f"/proc/{pid}/syscall") as file:
            words = file.read().split()
    except OSError:
        return False
    try:
        return int(words[0]) == READ.get(os.uname().machine) and int(words[1], 16) == 0
    except (IndexError, ValueError):  # "running"
        return False


def is_python(pid: int) -> bool:
    """Whether a process executes a Python interpreter, by the name of its file."""
    try:
        name = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
    except OSError:
        return False
    return name.startswith(("python", "pypy"))
