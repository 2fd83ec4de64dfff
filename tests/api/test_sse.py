"""Events as they happen."""

import json
from typing import Any

import pytest

from supervise.api import sse
from supervise.core.events import DaemonChanged, DaemonState, GroupAdded, State, StateChanged
from supervise.daemon.bus import Gap
from tests.api.test_logtail import streaming
from tests.daemons import Supervisors

CHANGE = StateChanged("app", "web", State.STARTING, State.RUNNING, True, 0, 4711, 12.5)


def parsed(event: bytes) -> tuple[int, str, Any]:
    lines = dict(line.split(": ", 1) for line in event.decode().split("\n") if line)
    return int(lines["id"]), lines["event"], json.loads(lines["data"])


def test_a_change() -> None:
    assert parsed(sse.event(CHANGE, 7)) == (
        7,
        "PROCESS_STATE_RUNNING",
        {"group": "app", "name": "web", "namespec": "app:web", "old": "STARTING", "new": "RUNNING"}
        | {"expected": True, "tries": 0, "pid": 4711, "at": 12.5},
    )


@pytest.mark.parametrize(
    "item, kind, data",
    [
        (Gap(3), "gap", {"missed": 3}),
        (GroupAdded("app"), "PROCESS_GROUP_ADDED", {"group": "app"}),
        (DaemonChanged(DaemonState.SHUTDOWN), "SUPERVISOR_STATE_CHANGE_STOPPING", {"state": "SHUTDOWN"}),
    ],
)
def test_the_others(item: Any, kind: str, data: Any) -> None:
    assert parsed(sse.event(item, 1)) == (1, kind, data)


def test_a_name_cannot_forge_an_event() -> None:
    event = sse.event(GroupAdded("a\n\nevent: forged\ndata: {}\u2028"), 1)
    assert event.count(b"\n") == 4
    assert parsed(event)[2] == {"group": "a\n\nevent: forged\ndata: {}\u2028"}


def test_a_client_hears_what_happens(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", "[program:web]\ncommand=sleep 100\nautostart=false\nstartsecs=0\n")
    with streaming(daemon, "/api/v1/events") as stream:
        assert stream.headers["Content-Type"] == "text/event-stream"
        assert stream.headers["X-Accel-Buffering"] == "no"
        stream.until(b": connected\n\n")
        daemon.rpc.supervisor.startProcess("web")
        daemon.rpc.supervisor.stopProcess("web")
        daemon.rpc.supervisor.removeProcessGroup("web")
        daemon.rpc.supervisor.addProcessGroup("web")
        stream.until(b'event: PROCESS_GROUP_ADDED\ndata: {"group":"web"}\n\n')
    events = [parsed(event) for event in stream.text.split(b"\n\n")[1:-1]]
    assert [serial for serial, _, _ in events] == list(range(1, len(events) + 1))
    assert [kind for _, kind, _ in events] == [
        "PROCESS_STATE_STARTING",
        "PROCESS_STATE_RUNNING",
        "PROCESS_STATE_STOPPING",
        "PROCESS_STATE_STOPPED",
        "PROCESS_GROUP_REMOVED",
        "PROCESS_GROUP_ADDED",
    ]


def test_a_client_that_does_not_read_is_told_what_it_missed(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", "[program:web]\ncommand=sleep 100\nautostart=false\nstartsecs=0\n")
    with streaming(daemon, "/api/v1/events") as stream:
        stream.until(b": connected\n\n")
        # The socket's buffers hold some thousand events before the daemon's own queue of 1000 begins to fill.
        pair = [{"methodName": f"supervisor.{verb}ProcessGroup", "params": ["web"]} for verb in ("remove", "add")]
        for _ in range(5):
            daemon.rpc.system.multicall(pair * 500)
        while b"event: gap\n" not in stream.text:
            stream.text += stream.piece()
        stream.until(b"\n\n")
        gap = next(event for event in stream.text.split(b"\n\n") if b"event: gap" in event)
        assert parsed(gap)[2]["missed"] > 0
