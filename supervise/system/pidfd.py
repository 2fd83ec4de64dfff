"""How a process ended that was not our child.

The kernel tells two ways. Until its parent takes the status, the process is a zombie and shows it in its stat file
(proc_pid_stat(5), field 52), to those who may trace it. Afterwards those know it who held a pidfd when it was taken:
PIDFD_GET_INFO with PIDFD_INFO_EXIT (Linux 6.15), a struct of 64 bytes, the mask first and the status last.
"""

import fcntl
import os
import struct

PIDFD_INFO_EXIT = 1 << 3
PIDFD_INFO_SIZE = 64
PIDFD_GET_INFO = (3 << 30) | (PIDFD_INFO_SIZE << 16) | (0xFF << 8) | 11  # _IOWR(0xFF, 11, struct pidfd_info)


def exit_status(pidfd: int) -> int | None:
    """The wait status of a process that somebody has reaped; None if nobody has, or the kernel does not tell."""
    info = bytearray(PIDFD_INFO_SIZE)
    struct.pack_into("Q", info, 0, PIDFD_INFO_EXIT)
    try:
        fcntl.ioctl(pidfd, PIDFD_GET_INFO, info)
    except OSError:
        return None
    (mask,), (status,) = struct.unpack_from("Q", info, 0), struct.unpack_from("i", info, PIDFD_INFO_SIZE - 4)
    return status if mask & PIDFD_INFO_EXIT else None


def zombie_status(pid: int, start: int) -> int | None:
    """The wait status that nobody has taken yet; None if the process lives, is gone, or may not be looked at."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        os.readlink(f"/proc/{pid}/ns/pid")  # the same permission; field 52 only says 0 to those who have not got it
    except OSError:
        return None
    return int(fields[49]) if fields[0] == b"Z" and int(fields[19]) == start else None
