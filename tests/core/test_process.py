"""The process machine: its table as text, stories over it, and random histories against a model of the world."""

import dataclasses
import signal
from typing import Any, get_args

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from supervise.config.model import AutoRestart, ProgramConfig, RunType, StopScope
from supervise.core.events import (
    AT_REST,
    RUNNING_STATES,
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
from supervise.core.process import IGNORED, KILL_WAIT, TOO_QUICK, IllegalEvent, ProcessMachine
from supervise.core.restart import QUICK_BURST

CAT = ProgramConfig(name="cat", program="cat", group_name="cat", command="/bin/cat")
TREE = dataclasses.replace(CAT, killasgroup=True, stop_scope=StopScope.TREE)
SAMPLES: list[Event] = [
    Start(),
    Stop(),
    Stop(restart=True),
    Spawned(7),
    SpawnFailed("no file"),
    Exited(0),
    Exited(None),
    Exited(0, failure="of no use"),
    Swept(),
    SignalFailed("EPERM"),
    Timeout(),
]


def machine(state: State, config: ProgramConfig = CAT, **changes: Any) -> ProcessMachine:
    pid = 7 if state in (State.STARTING, State.RUNNING, State.STOPPING, State.UNKNOWN) else None
    return ProcessMachine(config, state=state, pid=pid, **changes)


def states(effects: list[Effect]) -> list[State]:
    return [effect.new for effect in effects if isinstance(effect, Changed)]


def test_samples_cover_every_event() -> None:
    assert {type(event) for event in SAMPLES} == set(get_args(Event))


# The machine as a table, derived from the machine itself: state and event, then the states entered
# ("!" for an unexpected exit) and what else it asks for, whether it is wanted up, the deadline, and
# the failed starts counted (from 2). A change of behaviour changes this text, which is the first
# thing a reviewer reads.
TABLE = """\
STOPPED   Start        -> STARTING spawn()          up    -     0
STARTING  Stop         -> STOPPING kill(SIGTERM)    down  10.0  0
STARTING  Stop restart -> STOPPING kill(SIGTERM)    up    10.0  0
STARTING  Spawned      -> -                         up    1.0   2
STARTING  SpawnFailed  -> BACKOFF                   up    3.0   3
STARTING  Exited       -> BACKOFF                   up    3.0   3
STARTING  Exited None  -> BACKOFF                   up    3.0   3
STARTING  Exited fail  -> BACKOFF                   up    3.0   3
STARTING  SignalFailed -> UNKNOWN                   down  -     2
STARTING  Timeout      -> RUNNING                   up    -     0
RUNNING   Stop         -> STOPPING kill(SIGTERM)    down  10.0  0
RUNNING   Stop restart -> STOPPING kill(SIGTERM)    up    10.0  0
RUNNING   Exited       -> EXITED                    down  -     2
RUNNING   Exited None  -> EXITED! STARTING spawn()  up    -     2
RUNNING   Exited fail  -> EXITED! STARTING spawn()  up    -     2
RUNNING   SignalFailed -> UNKNOWN                   down  -     2
BACKOFF   Start        -> STARTING spawn()          up    -     2
BACKOFF   Stop         -> STOPPED                   down  -     0
BACKOFF   Stop restart -> STOPPED STARTING spawn()  up    -     0
BACKOFF   Timeout      -> STARTING spawn()          up    -     2
STOPPING  Start        -> -                         up    -     0
STOPPING  Stop         -> -                         down  -     0
STOPPING  Stop restart -> -                         up    -     0
STOPPING  Spawned      -> kill(SIGTERM)             down  10.0  2
STOPPING  SpawnFailed  -> STOPPED                   down  -     2
STOPPING  Exited       -> STOPPED                   down  -     2
STOPPING  Exited None  -> STOPPED                   down  -     2
STOPPING  Exited fail  -> STOPPED                   down  -     2
STOPPING  Swept        -> -                         down  -     2
STOPPING  SignalFailed -> UNKNOWN                   down  -     2
STOPPING  Timeout      -> kill(SIGKILL)             down  10.0  2
EXITED    Start        -> STARTING spawn()          up    -     0
EXITED    Stop         -> -                         down  -     2
EXITED    Stop restart -> -                         down  -     2
EXITED    Timeout      -> STARTING spawn()          up    -     2
FATAL     Start        -> STARTING spawn()          up    -     0
UNKNOWN   Stop         -> STOPPING kill(SIGTERM)    down  10.0  0
UNKNOWN   Stop restart -> STOPPING kill(SIGTERM)    up    10.0  0
UNKNOWN   Exited       -> STOPPED                   down  -     2
UNKNOWN   Exited None  -> STOPPED                   down  -     2
UNKNOWN   Exited fail  -> STOPPED                   down  -     2
"""


def describe(config: ProgramConfig) -> str:
    rows = []
    for state in State:
        for event in SAMPLES:
            m = machine(state, config, attempts=2, wanted=state in RUNNING_STATES)
            try:
                effects = m.step(event, 0.0)
            except IllegalEvent:
                continue
            if (state, type(event)) in IGNORED:
                assert not effects
                continue
            rows.append(
                f"{state.name:<9} {label(event):<12} -> {' '.join(map(word, effects)) or '-':<25} "
                f"{'up' if m.wanted else 'down':<5} {m.deadline or '-':<5} {m.attempts}"
            )
    return "\n".join(rows) + "\n"


def label(event: Event) -> str:
    match event:
        case Stop(restart=True):
            return "Stop restart"
        case Exited(status=None):
            return "Exited None"
        case Exited(failure=failure) if failure:
            return "Exited fail"
        case _:
            return type(event).__name__


def word(effect: Effect) -> str:
    match effect:
        case Changed(new=new, expected=expected):
            return new.name if expected else f"{new.name}!"
        case Kill(signal=sig, group=group):
            return f"kill({signal.Signals(sig).name}{', group' if group else ''})"
        case Sweep(sid=sid, signal=sig):
            return f"sweep({sid}, {signal.Signals(sig).name})"
        case Spawn():
            return "spawn()"


def test_table() -> None:
    assert describe(CAT) == TABLE


def test_tree_scope_changes_what_follows_the_leaders_end() -> None:
    changed = [row for row in describe(TREE).splitlines() if row not in TABLE.splitlines()]
    assert changed == [
        "STOPPING  Exited       -> sweep(7, SIGTERM)         down  10.0  2",
        "STOPPING  Exited None  -> sweep(7, SIGTERM)         down  10.0  2",
        "STOPPING  Exited fail  -> sweep(7, SIGTERM)         down  10.0  2",
        "STOPPING  Timeout      -> kill(SIGKILL, group) sweep(7, SIGKILL) down  10.0  2",
    ]


def test_a_start_that_keeps_failing_is_fatal() -> None:
    m = ProcessMachine(dataclasses.replace(CAT, startretries=2))
    m.step(Start(), 0.0)
    assert states(m.step(SpawnFailed("x"), 0.0)) == [State.BACKOFF]
    assert m.deadline == 1.0
    m.step(Timeout(), 1.0)
    assert states(m.step(SpawnFailed("x"), 1.0)) == [State.BACKOFF]
    assert m.deadline == 3.0
    m.step(Timeout(), 3.0)
    assert states(m.step(SpawnFailed("x"), 3.0)) == [State.BACKOFF, State.FATAL]
    assert m.deadline is None
    assert m.attempts == 0


def test_an_exit_before_startsecs_is_a_failed_start_whatever_its_code() -> None:
    m = ProcessMachine(CAT)
    m.step(Start(), 0.0)
    m.step(Spawned(7), 0.0)
    assert states(m.step(Exited(0), 0.9)) == [State.BACKOFF]
    assert m.reason == TOO_QUICK


def test_an_end_that_we_brought_about_is_unexpected_whatever_its_code() -> None:
    m = machine(State.RUNNING, wanted=True)
    assert states(m.step(Exited(0, failure="it answers nonsense"), 5.0)) == [State.EXITED, State.STARTING]
    m = machine(State.RUNNING, dataclasses.replace(CAT, autorestart=AutoRestart.NEVER), wanted=True)
    assert m.step(Exited(0, failure="it answers nonsense"), 5.0) == [Changed(State.RUNNING, State.EXITED, False)]
    assert (m.reason, m.status) == ("it answers nonsense", 0)


def test_changes_tell_the_failed_starts_so_far() -> None:
    m = ProcessMachine(dataclasses.replace(CAT, startretries=0))
    m.step(Start(), 0.0)
    assert [effect.tries for effect in m.step(SpawnFailed("x"), 0.0) if isinstance(effect, Changed)] == [1, 0]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (Exited(0), [State.RUNNING, State.EXITED]),
        (Exited(1), [State.BACKOFF]),
        (Exited(-9), [State.BACKOFF]),
        (Exited(None), [State.BACKOFF]),
        (Exited(0, failure="of no use"), [State.BACKOFF]),
    ],
)
def test_a_oneshot_that_ends_as_expected_has_succeeded(event: Exited, expected: list[State]) -> None:
    m = ProcessMachine(dataclasses.replace(CAT, type=RunType.ONESHOT))
    m.step(Start(), 0.0)
    m.step(Spawned(7), 0.0)
    assert states(m.step(event, 0.1)) == expected
    assert m.wanted is (expected == [State.BACKOFF])


