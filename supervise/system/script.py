"""Processes that run a module of ours as a program of their own, which was read before: whatever is installed in its
place later has another version.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence


def start(program: bytes, link: socket.socket, *, flags: Sequence[str], title: str, env: Mapping[str, str]) -> int:
    """The pid of a new child, leader of its session, that runs the `program` with the number of `link` as its first
    argument, and the daemon's pid as its second. `flags` are the interpreter's, the `title` is for ps(1).

    Blocks until it is executed, 2 ms. The reaper has to be told of it before the loop goes on. Loop thread only. Raises
    OSError.
    """
    fd = os.memfd_create("program")
    try:
        os.write(fd, program)
        os.lseek(fd, 0, os.SEEK_SET)
        process = subprocess.Popen(
            [sys.executable, *flags, "-", str(link.fileno()), str(os.getpid()), *title.split()],
            stdin=fd,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=env,
            pass_fds=[link.fileno()],
            start_new_session=True,
        )
    finally:
        os.close(fd)
    process.returncode = 0  # reaping is the reaper's business
    return process.pid
