"""The lines that people grep for, byte for byte (supervisord 4.3.0)."""

import dataclasses
from typing import Any

import pytest

from supervise.config.model import AutoRestart, ProgramConfig, StopScope
from supervise.core.events import Event, Exited, SignalFailed, Spawned, SpawnFailed, State, Stop, Timeout
from supervise.core.process import ProcessMachine
from supervise.core.story import CRITICAL, DEBUG, INFO, WARNING, describe_exit, signal_name, story

CAT = ProgramConfig(
    name="cat", program="cat", group_name="pets", command="/bin/cat", startsecs=5, autorestart=AutoRestart.NEVER
)


def lines(state: State, event: Event, config: ProgramConfig = CAT, **facts: Any) -> list[tuple[int, str]]:
    pid = 7 if state in (State.STARTING, State.RUNNING, State.STOPPING, State.UNKNOWN) else None
    machine = ProcessMachine(config, state=state, pid=pid, **facts)
    return list(story(machine, state, pid, event, machine.step(event, 1.0)))


@pytest.mark.parametrize(
    ("state", "event", "expected"),
    [
        (State.STARTING, Spawned(7), [(INFO, "spawned: 'cat' with pid 7")]),
        (
            State.STARTING,
            Timeout(),
            [(INFO, "success: cat entered RUNNING state, process has stayed up for > than 5 seconds (startsecs)")],
        ),
        (State.STARTING, SpawnFailed("can't find command 'x'"), [(INFO, "spawnerr: can't find command 'x'")]),
        (State.STARTING, Exited(1), [(WARNING, "exited: cat (exit status 1; not expected)")]),
        (
            State.STARTING,
            Exited(0),
            [
                (WARNING, "exited: cat (exit status 0; not expected)"),
                (
                    INFO,
                    "cat ended within startsecs (5), which counts as a failed start whatever its exit status; "
                    "set type=oneshot if it is meant to end",
                ),
            ],
        ),
        (State.RUNNING, Exited(0), [(INFO, "exited: cat (exit status 0; expected)")]),
        (State.RUNNING, Exited(3), [(WARNING, "exited: cat (exit status 3; not expected)")]),
        (State.RUNNING, Exited(-9), [(WARNING, "exited: cat (terminated by SIGKILL; not expected)")]),
        (
            State.RUNNING,
            Exited(-11, core=True),
            [(WARNING, "exited: cat (terminated by SIGSEGV (core dumped); not expected)")],
        ),
        (State.RUNNING, Exited(None), [(WARNING, "exited: cat (exit status unknown; not expected)")]),
        (State.RUNNING, Stop(), [(DEBUG, "killing cat (pid 7) with signal SIGTERM")]),
        (State.STOPPING, Exited(0), [(INFO, "stopped: cat (exit status 0)")]),
        (State.STOPPING, Exited(-15), [(WARNING, "stopped: cat (terminated by SIGTERM)")]),
        (State.STOPPING, Timeout(), [(WARNING, "killing 'cat' (7) with SIGKILL")]),
        (State.STOPPING, SignalFailed("no"), [(CRITICAL, "cat entered UNKNOWN state: no")]),
        (State.UNKNOWN, Exited(-9), [(WARNING, "stopped: cat (terminated by SIGKILL)")]),
    ],
)
def test_lines(state: State, event: Event, expected: list[tuple[int, str]]) -> None:
    assert lines(state, event) == expected


def test_giving_up() -> None:
    assert lines(State.STARTING, Exited(1), attempts=3) == [
        (WARNING, "exited: cat (exit status 1; not expected)"),
        (INFO, "gave up: cat entered FATAL state, too many start retries too quickly"),
    ]


def test_an_exit_that_passes_through_running_says_no_success() -> None:
    config = dataclasses.replace(CAT, startsecs=0)
    assert lines(State.STARTING, Exited(0), config) == [(INFO, "exited: cat (exit status 0; expected)")]


def test_groups_and_sweeps() -> None:
    config = dataclasses.replace(CAT, stopasgroup=True, killasgroup=True, stop_scope=StopScope.TREE)
    assert lines(State.RUNNING, Stop(), config) == [(DEBUG, "killing cat (pid 7) process group with signal SIGTERM")]
    assert lines(State.STOPPING, Exited(0), config)[-1] == (
        DEBUG,
        "sweeping the tree of cat (session 7) with signal SIGTERM",
    )


def test_signals_without_a_name() -> None:
    assert signal_name(40) == "signal 40"
    assert describe_exit(Exited(-40)) == "terminated by signal 40"
