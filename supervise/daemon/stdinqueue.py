"""What waits to be written to the standard inputs of processes that do not read at once.

What waits has been promised to a client: it is kept on the journal's memory file system until it is written, and the
next daemon writes the rest. Killed in the microsecond between a write and its record, it writes those bytes twice.
"""

import asyncio
import errno
import logging
import os
from collections.abc import Iterable
from pathlib import Path

from supervise.daemon.process import Process
from supervise.system.entries import Entries, Entry, forget
from supervise.system.stdin import Stdin

log = logging.getLogger("supervise")

LIMIT = 1 << 20  # bytes that may wait for one process
LONGEST = 4 * LIMIT  # bytes of a file, before it is written anew
PREFIX = "stdin-"
LOST = "what waits for a stdin would be lost with this daemon: %s"


class StdinQueues:
    """One bounded queue for each process that has not read what it was sent yet. Loop thread only."""

    def __init__(self, directory: str | None) -> None:
        """`directory`: of the journal; without one nothing is kept."""
        self._directory = directory
        self._queues: dict[int, _Queue] = {}  # by the inode of the pipe, which is nobody else's while we have it open

    def resume(self, processes: Iterable[Process]) -> None:
        """Go on writing what the daemon before us had still to write to these."""
        if self._directory is None:
            return
        for child in [process.child for process in processes if process.child is not None]:
            if (stdin := child.stdin) is None or not Path(path := f"{self._directory}/{PREFIX}{stdin.inode}").exists():
                continue
            try:
                queue = _Queue(stdin.open_end(child.pid))
                queue.recall(path)
            except OSError as error:
                log.error("what waited for the stdin of pid %d is lost: %s", child.pid, error)
                continue
            self._queues[stdin.inode] = queue
            asyncio.get_running_loop().add_writer(queue.fd, self._continue, stdin.inode)
        forget(self._directory, PREFIX, [f"{self._directory}/{PREFIX}{inode}" for inode in self._queues])

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
        queue.add(data)
        try:
            done = queue.write()
        except OSError:
            self._end(stdin.inode, queue)
            raise
        if done:
            self._end(stdin.inode, queue)
        elif stdin.inode not in self._queues:
            self._queues[stdin.inode] = queue
            if self._directory is not None:
                queue.keep(f"{self._directory}/{PREFIX}{stdin.inode}")
            asyncio.get_running_loop().add_writer(queue.fd, self._continue, stdin.inode)

    def renew(self, directory: str) -> bool:
        """If the file of a queue was removed, make it anew, there; whether that was done."""
        if self._directory is None:
            return False
        self._directory = directory
        done = [queue.renew(f"{directory}/{PREFIX}{inode}") for inode, queue in self._queues.items()]
        return any(done)

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
        queue.close()


class _Queue:
    __slots__ = ("_file", "data", "fd")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.data = bytearray()
        self._file: Entries | None = None

    def keep(self, path: str) -> None:
        """From now on it is on file. Never raises."""
        try:
            self._file = Entries(path)
        except OSError as error:
            log.error(LOST, error)
        else:
            self._file.clear()
            self._record(Entry({}, bytes(self.data)))

    def renew(self, path: str) -> bool:
        if self._file is None or (self._file.intact and self._file.path == path):
            return False
        self._file.close(remove=False)
        self._file = None
        self.keep(path)
        return True

    def _record(self, entry: Entry) -> None:
        if self._file is None:
            return
        try:
            self._file.append(entry)
            if self._file.size > LONGEST:
                self._file.rewrite([Entry({}, bytes(self.data))])
        except OSError as error:
            log.error(LOST, error)
            self._file.close(remove=True)
            self._file = None

    def recall(self, path: str) -> None:
        """Take over what is on file. Raises OSError, having closed everything."""
        try:
            self._file = Entries(path)
        except OSError:
            self.close()
            raise
        for entry in self._file.found:
            self.data += entry.data
            del self.data[: entry.facts.get("written", 0)]

    def add(self, data: bytes) -> None:
        self.data += data
        self._record(Entry({}, data))

    def write(self) -> bool:
        """Write what fits; whether that was all. Raises OSError, having closed nothing."""
        while self.data:
            try:
                count = os.write(self.fd, self.data)
            except BlockingIOError:
                return False
            del self.data[:count]
            self._record(Entry({"written": count}))
        return True

    def close(self) -> None:
        os.close(self.fd)
        if self._file is not None:
            self._file.close(remove=True)
