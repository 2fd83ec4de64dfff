"""The life of one process, as a state machine without I/O.

A machine is told what happened with `step(event, now)` and returns the effects it wants. It keeps
two things apart: `state`, what the process is doing, and `wanted`, whether it is to be up. Every
order changes `wanted`; every fact moves `state` towards it. A restart is therefore a stop with
`wanted` still true, and a start received while STOPPING needs no state of its own.

There is one `deadline` a machine, and what its passing means depends on the state:

    STARTING  up for startsecs: RUNNING
    BACKOFF   time to try again: STARTING
    EXITED    an automatic restart that was held back because of quick exits: STARTING
    STOPPING  stopwaitsecs are over: SIGKILL; and when even that has not helped: UNKNOWN

A stop with tree scope is not over when the leader is gone: what is left of its tree is swept
(`Sweep`), and STOPPING lasts until that is answered (`Swept`) or has been killed in vain. A leader
that does not end by itself is killed with its whole tree.

Whatever pair of state and event `_advance` does not name is a no-op if it is in `IGNORED`, and a
bug in the shell otherwise. tests/core/test_process.py walks every pair.
"""

import signal
from dataclasses import dataclass, field

from supervise.config.model import ProgramConfig, RunType, StopScope
from supervise.core.events import (
    Changed,
    Effect,
    Event,
    Exited,
    Kill,
    SignalFailed,
    Spawn,
    Spawned,
    SpawnFailed,
    Start,
    State,
    Stop,
    Sweep,
    Swept,
    Timeout,
)
from supervise.core.restart import QUICK, backoff_delay, is_expected, restart_delay, should_restart

TOO_QUICK = "Exited too quickly (process log may have details)"  # supervisord's text, shown by status
KILL_WAIT = 10.0  # seconds from SIGKILL until a process counts as one that cannot be killed (B30)

UP = frozenset({State.STARTING, State.RUNNING})

# Pairs that may well occur and change nothing: repeated orders, and answers that come too late.
IGNORED: frozenset[tuple[State, type[Event]]] = frozenset(
    {(State.STOPPED, Stop), (State.FATAL, Stop), (State.UNKNOWN, Start)}
    | {(state, Start) for state in UP}
    | {(state, Swept) for state in State if state is not State.STOPPING}
    | {(state, SignalFailed) for state in State if state not in (State.STARTING, State.RUNNING, State.STOPPING)}
)


def bad_exit(status: int | None) -> str:
    """supervisord's words for an unexpected end (a death by signal counts as exit status -1 there)."""
    return "Exit status unknown" if status is None else f"Bad exit code {max(status, -1)}"


class IllegalEvent(Exception):
    """The shell reported something that cannot happen in this state."""


