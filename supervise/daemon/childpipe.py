"""Our end of one pipe of one run: read, filtered, passed on; continued where a daemon before us was killed.

A program can keep its pipe locked (see `pipes`): the worker that waits for it is relieved, as if it hung in a file.
"""

import contextlib
import os
from collections import deque
from collections.abc import Iterable
from functools import partial
from types import TracebackType
from typing import Self

from supervise.daemon.channel import Channel, Former, log
from supervise.daemon.filters import Filters
from supervise.system import carry, swift
from supervise.system.carry import Carry
from supervise.system.intent import Interrupted
from supervise.system.pipes import ended, enlarge, pending
from supervise.system.pump import BUFFER, Inside, Pump, Worker

LOCKED = "the program keeps its %s locked: it writes from memory that does not answer"
FULL = 32 * 1024  # bytes in one read that show that a pipe wants to be larger


class Ends:
    """The child's ends of the pipes for one spawn; leaving the context closes them."""

    __slots__ = ("stderr", "stdin", "stdout")

    def __init__(self, stdout: int, stderr: int, stdin: int | None = None) -> None:
        self.stdout, self.stderr = stdout, stderr
        self.stdin = stdin  # None: a pipe of its own, see `spawn`

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for fd in {self.stdout, self.stderr}:
            os.close(fd)