def test_an_exit_that_overtakes_the_timer_goes_through_running() -> None:
    m = ProcessMachine(dataclasses.replace(CAT, startsecs=0, autorestart=AutoRestart.NEVER))
    m.step(Start(), 0.0)
    m.step(Spawned(7), 0.0)
    assert states(m.step(Exited(0), 0.0)) == [State.RUNNING, State.EXITED]


def test_start_while_stopping_restarts() -> None:
    m = machine(State.RUNNING)
    assert m.step(Stop(), 0.0) == [Changed(State.RUNNING, State.STOPPING), Kill(signal.SIGTERM, False)]
    assert m.step(Start(), 0.0) == []
    assert states(m.step(Exited(-15), 0.0)) == [State.STOPPED, State.STARTING]


@pytest.mark.parametrize("state", [State.STARTING, State.BACKOFF])
def test_a_stop_forgets_failed_starts(state: State) -> None:
    m = machine(state, attempts=2, wanted=True)
    m.step(Stop(), 0.0)
    assert m.attempts == 0


def test_a_process_that_survives_sigkill_is_out_of_control_until_it_ends() -> None:
    m = machine(State.RUNNING)
    m.step(Stop(), 0.0)
    assert m.step(Timeout(), 10.0) == [Kill(signal.SIGKILL, False)]
    assert states(m.step(Timeout(), 10.0 + KILL_WAIT)) == [State.UNKNOWN]
    assert "SIGKILL" in m.reason
    assert m.step(Start(), 30.0) == []  # a second copy must not run beside it
    assert states(m.step(Stop(), 30.0)) == [State.STOPPING]  # but it may be tried again
    assert states(m.step(Exited(-9), 31.0)) == [State.STOPPED]