@dataclass(slots=True)
class ProcessMachine:
    """One process: `step` is the only way in. All times are the caller's clock, in seconds."""

    config: ProgramConfig
    state: State = State.STOPPED
    wanted: bool = False
    reason: str = ""
    deadline: float | None = None
    pid: int | None = None
    status: int | None = None  # of the last exit since the last start
    since: float = 0.0  # when the present process was spawned
    attempts: int = 0  # failed starts in a row
    quick_exits: int = 0  # exits from RUNNING in a row, each sooner than QUICK after its start
    kills: int = 0  # how often the present stop ran out of time
    sweeping: int | None = None  # the session id of a leader that has ended in the present stop
    _effects: list[Effect] = field(default_factory=list, repr=False)

    def step(self, event: Event, now: float) -> list[Effect]:
        """Take `event` in, and return what is to be done about it, in order. Raises IllegalEvent."""
        self._effects = []
        self._advance(event, now)
        return self._effects

    def _advance(self, event: Event, now: float) -> None:
        match self.state, event:
            # Orders
            case ((State.STOPPED | State.EXITED | State.FATAL), Start()):
                self._order(True)
                self._start()
            case State.BACKOFF, Start():
                self._start()
            case State.STOPPING, Start():
                self._order(True)
            case State.EXITED, Stop(restart=restart):
                if self.wanted:  # a restart was held back
                    self._order(False)
                    self.deadline = None
                    if restart:
                        self._start()
            case State.BACKOFF, Stop(restart=restart):
                self._order(restart)
                self._settle()
            case ((State.STARTING | State.RUNNING | State.UNKNOWN), Stop(restart=restart)):
                self._order(restart)
                self._stop(now)
            case State.STOPPING, Stop(restart=restart):
                self._order(restart)

            # Facts about a start
            case State.STARTING, Spawned(pid=pid):
                self.pid, self.since = pid, now
                self.deadline = now + self.config.startsecs
            case State.STOPPING, Spawned(pid=pid):  # stopped while the spawn was under way
                self.pid, self.since = pid, now
                self._stop(now)
            case State.STARTING, SpawnFailed(reason=reason):
                self._back_off(reason, now)
            case State.STOPPING, SpawnFailed(reason=reason):
                self.reason = reason
                self._settle()
            case State.STARTING, Timeout():
                self._running()
            case ((State.BACKOFF | State.EXITED), Timeout()):
                self._start()

            # Facts about an end
            case State.STARTING, Exited(status=status, failure=failure):
                if self._gone(status, now) < self.config.startsecs and not self._is_done(status, failure):
                    self._back_off(failure or TOO_QUICK, now)
                else:  # its work is done, or it was up for long enough and its end overtook the timer
                    self._running()
                    self._exited(now, failure)
            case State.RUNNING, Exited(status=status, failure=failure):
                self._gone(status, now)
                self._exited(now, failure)
            case State.STOPPING, Exited(status=status):
                leader = self.pid
                self._gone(status, now)
                if self.config.stop_scope is not StopScope.TREE:
                    self._settle()
                elif self.kills:
                    self._sweep(leader, signal.SIGKILL, now + KILL_WAIT)
                else:
                    self._sweep(leader, self.config.stopsignal, now + self.config.stopwaitsecs)
            case State.UNKNOWN, Exited(status=status):
                self._gone(status, now)
                self._settle()
            case State.STOPPING, Swept():
                if self.pid is None:  # else its end is still to be told
                    self._settle()
            case State.STOPPING, Timeout():
                self._kill(now)
            case ((State.STARTING | State.RUNNING | State.STOPPING), SignalFailed(reason=reason)):
                self._lose(reason)

            case state, _ if (state, type(event)) in IGNORED:
                pass
            case _:
                raise IllegalEvent(f"{self.config.namespec}: {event} in state {self.state.name}")

    def _order(self, up: bool) -> None:
        """An operator's order: what went before no longer counts (B19)."""
        self.wanted = up
        self.attempts = self.quick_exits = 0

    def _start(self) -> None:
        self.wanted = True
        self.status = None
        self.reason = ""
        self._enter(State.STARTING)
        self._effects.append(Spawn())

    def _running(self) -> None:
        self.attempts = 0
        self._enter(State.RUNNING)

    def _back_off(self, reason: str, now: float) -> None:
        self.reason = reason
        self.attempts += 1
        self._enter(State.BACKOFF)
        self.deadline = now + backoff_delay(self.attempts)
        if self.attempts > self.config.startretries:
            self.wanted = False
            self.attempts = 0
            self._enter(State.FATAL)

    def _is_done(self, status: int | None, failure: str) -> bool:
        """Whether this is how a program ends that is meant to (B4)."""
        oneshot = self.config.type is RunType.ONESHOT
        return oneshot and not failure and is_expected(self.config, status)

    def _exited(self, now: float, failure: str) -> None:
        """An end that no operator ordered, after the process had been RUNNING."""
        status = None if failure else self.status  # what we ended is judged by our reason, not by its code
        expected = is_expected(self.config, status)
        self.reason = "" if expected else failure or bad_exit(status)
        uptime = now - self.since
        self.quick_exits = self.quick_exits + 1 if uptime < QUICK else 0
        self._enter(State.EXITED, expected)
        self.wanted = should_restart(self.config, status)
        if self.wanted:
            delay = restart_delay(self.quick_exits, uptime)
            if delay:
                self.deadline = now + delay
            else:
                self._start()

    def _stop(self, now: float) -> None:
        if self.state is not State.STOPPING:
            self._enter(State.STOPPING)
        self.kills, self.sweeping = 0, None
        if self.pid is not None:  # else the spawn is still to be answered, and nobody to signal yet
            self.deadline = now + self.config.stopwaitsecs
            group = self.config.stopasgroup or self.config.stop_scope is StopScope.GROUP
            self._effects.append(Kill(self.config.stopsignal, group))

    def _sweep(self, sid: int | None, sig: int, deadline: float) -> None:
        """The leader is gone; what is left of its tree goes the same way."""
        self.sweeping = sid
        self.deadline = deadline
        if sid is not None:
            self._effects.append(Sweep(sid, sig))

    def _kill(self, now: float) -> None:
        """The time to stop by itself is over."""
        self.kills += 1
        match self.kills, self.sweeping:
            case 1, None:
                self.deadline = now + KILL_WAIT
                group = self.config.killasgroup or self.config.stop_scope is not StopScope.PROCESS
                self._effects.append(Kill(signal.SIGKILL, group))
                if self.config.stop_scope is StopScope.TREE and self.pid is not None:
                    self._effects.append(Sweep(self.pid, signal.SIGKILL))
            case 1, sid:
                self._sweep(sid, signal.SIGKILL, now + KILL_WAIT)
            case _, None:
                self._lose(f"still there {KILL_WAIT:g} seconds after SIGKILL")
            case _:
                self.reason = "some of its processes survived SIGKILL"
                self._settle()

    def _lose(self, reason: str) -> None:
        self.wanted = False
        self.reason = reason
        self._enter(State.UNKNOWN)

    def _gone(self, status: int | None, now: float) -> float:
        """The process has ended; return how long it had been up."""
        self.pid = None
        self.status = status
        return now - self.since

    def _settle(self) -> None:
        """A stop is complete: rest, or come up again."""
        self._enter(State.STOPPED)
        if self.wanted:
            self._start()

    def _enter(self, new: State, expected: bool = True) -> None:
        """The one place where `state` is assigned. No deadline outlives its state."""
        old, self.state = self.state, new
        self.deadline = None
        self._effects.append(Changed(old, new, expected, self.attempts))
