"""What waits to be written to the standard inputs of processes that do not read at once."""

import asyncio
import errno
import logging
import os

from supervise.system.stdin import Stdin

log = logging.getLogger("supervise")

LIMIT = 1 << 20  # bytes that may wait for one process


class StdinQueues:
    """One bounded queue for each process that has not read what it was sent yet. Loop thread only."""

    def __init__(self) -> None:
        self._queues: dict[int, _Queue] = {}  # by the inode of the pipe, which is nobody else's while we have it open

    def send(self, stdin: Stdin, pid: int, data: bytes) -> None:
        """Write what fits now, and the rest when the process reads: all of it, or (with an error) nothing.

        Raises BlockingIOError: too much waits already; BrokenPipeError: the process has closed its stdin;
        ProcessLookupError, and other OSErrors as open(2) gives them.
        """
        queue = self._queues.get(stdin.inode)
        waiting = len(queue.data) if queue else 0
        if waiting + len(data) > LIMIT:
            raise BlockingIOError(errno.EAGAIN, f"{waiting} bytes wait already; {LIMIT} may")
        if queue is None:
            if not data:
                return
            queue = _Queue(stdin.open_end(pid))
        queue.data += data
        try:
            done = queue.write()
        except OSError:
            self._end(stdin.inode, queue)
            raise
        if done:
            self._end(stdin.inode, queue)
        elif stdin.inode not in self._queues:
            self._queues[stdin.inode] = queue
            asyncio.get_running_loop().add_writer(queue.fd, self._continue, stdin.inode)

    def waiting(self, stdin: Stdin) -> int:
        """How many bytes wait for a process."""
        queue = self._queues.get(stdin.inode)
        return len(queue.data) if queue else 0

    def _continue(self, inode: int) -> None:
        queue = self._queues[inode]
        try:
            done = queue.write()
        except OSError as error:  # nobody has the other end any more
            log.debug("%d bytes for a stdin are dropped: %s", len(queue.data), error.strerror)
            done = True
        if done:
            self._end(inode, queue)

    def _end(self, inode: int, queue: "_Queue") -> None:
        if self._queues.pop(inode, None) is not None:
            asyncio.get_running_loop().remove_writer(queue.fd)
        os.close(queue.fd)


class _Queue:
    __slots__ = ("data", "fd")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.data = bytearray()

    def write(self) -> bool:
        """Write what fits; whether that was all. Raises OSError, having closed nothing."""
        while self.data:
            try:
                count = os.write(self.fd, self.data)
            except BlockingIOError:
                return False
            del self.data[:count]
        return True