def test_what_is_left_of_a_tree_is_swept_then_killed_then_given_up() -> None:
    m = machine(State.RUNNING, TREE)
    assert m.step(Stop(), 0.0)[1:] == [Kill(signal.SIGTERM, False)]
    assert m.step(Exited(0), 1.0) == [Sweep(7, signal.SIGTERM)]
    assert m.deadline == 11.0
    assert m.step(Timeout(), 11.0) == [Sweep(7, signal.SIGKILL)]
    assert m.state is State.STOPPING
    assert states(m.step(Timeout(), 11.0 + KILL_WAIT)) == [State.STOPPED]
    assert m.reason == "some of its processes survived SIGKILL"


def test_a_leader_that_does_not_end_is_killed_with_its_tree() -> None:
    m = machine(State.RUNNING, TREE)
    m.step(Stop(), 0.0)
    assert m.step(Timeout(), 10.0) == [Kill(signal.SIGKILL, True), Sweep(7, signal.SIGKILL)]
    assert m.step(Swept(), 10.1) == []
    assert m.step(Exited(-9), 10.1) == [Sweep(7, signal.SIGKILL)]
    assert m.deadline == 10.1 + KILL_WAIT
    assert states(m.step(Swept(), 10.2)) == [State.STOPPED]


def test_a_start_during_a_sweep_waits_for_its_end() -> None:
    m = machine(State.RUNNING, TREE)
    m.step(Stop(), 0.0)
    m.step(Exited(0), 1.0)
    assert m.step(Start(), 1.0) == []
    assert states(m.step(Swept(), 2.0)) == [State.STOPPED, State.STARTING]


def test_quick_exits_are_held_back_after_a_burst() -> None:
    m = ProcessMachine(dataclasses.replace(CAT, startsecs=0, autorestart=AutoRestart.ALWAYS))
    m.step(Start(), 0.0)
    for _ in range(QUICK_BURST):
        m.step(Spawned(7), 0.0)
        assert states(m.step(Exited(0), 0.0))[-1] is State.STARTING
    m.step(Spawned(7), 0.0)
    assert states(m.step(Exited(0), 0.25)) == [State.RUNNING, State.EXITED]
    assert m.deadline == 1.0
    assert m.wanted
    assert states(m.step(Timeout(), 1.0)) == [State.STARTING]
    m.step(Spawned(7), 1.0)
    m.step(Exited(0), 5.0)
    assert m.quick_exits == 0


