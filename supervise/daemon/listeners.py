"""One event listener: its pipes, what is said on them, and what happens when it breaks the protocol.

1. Its stdin and stdout are pipes between it and the daemon alone, which is its parent: they end with the daemon, as
   listeners that were written for supervisord expect (end of file on stdin is their sign to leave).
2. What it says on stdout is the protocol, and is passed on to its log through the very pipe that its log would
   otherwise read: rotation, tail and the last words at its end work as for any program.
3. Everything is bounded: it is sent one event at a time, and its words are read in pieces and not read while a result
   is being judged. A listener that reads slowly, or says too much, holds up nobody but its own pool.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from typing import Protocol

from supervise.config.pools import EventLength
from supervise.core.events import State
from supervise.core.listener import (
    BecameReady,
    ListenerMachine,
    ListenerState,
    Outcome,
    Result,
    Token,
    Violation,
)
from supervise.core.pool import Backlog, Item
from supervise.daemon.childpipe import Ends
from supervise.daemon.process import Process
from supervise.system.blocked import is_python, waits_for_stdin
from supervise.system.pipes import enlarge, pending

log = logging.getLogger("supervise")

PIECE = 64 * 1024  # bytes read at a time
LAST_WORDS = 8 << 20  # bytes that are read after its end
SUSPICION = (0.25, 8.0)  # seconds until a silent listener is looked at, doubled until it is given up
GRACE = 5.0  # seconds between a listener's closing of a pipe and our doing something about it; usually it is ending


class Pool(Protocol):
    """What a listener tells its pool."""

    backlog: Backlog

    @property
    def event_length(self) -> EventLength:
        """What the length in a header is to count."""

    def dispatch(self) -> None:
        """A listener can be sent an event."""

    def judge(self, item: Item, body: bytes, answer: Callable[[Token], None]) -> None:
        """Have a result judged; `answer` is called once, at once or later."""

    def settled(self, listener: "Listener", item: Item, token: Token | None) -> None:
        """What became of an event: a verdict, or None when the listener could not deal with it."""

    def violated(self, listener: "Listener", reason: str) -> None:
        """A listener is of no more use."""


class Listener:
    """One member of a pool, over all its runs; the `wiring` of its process. Loop thread only."""

    def __init__(self, process: Process, pool: Pool) -> None:
        self.process = process
        self.pool = pool
        self.reads_text = False  # found out: it takes the length in a header for a number of characters
        self._run: _Run | None = None

    @property
    def characters(self) -> bool:
        """Whether it is to be told lengths in characters."""
        length = self.pool.event_length
        return length is EventLength.CHARACTERS or (length is EventLength.AUTO and self.reads_text)

    @property
    def state(self) -> ListenerState:
        """supervisord's listener state; ACKNOWLEDGED while it does not run."""
        return self._run.machine.state if self._run else ListenerState.ACKNOWLEDGED

    @property
    def item(self) -> Item | None:
        """The event that it has been sent and has not answered."""
        return self._run.item if self._run else None

    @property
    def up_to_date(self) -> bool:
        """Whether it has dealt with all events so far, or never will."""
        hopeless = self.process.state is not State.RUNNING or self.state is ListenerState.UNKNOWN
        return hopeless or (self.item is None and not self.pool.backlog)

    @property
    def available(self) -> bool:
        """Whether it can be sent an event now."""
        return self.process.state is State.RUNNING and self.state is ListenerState.READY

    @property
    def cut_off(self) -> bool:
        """Whether it runs without us at the other end of its pipes, because a daemon before us has started it."""
        return self._run is None and self.process.machine.pid is not None

    def send(self, item: Item, envelope: bytes) -> None:
        """Send an event to an available listener."""
        assert self._run is not None
        log.debug("event %d sent to listener %s", item.event.serial, self.process.name)
        self._run.send(item, envelope)

    @contextlib.contextmanager
    def pipes(self) -> Iterator[Ends]:
        """The child's ends for one spawn. Raises OSError."""
        self.close()
        with self.process.logs.pipes() as logged, contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            child_stdin, stdin = os.pipe()
            theirs.callback(os.close, child_stdin)
            ours.callback(os.close, stdin)
            stdout, child_stdout = os.pipe()
            ours.callback(os.close, stdout)
            theirs.callback(os.close, child_stdout)
            tee = os.dup(logged.stdout)
            ours.callback(os.close, tee)
            yield Ends(child_stdout, logged.stderr, child_stdin)
            ours.pop_all()  # there is a child: the pipes are its own now
            self._run = _Run(self, stdin, stdout, tee)

    def ended(self) -> None:
        """The process is gone: what it said last still counts; its event goes to somebody else."""
        if (run := self._run) is not None:
            run.read_to_the_end()
            self.close()
        else:
            self.process.failure = self.process.failure or "its pipes ended with the daemon that had started it"

    def close(self) -> None:
        """End the present run."""
        run, self._run = self._run, None
        if run is not None:
            run.close()


