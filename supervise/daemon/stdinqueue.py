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

from supervise.daemon.aside import Aside, Busy
from supervise.daemon.process import Process
from supervise.system.entries import Entries, Entry, forget
from supervise.system.stdin import Stdin

log = logging.getLogger("supervise")

LIMIT = 1 << 20  # bytes that may wait for one process
LONGEST = 4 * LIMIT  # bytes of a file, before it is written anew
PREFIX = "stdin-"
PATIENCE = 1.0  # seconds that a client waits for a pipe that is locked
THREADS = 16  # pipes that may be locked while others are still written to
MOST = 1 << 16  # pieces of work that may wait for one of them
LOST = "what waits for a stdin would be lost with this daemon: %s"


class StdinQueues:
    """One bounded queue for each process that has not read what it was sent yet. Loop thread only.

    Pipes are opened, written and closed in threads, since a process can keep them locked (see `pipes`).
    """

    def __init__(self, directory: str | None) -> None:
        """`directory`: of the journal; without one nothing is kept."""
        self._directory = directory
        self._aside = Aside(THREADS, MOST)
        self._queues: dict[int, _Queue] = {}  # by the inode of the pipe, which is nobody else's while we have it open

    def resume(self, processes: Iterable[Process]) -> None:
        """Go on writing what the daemon before us had still to write to these."""
        if self._directory is None:
            return
        for child in [process.child for process in processes if process.child is not None]:
            if (stdin := child.stdin) is None or not Path(path := f"{self._directory}/{PREFIX}{stdin.inode}").exists():
                continue
            queue = _Queue(stdin, child.pid)
            try:
                queue.recall(path)
            except OSError as error:
                log.error("what waited for the stdin of pid %d is lost: %s", child.pid, error)
                continue
            self._queues[stdin.inode] = queue
            self._write(queue)
        forget(self._directory, PREFIX, [f"{self._directory}/{PREFIX}{inode}" for inode in self._queues])

    async def send(self, stdin: Stdin, pid: int, data: bytes) -> None:
        """Write what fits now, and the rest when the process reads: all of it, or (with an error) nothing.

        Raises BlockingIOError: too much waits already, or the process keeps the pipe locked; BrokenPipeError: it has
        closed its stdin; ProcessLookupError, and other OSErrors as open(2) gives them.
        """
        try:
            async with asyncio.timeout(PATIENCE):
                while (queue := self._queues.get(stdin.inode)) is not None and queue.writing is not None:
                    await asyncio.wait([queue.writing])
        except TimeoutError:
            problem = "it keeps it locked, reading into memory that does not answer"
            raise BlockingIOError(errno.EAGAIN, problem) from None
        waiting = self.waiting(stdin)
        if waiting + len(data) > LIMIT:
            raise BlockingIOError(errno.EAGAIN, f"{waiting} bytes wait already; {LIMIT} may")
        if queue is None:
            if not data:
                return
            queue = self._queues[stdin.inode] = _Queue(stdin, pid)
        queue.add(data)
        if queue.waits:
            return
        self._write(queue)
        if queue.writing is not None:
            await asyncio.wait([queue.writing], timeout=PATIENCE)
        if queue.writing is not None:
            self._keep(queue)
        elif queue.error is not None:
            raise queue.error

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

    def _write(self, queue: "_Queue") -> None:
        queue.writing = asyncio.get_running_loop().create_task(self._advance(queue))

    async def _advance(self, queue: "_Queue") -> None:
        try:
            queue.take(await self._aside.run(queue.write))
        except Busy:
            queue.error = OSError(errno.EAGAIN, "too many others keep theirs locked")
        except OSError as error:  # nobody has the other end any more
            queue.error = error
        queue.writing = None
        if queue.data and queue.error is None:
            self._keep(queue)
            queue.waits = True
            asyncio.get_running_loop().add_writer(queue.fd, self._go_on, queue)
            return
        if queue.data:
            log.debug("%d bytes for a stdin are dropped: %s", len(queue.data), queue.error)
        del self._queues[queue.stdin.inode]
        queue.forget()

    def _go_on(self, queue: "_Queue") -> None:
        asyncio.get_running_loop().remove_writer(queue.fd)
        queue.waits = False
        self._write(queue)

    def _keep(self, queue: "_Queue") -> None:
        if self._directory is not None:
            queue.keep(f"{self._directory}/{PREFIX}{queue.stdin.inode}")


class _Queue:
    """`writing` or `waits`, until all is written, or there is an `error`."""

    __slots__ = ("_file", "_pid", "data", "error", "fd", "stdin", "waits", "writing")

    def __init__(self, stdin: Stdin, pid: int) -> None:
        self.stdin, self._pid = stdin, pid
        self.fd = -1
        self.data = bytearray()
        self.writing: asyncio.Task[None] | None = None  # a thread does, and the data stays as it is
        self.waits = False  # until the pipe has room
        self.error: OSError | None = None
        self._file: Entries | None = None

    def keep(self, path: str) -> None:
        """From now on it is on file. Never raises."""
        if self._file is not None:
            return
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
        """Take over what is on file. Raises OSError."""
        self._file = Entries(path)
        for entry in self._file.found:
            self.data += entry.data
            del self.data[: entry.facts.get("written", 0)]

    def add(self, data: bytes) -> None:
        self.data += data
        self._record(Entry({}, data))

    def take(self, count: int) -> None:
        """So many bytes have been written."""
        del self.data[:count]
        self._record(Entry({"written": count}))

    def write(self) -> int:
        """Write what fits; how many bytes that was. In a thread. Without an end of the pipe open if it was all, or with
        an error: raises OSError."""
        done, data = 0, bytes(self.data)
        if self.fd < 0:
            self.fd = self.stdin.open_end(self._pid)
        try:
            while done < len(data):
                done += os.write(self.fd, data[done:])
        except BlockingIOError:
            return done
        except OSError:
            self._close()
            raise
        self._close()
        return done

    def _close(self) -> None:
        fd, self.fd = self.fd, -1
        os.close(fd)

    def forget(self) -> None:
        if self._file is not None:
            self._file.close(remove=True)
