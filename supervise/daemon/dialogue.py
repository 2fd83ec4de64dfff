"""One run of an event listener: our ends of its pipes, what is said on them, and the event that it has in hands.

1. Its stdin and stdout are pipes between it and the daemon, which it holds open for both directions: so they outlive
   us, and the next daemon goes on with them (`resume`). All that it needs for that is in the pool's `EventLog`.
2. What it says on stdout is the protocol, and is passed on to its log through the very pipe that its log would
   otherwise read: rotation, tail and the last words at its end work as for any program.
3. Everything is bounded: it is sent one event at a time, and its words are read in pieces and not read while a result
   is being judged. A listener that reads slowly, or says too much, holds up nobody but its own pool.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from supervise.config.pools import EventLength
from supervise.core.listener import BecameReady, ListenerMachine, ListenerState, Outcome, Result, Token, Violation
from supervise.core.pool import Item
from supervise.daemon.eventlog import EventLog, Standing, Stood
from supervise.daemon.process import Process
from supervise.system.blocked import is_python, readers, waits_for_stdin
from supervise.system.handover import Handover, name_of
from supervise.system.intent import Intent, Interrupted
from supervise.system.pipes import enlarge, pending

log = logging.getLogger("supervise")

PIECE = 64 * 1024  # bytes read at a time
LAST_WORDS = 8 << 20  # bytes that are read after its end
SUSPICION = (0.25, 8.0)  # seconds until a silent listener is looked at, doubled until it is given up
ADVICE = "does it count characters, and not bytes? See event_length"
GRACE = 5.0  # seconds between a listener's closing of a pipe and our doing something about it; usually it is ending


KINDS = ("stdin", "pipe", "tee")  # under which our ends are kept for the next daemon


class Pool(Protocol):
    """What a listener tells its pool, and asks of it."""

    log: EventLog
    area: Intent | None  # where what is read is safe until its effect is written down
    handover: Handover

    @property
    def event_length(self) -> EventLength:
        """What the length in a header is to count."""

    def dispatch(self) -> None:
        """A listener can be sent an event."""

    def judge(self, item: Item, body: bytes, answer: Callable[[Token], None]) -> None:
        """Have a result judged; `answer` is called once, at once or later."""

    def settled(self, item: Item, token: Token | None) -> None:
        """What became of an event: a verdict, or None when the listener could not deal with it."""

    def violated(self, process: Process, reason: str) -> None:
        """A listener is of no more use."""


class Pipes(NamedTuple):
    """Our ends: what it reads, what it writes, and the way to its log."""

    stdin: int
    stdout: int
    tee: int


class Dialogue:
    """One run. Loop thread only."""

    def __init__(self, process: Process, pool: Pool, pipes: Pipes) -> None:
        """With these pipes, which are ours to close from now on."""
        self.machine = ListenerMachine()
        self.item: Item | None = None
        self.reads_text = False  # found out: it takes the length in a header for a number of characters
        self._judging: Item | None = None
        self._process, self._pool = process, pool
        self._stdin, self._stdout, self._tee = pipes
        self._unsent, self._length, self._characters = b"", 0, False
        self._missing = 0  # characters that its event lacks, if it reads text
        self._stamp = 0
        self._gone = self._closed = self._paused = False
        self._told_loss = False
        self._loop = asyncio.get_running_loop()
        for fd in pipes:
            os.set_blocking(fd, False)
        self._inodes = os.fstat(self._stdin).st_ino, os.fstat(self._stdout).st_ino
        for fd, kind in zip(pipes, KINDS, strict=True):
            pool.handover.hold(fd, name_of(fd, kind))
        self._loop.add_reader(self._stdout, self._read)

    def begin(self) -> None:
        """It is a new run."""
        self._write_down()

    @property
    def ready(self) -> bool:
        """Whether it waits for an event. One that answers before it has read all of its event is sent the rest first:
        another one would begin in the midst of it."""
        return self.machine.state is ListenerState.READY and not self._unsent

    @property
    def stdout(self) -> int:
        """The inode of the pipe that is its stdout."""
        return self._inodes[1]

    def close(self) -> None:
        """Close the pipes; an event that was not answered is given back."""
        self._gone = self._closed = True
        self._loop.remove_reader(self._stdout)
        self._loop.remove_writer(self._stdin)
        for fd in (self._stdin, self._stdout, self._tee):
            self._pool.handover.drop(fd)
        self._pool.log.ended(self._process.name)
        self._give_back()

    def _give_back(self) -> None:
        item, self.item = self.item, None
        if item is not None:
            self._pool.settled(item, None)

    def _write_down(self, *, sure: bool = True, settled: Item | None = None) -> None:
        """How it stands, for the next daemon."""
        item = self.item or self._judging
        standing = Standing(
            *self._inodes,
            state=self.machine.state,
            stamp=self._stamp,
            item=item.poolserial if item is not None else None,
            length=self._length,
            unsent=len(self._unsent),
            sure=sure,
            characters=self._characters,
            text=self.reads_text,
        )
        self._pool.log.stand(self._process.name, standing, self.machine.said, settled)

    def resume(self, stood: Stood, unsent: bytes, steps: Iterable[Interrupted]) -> None:
        """Go on where a daemon before us was: `unsent` is what it had still to write, `steps` what it had just read."""
        standing, said, self.item = stood
        self.reads_text, self._characters = standing.text, standing.characters
        self._unsent, self._length, self._stamp = unsent, standing.length, standing.stamp
        self._missing = self._count_missing(self.item) if self.item is not None else 0
        self.machine = ListenerMachine(ListenerState(standing.state))
        outcomes = self.machine.receive(said)
        self._write_down()
        for outcome in outcomes:
            self._act(outcome)
        for step in steps:
            if step.stamp > standing.stamp and step.was_read(self._stdout):
                self._take(step.data, step.stamp, passed_on=step.done >= len(step.data))
            step.retire()
        if self.item is not None or self._unsent:
            self._write()

    # To the listener

    def send(self, item: Item, envelope: bytes, *, characters: bool) -> None:
        """Begin to write an event; the rest follows when the listener reads."""
        self.machine.sent()
        self.item, self._unsent = item, envelope
        self._length, self._characters = len(envelope), characters
        self._missing = self._count_missing(item)
        self._write()

    def _write(self) -> None:
        try:
            if self._unsent:
                self._write_down(sure=False)
                self._unsent = self._unsent[os.write(self._stdin, self._unsent) :]
                self._write_down()
        except BlockingIOError:
            self._write_down()
        except OSError as error:  # EPIPE: nobody reads any more
            self._loop.remove_writer(self._stdin)
            self._unsent = b""
            self._later(f"it does not read its stdin any more ({error.strerror})")
            return
        if self._unsent:
            self._loop.add_writer(self._stdin, self._write)
            return
        self._loop.remove_writer(self._stdin)
        if self.item is None:  # it has answered before it had all
            self._pool.dispatch()
        elif self._missing:
            self._loop.call_later(SUSPICION[0], self._suspect, self.item, SUSPICION[0])

    def _count_missing(self, item: Item) -> int:
        """How many characters too few there are for a listener that counts them, where nobody has said what it does."""
        if self._characters or self._pool.event_length is not EventLength.AUTO:
            return 0
        return len(item.event.payload) - len(item.event.payload.decode())

    def _suspect(self, item: Item, delay: float) -> None:
        """It has been sent an event, in bytes, with other characters than ASCII. Has it read all, and waits for more?

        That is what a Python program does that reads text, as supervisord's own childutils; it may have been started by
        the process that we know. It gets the rest as empty lines, and from now on lengths in characters.
        """
        name, pid = self._process.name, self._process.machine.pid
        if self._gone or self.item is not item or pid is None:
            return
        if self._unsent:  # it was rejected, and is being sent again
            return
        waiting = [] if pending(self._stdin) else [each for each in readers(self._inodes[0]) if waits_for_stdin(each)]
        if self.machine.said or pending(self._stdout):  # looked at last: it answers before it waits for another event
            return
        if any(map(is_python, waiting)):
            log.info("%s: it reads events as text, and is told their length in characters from now on", name)
            self.reads_text = True
            self._unsent, self._missing = b"\n" * self._missing, 0
            self._write()
        elif delay < SUSPICION[1]:
            self._loop.call_later(delay * 2, self._suspect, item, delay * 2)
        elif waiting or waits_for_stdin(pid) is None:
            log.warning("%s: it has all of event %d, and seems to wait for more: %s", name, item.event.serial, ADVICE)

    # From the listener

    def _read(self) -> None:
        try:
            data, stamp = self._piece()
        except BlockingIOError:
            return
        except OSError:
            data, stamp = b"", 0
        if data:
            self._take(data, stamp)
        else:
            self._loop.remove_reader(self._stdout)
            self._later("it has closed its stdout")

    def _piece(self) -> tuple[bytes, int]:
        """Read once, and the stamp of this reading. Raises OSError."""
        if (area := self._pool.area) is None:
            return os.read(self._stdout, PIECE), 0
        length = min(PIECE, pending(self._stdout) or 1)
        stamp = area.begin(self.stdout, length, None)
        try:
            count = os.readv(self._stdout, (area.buffer[:length],))
        except OSError:
            area.end()
            raise
        area.have(count)
        if not count:
            area.end()
        return bytes(area.buffer[:count]), stamp

    def read_to_the_end(self) -> None:
        """Take in what a process wrote before its end."""
        self._gone = True
        left = LAST_WORDS
        with contextlib.suppress(OSError):  # BlockingIOError: a child of its own still has the pipe
            while left > 0 and (piece := self._piece())[0]:
                left -= len(piece[0])
                self._take(*piece)

    def _take(self, data: bytes, stamp: int, *, passed_on: bool = False) -> None:
        area = self._pool.area
        if not passed_on:
            self._pass_on(data)
            if area is not None:
                area.done = len(data)
                area.mark(0, 0, 0, 0)
        outcomes = self.machine.receive(data)
        self._stamp = stamp
        self._write_down()
        if area is not None:
            area.end()
        for outcome in outcomes:
            self._act(outcome)

    def _pass_on(self, data: bytes) -> None:
        """To the log, as far as there is room: only where the log's disk hangs there may be none."""
        for attempt in range(2):
            with contextlib.suppress(BlockingIOError):
                data = data[os.write(self._tee, data) :]
            if not data:
                return
            if attempt == 0:
                enlarge(self._tee)
        if not self._told_loss:
            self._told_loss = True
            log.warning("%s: what it says is not logged any more for now: the log does not keep up", self._process.name)

    def _act(self, outcome: Outcome) -> None:
        name = self._process.name
        match outcome:
            case BecameReady():
                log.debug("%s: ACKNOWLEDGED -> READY", name)
                if not self._gone:
                    self._pool.dispatch()
            case Result(body):
                item, self.item = self.item, None  # from here on its verdict decides about it, whatever happens here
                assert item is not None
                self._judging = item
                self._pool.judge(item, body, lambda token: self._judged(item, token))
                if self.machine.judging and not self._gone:
                    self._paused = True
                    self._loop.remove_reader(self._stdout)
            case Violation(reason, line):
                if line is not None:
                    log.warning("%s: bad result line: '%s'", name, line.decode("utf-8", "backslashreplace"))
                self._violation(reason)

    def _judged(self, item: Item, token: Token) -> None:
        name, texts = self._process.name, {Token.ACCEPTED: "was processed", Token.REJECTED: "was rejected"}
        level = logging.DEBUG if token is Token.ACCEPTED else logging.WARNING
        log.log(level, "%s: event %s", name, texts.get(token, "caused an error"))
        following = self.machine.judged(token) if self.machine.judging else []
        log.debug("%s: BUSY -> %s", name, "UNKNOWN" if token is Token.NOISE else "ACKNOWLEDGED")
        self._judging, accepted = None, token is Token.ACCEPTED
        if not self._closed:
            self._write_down(settled=item if accepted else None)
        elif accepted:
            self._pool.log.settle(item)
        self._pool.settled(item, token)
        if self._paused and not self._gone:
            self._paused = False
            self._loop.add_reader(self._stdout, self._read)
        if token is Token.NOISE:
            self._violation("its result handler failed")
        for outcome in following:
            self._act(outcome)

    # Trouble

    def _violation(self, reason: str) -> None:
        log.warning(
            "%s: has entered the UNKNOWN state and will no longer receive events, this usually indicates the process"
            " violated the eventlistener protocol",
            self._process.name,
        )
        self._give_back()
        if not self._closed:
            self._write_down()
        if not self._gone:
            self._pool.violated(self._process, reason)

    def _later(self, reason: str) -> None:
        """Something is wrong that may only mean that it is ending."""

        def look() -> None:
            if not self._gone:
                self.machine.give_up()
                self._violation(reason)

        self._loop.call_later(GRACE, look)