class _Run:
    """One run of a listener: our ends of its pipes, its machine, and the event it has in hands."""

    def __init__(self, listener: Listener, stdin: int, stdout: int, tee: int) -> None:
        self.machine = ListenerMachine()
        self._listener, self._process, self._pool = listener, listener.process, listener.pool
        self._stdin, self._stdout, self._tee = stdin, stdout, tee
        self.item: Item | None = None
        self._unsent = b""
        self._gone = self._paused = False
        self._told_loss = False
        self._loop = asyncio.get_running_loop()
        for fd in (stdin, stdout, tee):
            os.set_blocking(fd, False)
        self._loop.add_reader(stdout, self._read)

    def close(self) -> None:
        """Close the pipes; an event that was not answered is given back."""
        self._gone = True
        self._loop.remove_reader(self._stdout)
        self._loop.remove_writer(self._stdin)
        for fd in (self._stdin, self._stdout, self._tee):
            os.close(fd)
        self._give_back()

    def _give_back(self) -> None:
        item, self.item = self.item, None
        if item is not None:
            self._pool.settled(self._listener, item, None)

    # To the listener

    def send(self, item: Item, envelope: bytes) -> None:
        """Begin to write an event; the rest follows when the listener reads."""
        self.machine.sent()
        self.item, self._unsent = item, envelope
        self._write()

    def _write(self) -> None:
        try:
            self._unsent = self._unsent[os.write(self._stdin, self._unsent) :]
        except BlockingIOError:
            pass
        except OSError as error:  # EPIPE: nobody reads any more
            self._loop.remove_writer(self._stdin)
            self._unsent = b""
            self._later(f"it does not read its stdin any more ({error.strerror})")
            return
        if self._unsent:
            self._loop.add_writer(self._stdin, self._write)
        else:
            self._loop.remove_writer(self._stdin)
            if self.item is not None and (missing := self._missing(self.item)):
                self._loop.call_later(SUSPICION[0], self._suspect, self.item, missing, SUSPICION[0])

    def _missing(self, item: Item) -> int:
        """How many characters too few there are for a listener that counts them, where nobody has said what it does."""
        if self._listener.characters or self._pool.event_length is not EventLength.AUTO:
            return 0
        return len(item.event.payload) - len(item.event.payload.decode())

    def _suspect(self, item: Item, missing: int, delay: float) -> None:
        """It has been sent an event, in bytes, with other characters than ASCII. Has it read all, and waits for more?

        That is what a Python program does that reads text, as supervisord's own childutils. It gets the rest as empty
        lines, and from now on lengths in characters.
        """
        pid = self._process.machine.pid
        if self._gone or self.item is not item or pid is None or not is_python(pid):
            return
        if pending(self._stdin) == 0 and waits_for_stdin(pid):
            name = self._process.name
            log.info("%s: it reads events as text, and is told their length in characters from now on", name)
            self._listener.reads_text = True
            self._unsent = b"\n" * missing
            self._write()
        elif delay < SUSPICION[1]:
            self._loop.call_later(delay * 2, self._suspect, item, missing, delay * 2)

    # From the listener

    def _read(self) -> None:
        try:
            data = os.read(self._stdout, PIECE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._take(data)
        else:
            self._loop.remove_reader(self._stdout)
            self._later("it has closed its stdout")

    def read_to_the_end(self) -> None:
        """Take in what a process wrote before its end."""
        self._gone = True
        left = LAST_WORDS
        with contextlib.suppress(OSError):  # BlockingIOError: a child of its own still has the pipe
            while left > 0 and (data := os.read(self._stdout, PIECE)):
                left -= len(data)
                self._take(data)

    def _take(self, data: bytes) -> None:
        self._pass_on(data)
        for outcome in self.machine.receive(data):
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
        self._pool.settled(self._listener, item, token)
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
        if not self._gone:
            self._pool.violated(self._listener, reason)

    def _later(self, reason: str) -> None:
        """Something is wrong that may only mean that it is ending."""

        def look() -> None:
            if not self._gone:
                self.machine.give_up()
                self._violation(reason)

        self._loop.call_later(GRACE, look)