def test_a_stop_ends_a_restart_that_was_held_back() -> None:
    m = machine(State.EXITED, wanted=True, deadline=1.0)
    assert m.step(Stop(), 0.0) == []
    assert (m.wanted, m.deadline) == (False, None)


def test_illegal_events_are_told() -> None:
    with pytest.raises(IllegalEvent, match=r"cat: Spawned\(pid=7\) in state STOPPED"):
        machine(State.STOPPED).step(Spawned(7), 0.0)


class World(RuleBasedStateMachine):
    """A kernel and an operator doing whatever they may, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.alive: int | None = None
        self.spawning = False
        self.session: set[int] = set()
        self.pids = 0
        self.m = ProcessMachine(CAT)

    @initialize(
        autorestart=st.sampled_from(AutoRestart),
        scope=st.sampled_from(StopScope),
        startsecs=st.sampled_from([0.0, 1.0]),
        startretries=st.integers(0, 3),
    )
    def configure(self, autorestart: AutoRestart, scope: StopScope, startsecs: float, startretries: int) -> None:
        self.m.config = dataclasses.replace(
            CAT, autorestart=autorestart, stop_scope=scope, startsecs=startsecs, startretries=startretries
        )

    def tell(self, event: Event) -> None:
        for effect in self.m.step(event, self.now):
            match effect:
                case Spawn():
                    assert self.alive is None, "two processes at once"
                    assert not self.spawning, "two spawns at once"
                    self.spawning = True
                case Kill():
                    assert self.alive is not None
                case Sweep(sid=sid, signal=sig):
                    assert self.alive is None or sig == signal.SIGKILL
                    assert sid == self.pids
                case Changed(old=old, new=new):
                    assert (old, new) not in {(State.STOPPED, State.RUNNING), (State.FATAL, State.RUNNING)}

    @rule()
    def start(self) -> None:
        self.tell(Start())

    @rule(restart=st.booleans())
    def stop(self, restart: bool) -> None:
        self.tell(Stop(restart))

    @precondition(lambda self: self.spawning)
    @rule(works=st.booleans())
    def spawn_ends(self, works: bool) -> None:
        self.spawning = False
        if works:
            self.pids += 1
            self.alive = self.pids
            self.tell(Spawned(self.pids))
        else:
            self.tell(SpawnFailed("no such file"))

    @precondition(lambda self: self.alive is not None)
    @rule(status=st.sampled_from([0, 1, -9, None]), after=st.sampled_from([0.0, 0.5, 2.0]))
    def process_dies(self, status: int | None, after: float) -> None:
        self.now += after
        self.alive = None
        self.tell(Exited(status))

    @precondition(lambda self: self.m.state is State.STOPPING and self.m.sweeping is not None)
    @rule()
    def tree_is_gone(self) -> None:
        self.tell(Swept())

    @precondition(lambda self: self.alive is not None)
    @rule()
    def signal_fails(self) -> None:
        self.tell(SignalFailed("EPERM"))

    @precondition(lambda self: self.m.deadline is not None)
    @rule()
    def time_passes(self) -> None:
        assert self.m.deadline is not None
        self.now = max(self.now, self.m.deadline)
        self.tell(Timeout())

    @invariant()
    def pid_is_the_process(self) -> None:
        assert self.m.pid == self.alive

    @invariant()
    def nothing_hangs(self) -> None:
        """In every state that must not last, either an answer is due or a deadline is set."""
        if self.m.state in (State.STARTING, State.STOPPING, State.BACKOFF):
            assert self.m.deadline is not None or self.spawning

    @invariant()
    def nothing_runs_at_rest(self) -> None:
        if self.m.state in AT_REST:
            assert self.alive is None
            assert not self.spawning

    @invariant()
    def wanted_agrees(self) -> None:
        if self.m.state in (State.STOPPED, State.FATAL, State.UNKNOWN):
            assert not self.m.wanted
        if self.m.state in RUNNING_STATES:
            assert self.m.wanted
        if self.m.state is State.EXITED:
            assert self.m.wanted == (self.m.deadline is not None)

    @invariant()
    def failures_are_bounded(self) -> None:
        assert self.m.attempts <= self.m.config.startretries


World.TestCase.settings = settings(max_examples=400, stateful_step_count=60, deadline=None)
TestWorld = World.TestCase
