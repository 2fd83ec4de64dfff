from pathlib import Path

import pytest

from supervise.core.events import State
from tests.daemon.running import group, process, run, sh, supervising


@pytest.mark.parametrize(
    ("state", "deadline", "at_rest"),
    [
        (State.STOPPED, None, True),
        (State.EXITED, None, True),
        (State.EXITED, 5.0, False),  # a restart that is held back
        (State.FATAL, None, True),
        (State.UNKNOWN, None, True),  # nothing more can be done about it
        (State.STARTING, None, False),
        (State.RUNNING, None, False),
        (State.BACKOFF, 5.0, False),
        (State.STOPPING, 5.0, False),
    ],
)
def test_at_rest(tmp_path: Path, state: State, deadline: float | None, at_rest: bool) -> None:
    async def story() -> None:
        async with supervising(tmp_path, group(sh("p", "true"))) as supervisor:
            one = process(supervisor, "p")
            one.machine.state, one.machine.deadline = state, deadline
            assert one.at_rest is at_rest
            one.machine.state, one.machine.deadline = State.STOPPED, None

    run(story)


def test_names(tmp_path: Path) -> None:
    async def story() -> None:
        async with supervising(tmp_path, group(sh("p", "true"), sh("q", "true", group_name="p"))) as supervisor:
            assert [one.namespec for one in supervisor.processes()] == ["p", "p:q"]

    run(story)