class ChildPipe:
    """It is read for as long as anybody has the other end (B6)."""

    __slots__ = (
        *(
            "_carried",
            "_filters",
            "_held",
            "_large",
            "_late",
            "_told",
            "busy",
            "channel",
            "fd",
            "given_up",
            "inode",
            "locked",
        ),
        *("pid", "pump"),
    )

    def __init__(
        self, pump: Pump, channel: Channel, fd: int, inode: int = 0, steps: Iterable[Interrupted] | None = None
    ) -> None:
        """Begin to read `fd`, after finishing `steps` if it is a pipe of the daemon before us.

        Of such a pipe there may be nothing left but these steps: then `fd` is -1, and `inode` says which it was.
        """
        self.pump, self.channel, self.fd = pump, channel, fd
        self.inode = inode or os.fstat(fd).st_ino  # how the next daemon knows it again
        self.pid = 0
        self.busy = False  # something was read that is not written yet
        self.given_up = False  # what is in it now is read, and no more
        self.locked = False  # a worker waits for its lock
        self._late: tuple[Worker, int] | None = None  # who has read what is not passed on yet
        self._large = self._held = False
        self._told = False  # that what is held back is not safe
        self._carried = False  # what the filters hold, or held, is on file
        wanted = channel.capture > 0 or channel.strip
        self._filters = Filters(channel.capture, strip=channel.strip) if wanted else None
        if steps is None:
            pump.watch(fd, self)
        else:
            self.busy = True
            pump.call(partial(self._resume, deque(steps), *self._recall()))

    def ready(self, worker: Worker) -> None:
        """Read one buffer and pass it on, unless its target wants nothing more now."""
        if not self._waits():
            self._read(worker, BUFFER)

    def _waits(self) -> bool:
        """Whether the program is to wait, with a full pipe in the end, until there is room for what it writes."""
        sink = self.channel.sink
        if self.locked:
            self.pump.ignore(self.fd)
            return True
        if self.given_up:
            return False
        if not self._held and sink is not None and self.fd >= 0 and sink.holds_back(self._go_on):
            self._held = True
        if self._held:
            self.pump.ignore(self.fd)
        return self._held

    def _go_on(self, worker: Worker) -> None:
        self._held = False
        self.pump.attend(self.fd)

    def _read(self, worker: Worker, limit: int) -> int:
        if self.fd < 0:
            return 0
        self.busy = True  # before reading, so that `idle` cannot miss bytes between the pipe and the file
        with Inside(self.pump, self, worker):
            count = self._take(worker, limit)
        if not worker.retired:  # else `thaw` has seen to what was read
            self._late = None
            self._go_on_with(worker, count)
        if worker.retired:
            self.pump.call(self._rest)  # whoever has taken over may be reading
        else:
            self.busy = False
        return count

    def _rest(self, _: Worker) -> None:
        self.busy = False

    def _take(self, worker: Worker, limit: int) -> int:
        """Read into the worker's buffer; how many bytes."""
        count, intent = min(limit, pending(self.fd)), worker.intent
        if not count or worker.retired:
            return 0
        if intent is not None:
            intent.begin(self.inode, count, self._target)
        try:
            count = os.readv(self.fd, (worker.buffer[:count],))
        except BlockingIOError:  # a child has taken back what it wrote
            count = 0
        if intent is not None:
            intent.have(count)
        self._late = worker, count
        if count >= FULL and not self._large:
            self._large = True
            enlarge(self.fd)
        return count

    def _go_on_with(self, worker: Worker, count: int) -> None:
        intent = worker.intent
        if count:
            worker.count += count
            self._feed(worker, 0 if intent is None else intent.stamp, worker.buffer[:count])
        elif ended(self.fd):
            self.flush(worker)
            if not worker.retired:
                self.close(worker)
        if intent is not None:
            intent.end()

    def _pending(self, worker: Worker) -> int:
        """How many bytes are in it; 0, too, if the worker was given up meanwhile."""
        with Inside(self.pump, self, worker):
            count = pending(self.fd)
        return 0 if worker.retired else count

    # A pipe that is locked

    def stall(self) -> None:
        """A worker waits for its lock, and was given up (the pump's lock is held)."""
        self.locked, self.channel.unheard = True, LOCKED % self.channel.name
        log.error("%s: %s", self.channel.namespec, self.channel.unheard)

    def lose(self) -> None:
        """Nobody waits for it."""

    def thaw(self) -> None:
        """In the worker that was given up, when it comes back: whoever has taken over passes on what it has read."""
        log.warning("%s: its %s can be read again", self.channel.namespec, self.channel.name)
        if self._late is not None:
            (worker, count), self._late = self._late, None
            if worker.intent is None:
                data = bytes(worker.buffer[:count])
                self.pump.call(lambda other: self._feed(other, 0, data))
            elif count:
                self.pump.call(partial(self._finish, worker.intent.left(), None))
                worker.intent = None  # its area is that step's now
        self.pump.call(self._look_again)

    def _look_again(self, worker: Worker) -> None:
        self.locked = False
        if self.channel.unheard == LOCKED % self.channel.name:
            self.channel.unheard = ""
        if self.given_up:
            finish(self.pump, [self], worker)
        elif self.fd >= 0:
            self.pump.attend(self.fd)

    @property
    def _target(self) -> str | None:
        sink = self.channel.sink
        return sink.path if sink is not None else None

    def _feed(self, worker: Worker, stamp: int, data: memoryview | bytes) -> None:
        if self._filters is not None:
            data = self._refine(worker, stamp, bytes(data))
        self._deliver(worker, data)

    def _deliver(self, worker: Worker, output: memoryview | bytes, done: int = 0) -> None:
        """Pass on what comes after `done` bytes, and tell of each passage where it stood."""
        if self._filters is not None and self._filters.passages:
            passages, self._filters.passages = self._filters.passages, []
            for place, passage in passages:
                if done < place:
                    self.channel.feed(worker, output[done:place], self.pid)
                    done = place
                if (tell := self.channel.passage) is not None:
                    tell(self.channel.namespec, self.channel.name, self.pid, passage)
        if done < len(output):
            self.channel.feed(worker, output[done:] if done else output, self.pid)

    def _refine(self, worker: Worker, stamp: int, data: bytes) -> bytes:
        filters = self._filters
        assert filters is not None
        held = filters.holds
        output = filters.feed(data)
        if held or filters.holds:
            self._save(worker, Carry(stamp, filters.state, output))
        return output

    def _save(self, worker: Worker, carried: Carry) -> None:
        if worker.intent is None or self.pump.intents is None:
            return
        try:
            carry.save(self.pump.intents.directory, self.inode, carried)
            self._carried, self._told = True, False
        except OSError as exc:
            if not self._told:
                self._told = True
                log.error("what is held back of the output of %s is not safe: %s", self.channel.namespec, exc)

    def flush(self, worker: Worker) -> None:
        """Pass on what the filters have held back, for which there may be no more input (B7). Log thread."""
        if self._filters is not None and self._filters.holds:
            output = self._filters.flush()
            self._pass_on(worker, output, self._filters.state)

    def keep(self, worker: Worker) -> None:
        """Write down anew what is held back. Log thread, between two steps."""
        if self._filters is not None and self._filters.holds:
            self._save(worker, Carry(0, self._filters.state, b""))

    def _pass_on(self, worker: Worker, output: bytes, state: bytes) -> None:
        """Pass on what is from no reading, as a step of its own."""
        if (intent := worker.intent) is not None:
            stamp = intent.begin(self.inode, 0, self._target)
            intent.have(0)
            self._save(worker, Carry(stamp, state, output))
        self.channel.feed(worker, output, self.pid)
        if intent is not None:
            intent.end()

    def idle(self) -> bool:
        """Whether all that was written into the pipe so far has been passed on. Any thread; never waits."""
        if self.busy or (self._filters is not None and self._filters.holds):
            return False
        return self.fd < 0 or not swift.readable(self.fd)

    def drain(self, worker: Worker) -> None:
        """Pass on what is in the pipe now, and no more: somebody may be writing for ever."""
        if self.fd < 0 or self._waits():
            return
        left = self._pending(worker)
        while left > 0 and not worker.retired and not self._waits():
            count = self._read(worker, min(left, BUFFER))
            if not count:
                break
            left -= count

    def leave(self) -> None:
        """Be no longer one of the channel's old pipes. Any thread."""
        with contextlib.suppress(ValueError):
            self.channel.old.remove(self)

    def close(self, worker: Worker) -> None:
        """Stop reading. Log thread."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            self.leave()
            with Inside(self.pump, self, worker):
                self.pump.close_source(fd)
            name = self.channel.namespec.rpartition(":")[2]
            log.debug("fd %d closed, stopped monitoring <output of %s (%s)>", fd, name, self.channel.name)
        if self._carried and self.pump.intents is not None:
            self._carried = False
            carry.drop(self.pump.intents.directory, self.inode)

    # After a daemon before us

    def _recall(self) -> tuple[Carry | None, bytes]:
        """What it kept of this pipe, and of that what is for a filter that is not configured any more."""
        carried = carry.load(self.pump.intents.directory, self.inode) if self.pump.intents is not None else None
        if carried is None:
            return None, b""
        self._carried = True
        return carried, (self._filters or Filters(0, strip=False)).restore(carried.state)

    def _resume(self, steps: deque[Interrupted], carried: Carry | None, left: bytes, worker: Worker) -> None:
        """Finish its steps, then read on."""
        while steps or left:
            if steps:
                self._finish(steps.popleft(), carried, worker)
            else:
                self._pass_on(worker, left, Filters(0, strip=False).state)
                left = b""
            if worker.retired:  # whoever has taken over does the rest
                self.pump.call(partial(self._resume, steps, carried, left))
                return
        if self.fd >= 0:
            self.pump.watch(self.fd, self)
        else:
            self.flush(worker)
            self.close(worker)
        self.busy = False

    def _finish(self, step: Interrupted, carried: Carry | None, worker: Worker) -> None:
        if not step.was_read(self.fd):
            step.retire()
            return
        if step.kept:
            output = step.data
        elif carried is not None and carried.stamp == step.stamp:
            output = carried.output
        elif self._filters is not None:
            output = self._refine(worker, step.stamp, step.data)
        else:
            output = step.data
        done = step.written(output)
        if (intent := worker.intent) is not None:
            intent.take_up(step, done)
        step.retire()
        self._deliver(worker, output, done)
        if intent is not None:
            intent.end()


def finish(pump: Pump, pipes: Iterable[Former], worker: Worker) -> None:
    """Take what is in them now, and give them up."""
    for pipe in pipes:
        pipe.given_up = True  # it cannot wait
        if pipe.locked:  # it is finished when it answers
            continue
        pipe.drain(worker)
        if worker.retired:  # it has taken part of it only, and another reads meanwhile
            pump.call(partial(finish, pump, pipes))
            return
        pipe.flush(worker)
        pipe.close(worker)
