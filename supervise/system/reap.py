"""Seeing processes end.

Children are reaped on SIGCHLD until none is left, ours and those that we inherit as subreaper or as PID 1. Processes
that were never our children are watched by pidfd. Nothing here polls.
"""

import asyncio
import ctypes
import logging
import math
import os
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeAlias

from supervise.system import swift

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
SLICE = 0.005  # seconds of reaping at a time
PATIENCE = 1.0  # seconds for a child that is ending

logger = logging.getLogger("supervise")

# Told once how a process ended: its exit code, or minus the signal that killed it, and whether it dumped core.
Ended: TypeAlias = Callable[[int, bool], None]
Orphaned: TypeAlias = Callable[[int, int], None]


class Reaper:
    """Takes the exit status of every child and hands it to who watches the pid.

    Only for the thread of `loop`, whose SIGCHLD handler it owns until `close`. Whoever spawns and watches without
    giving control back to the loop in between cannot miss a status; others do both within `held()`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, orphaned: Orphaned | None = None) -> None:
        self._loop, self._orphaned = loop, orphaned
        self._watched: dict[int, Ended] = {}
        self._holding, self._held = 0, dict[int, int]()
        self._rest: asyncio.Handle | None = None  # will take the statuses that were too many for one turn of the loop
        loop.add_signal_handler(signal.SIGCHLD, self._signalled)
        # A thousand deaths at once overflow the pipe that wakes the loop. Nothing is lost by that, since `reap` takes
        # all there are; but the interpreter would say so on stderr each time.
        signal.set_wakeup_fd(signal.set_wakeup_fd(-1), warn_on_full_buffer=False)

    def watch(self, pid: int, ended: Ended) -> None:
        """Call `ended` in the loop when the child `pid` has been reaped; soon, if a held status is there already."""
        if (status := self._held.pop(pid, None)) is not None:
            self._loop.call_soon(ended, *decode(status))
        else:
            self._watched[pid] = ended

    def take(self, pid: int, patience: float = PATIENCE) -> None:
        """Reap a child that is ending, and tell nobody: at once, or later if somebody keeps it, as a debugger may.

        Blocks for `patience` seconds at most. Whoever has the rights of the child can stop it, and have us wait.
        """
        with suppress(OSError):  # no descriptors
            poll, fd = select.poll(), os.pidfd_open(pid)
            try:
                poll.register(fd, select.POLLIN)
                poll.poll(patience * 1000)
            finally:
                os.close(fd)
        self._watched.pop(pid, None)
        if os.waitpid(pid, os.WNOHANG) == (0, 0):
            self._watched[pid] = lambda *_: None

    @property
    def watched(self) -> frozenset[int]:
        """The children that have been watched and have not ended. Whatever else is our child is an orphan."""
        return frozenset(self._watched)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the statuses of unknown children for a `watch` that comes before this ends."""
        self._holding += 1
        try:
            yield
        finally:
            self._holding -= 1
            if not self._holding:
                left, self._held = self._held, {}
                for pid, status in left.items():
                    self._orphan(pid, status)

    def reap(self, seconds: float = math.inf) -> bool:
        """Take every status that is there now, for so long; whether that was enough.

        Errors of callbacks are logged and stop nothing.
        """
        until = self._loop.time() + seconds
        with suppress(ChildProcessError):  # no children at all
            while pid := (found := swift.ended_child())[0]:
                try:
                    self._dispatch(*found)
                except Exception:
                    logger.exception("could not report the end of process %d", pid)
                if self._loop.time() > until:
                    return False
        return True

    def pause(self) -> None:
        """Take no statuses until `resume`: who ends meanwhile stays a zombie."""
        self._loop.remove_signal_handler(signal.SIGCHLD)
        self._forget_rest()

    def resume(self) -> None:
        """Take them again, first those that are there."""
        self._loop.add_signal_handler(signal.SIGCHLD, self._signalled)
        self.reap()

    def close(self) -> None:
        """Stop listening to SIGCHLD; what is watched will not be told."""
        self._loop.remove_signal_handler(signal.SIGCHLD)
        self._forget_rest()

    def _signalled(self) -> None:
        logger.debug("received SIGCHLD indicating a child quit")
        if self._rest is None and not self.reap(0):  # there is a signal for each of many
            # The kernel looks at all children to say that no other has ended, at a thousand for 0.26 ms: what this end
            # has called for, a successor perhaps, comes first.
            self._rest = self._loop.call_soon(self._some)

    def _some(self) -> None:
        """A thousand deaths at once must not keep the loop from everything else."""
        self._rest = None
        if not self.reap(SLICE):
            self._rest = self._loop.call_soon(self._some)

    def _forget_rest(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None

    def _dispatch(self, pid: int, status: int) -> None:
        if ended := self._watched.pop(pid, None):
            ended(*decode(status))
        elif self._holding:
            self._held[pid] = status
        else:
            self._orphan(pid, status)

    def _orphan(self, pid: int, status: int) -> None:
        logger.info("reaped unknown pid %d (%s)", pid, describe(status))
        if self._orphaned:
            self._orphaned(pid, decode(status)[0])


def decode(status: int) -> tuple[int, bool]:
    """A status of waitpid(2) as (exit code, or minus the signal; core dumped)."""
    return os.waitstatus_to_exitcode(status), os.WIFSIGNALED(status) and os.WCOREDUMP(status)


def describe(status: int) -> str:
    """A status of waitpid(2) in supervisord's words."""
    code, core = decode(status)
    if code >= 0:
        return f"exit status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"terminated by {name}" + (" (core dumped)" if core else "")


def become_subreaper() -> bool:
    """Make orphaned descendants our children (prctl(2), Linux 3.4), as they always are for PID 1. False: refused."""
    return bool(ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


class Watch:
    """Tells when a process is gone that need not be our child: a pidfd in the loop (Linux 5.3)."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pid: int, gone: Callable[[], None]) -> None:
        """Call `gone` once. Raises ProcessLookupError where there is no such process, OSError without descriptors."""
        self._loop, self._gone = loop, gone
        self.fd = os.pidfd_open(pid)
        loop.add_reader(self.fd, self._readable)

    def _readable(self) -> None:
        self.cancel()
        self._gone()

    def signal(self, number: int) -> bool:
        """Signal just this process, however old its pid is. False: it is gone. Raises PermissionError."""
        if self.fd < 0:
            return False
        try:
            signal.pidfd_send_signal(self.fd, number)
        except ProcessLookupError:
            return False
        return True

    def cancel(self) -> None:
        """Stop watching. May be called at any time, and again."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            self._loop.remove_reader(fd)
            os.close(fd)
