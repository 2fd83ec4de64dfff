"""An event listener over all its runs: what its process is wired to, and what happens to it over our own death."""

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence
from typing import Protocol

from supervise.config.pools import EventLength
from supervise.core.events import State
from supervise.core.listener import ListenerState
from supervise.core.pool import Backlog, Item
from supervise.daemon import dialogue
from supervise.daemon.childpipe import Ends
from supervise.daemon.dialogue import Dialogue, Pipes
from supervise.daemon.eventlog import Standing
from supervise.daemon.process import Process
from supervise.system.blocked import waits_for_stdin
from supervise.system.intent import Interrupted
from supervise.system.pipes import open_inlet, open_pipe, pending
from supervise.system.stdin import Stdin

log = logging.getLogger("supervise")


class Pool(dialogue.Pool, Protocol):
    """What a listener asks of its pool besides."""

    backlog: Backlog

    def envelope(self, item: Item, characters: bool) -> bytes:
        """An event as it is sent."""

    def steps(self, pipe: int) -> Sequence[Interrupted]:
        """What an earlier daemon had just read from a pipe."""


class Listener:
    """One member of a pool, over all its runs; the `wiring` of its process. Loop thread only."""

    def __init__(self, process: Process, pool: Pool) -> None:
        self.process = process
        self.pool = pool
        self._text = False  # found out in an earlier run: it takes the length in a header for a number of characters
        self._run: Dialogue | None = None

    @property
    def characters(self) -> bool:
        """Whether it is to be told lengths in characters."""
        length = self.pool.event_length
        text = self._text or (self._run is not None and self._run.reads_text)
        return length is EventLength.CHARACTERS or (length is EventLength.AUTO and text)

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
        return self.process.state is State.RUNNING and self._run is not None and self._run.ready

    @property
    def cut_off(self) -> bool:
        """Whether it runs without us at the other end of its pipes: a daemon before us has started it, and they are
        lost, or it cannot be known what went through them."""
        return self._run is None and self.process.machine.pid is not None

    @property
    def talks(self) -> bool:
        """Whether we are at the other end of its pipes."""
        return self._run is not None

    def send(self, item: Item, envelope: bytes) -> None:
        """Send an event to an available listener."""
        assert self._run is not None
        log.debug("event %d sent to listener %s", item.event.serial, self.process.name)
        self._run.send(item, envelope, characters=self.characters)

    @contextlib.contextmanager
    def pipes(self) -> Iterator[Ends]:
        """The child's ends for one spawn. Raises OSError."""
        self.close()
        with self.process.logs.pipes() as logged, contextlib.ExitStack() as theirs:
            with contextlib.ExitStack() as ours:
                child_stdin, stdin = open_inlet()
                theirs.callback(os.close, child_stdin)
                ours.callback(os.close, stdin)
                stdout, child_stdout = open_pipe()
                theirs.callback(os.close, child_stdout)
                ours.callback(os.close, stdout)
                pipes = Pipes(stdin, stdout, os.dup(logged.stdout))
                ours.pop_all()
            run = Dialogue(self.process, self.pool, pipes)
            run.begin()  # before there is a child that somebody may have to find
            try:
                yield Ends(child_stdout, logged.stderr, child_stdin)
            except BaseException:
                run.close()
                raise
            self._run = run

    @property
    def stdout(self) -> int | None:
        """The inode of the pipe that is its stdout, also while another daemon's run is not taken up; None: there is
        none."""
        if self._run is not None:
            return self._run.stdout
        stood = self.pool.log.stood(self.process.name)
        return stood.standing.stdout if stood is not None else None

    def adopt(self) -> None:
        """A daemon before us has started it: go on talking to it, if its pipes are there, and all is known that has
        gone through them. If not, it stays `cut_off`."""
        stood, pid = self.pool.log.stood(self.process.name), self.process.machine.pid
        if stood is None or pid is None:
            return
        standing, item = stood.standing, stood.item
        envelope = self.pool.envelope(item, standing.characters) if item is not None else b""
        if standing.unsent and len(envelope) != standing.length:
            return
        try:
            pipes = self._reopen(standing, pid)
        except OSError:
            return
        steps = self.pool.steps(standing.stdout)
        unsent = left_to_send(standing, pipes, pid, said=bool(steps))
        if unsent is None:
            for fd in pipes:
                self.pool.handover.drop(fd)
            return
        self._run = Dialogue(self.process, self.pool, pipes)
        self._run.resume(stood, envelope[len(envelope) - unsent :], steps)

    def _reopen(self, standing: Standing, pid: int) -> Pipes:
        """Our ends of the pipes of a daemon before us, kept for us or opened anew. Raises OSError."""
        handover, logs = self.pool.handover, self.process.logs
        with contextlib.ExitStack() as opened:
            if (stdin := handover.take(f"stdin-{standing.stdin}")) is None:
                stdin = Stdin(standing.stdin).open_end(pid)
            opened.callback(handover.drop, stdin)
            if (stdout := handover.pipe(standing.stdout, pid)) is None:
                raise BrokenPipeError
            opened.callback(handover.drop, stdout)
            inodes = logs.inodes()["stdout"]
            if (tee := handover.take(f"tee-{inodes[0] if inodes else 0}")) is None:
                with logs.pipes() as ends:  # nobody had the other end of the pipe to its log
                    tee = os.dup(ends.stdout)
                logs.started(pid)
            opened.pop_all()
            return Pipes(stdin, stdout, tee)

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
            self._text = run.reads_text
            run.close()


def left_to_send(standing: Standing, pipes: Pipes, pid: int, *, said: bool) -> int | None:
    """How many bytes of its event a listener is still to be sent; None if that cannot be known.

    Where the daemon before us died over a write: either it is in the pipe yet; or the listener has answered (`said`, or
    in its stdout), which it does when it has all; or it waits for it.
    """
    if standing.sure:
        return standing.unsent
    waits = waits_for_stdin(pid)  # looked at first: what it says about an event, it says before it waits for another
    if pending(pipes.stdin) == standing.length or said or pending(pipes.stdout):
        return 0
    return standing.unsent if waits and standing.unsent == standing.length and not pending(pipes.stdin) else None
