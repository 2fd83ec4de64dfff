"""The event types against what a configuration may name, and the exact payloads (as supervisord 4.3.0 sends them)."""

from typing import Any

import pytest

from supervise.config.values import EVENT_TYPES
from supervise.core.events import (
    Communication,
    DaemonChanged,
    DaemonState,
    GroupAdded,
    GroupRemoved,
    Notification,
    Output,
    PluginEvent,
    RemoteCommunication,
    State,
    StateChanged,
    Tick,
)
from supervise.core.wire import ABSTRACT, PAYLOADS, PERIODS, Event, envelope, names, payload, subscribed, unfinished


def change(new: State, old: State = State.RUNNING, **facts: Any) -> StateChanged:
    usual: dict[str, Any] = {"expected": True, "tries": 0, "pid": 7, "at": 0.0}
    return StateChanged("g", "p", old, new, **(usual | facts))


SAMPLES: dict[str, tuple[Notification, bytes]] = {
    "PROCESS_STATE_STARTING": (
        change(State.STARTING, State.BACKOFF, tries=2),
        b"processname:p groupname:g from_state:BACKOFF tries:2",
    ),
    "PROCESS_STATE_RUNNING": (
        change(State.RUNNING, State.STARTING),
        b"processname:p groupname:g from_state:STARTING pid:7",
    ),
    "PROCESS_STATE_BACKOFF": (
        change(State.BACKOFF, State.STARTING, tries=1),
        b"processname:p groupname:g from_state:STARTING tries:1",
    ),
    "PROCESS_STATE_STOPPING": (change(State.STOPPING), b"processname:p groupname:g from_state:RUNNING pid:7"),
    "PROCESS_STATE_EXITED": (
        change(State.EXITED, expected=False),
        b"processname:p groupname:g from_state:RUNNING expected:0 pid:7",
    ),
    "PROCESS_STATE_STOPPED": (
        change(State.STOPPED, State.STOPPING),
        b"processname:p groupname:g from_state:STOPPING pid:7",
    ),
    "PROCESS_STATE_FATAL": (change(State.FATAL, State.BACKOFF), b"processname:p groupname:g from_state:BACKOFF"),
    "PROCESS_STATE_UNKNOWN": (change(State.UNKNOWN), b"processname:p groupname:g from_state:RUNNING"),
    "PROCESS_COMMUNICATION_STDOUT": (
        Communication("g", "p", 7, "stdout", b"a\nb"),
        b"processname:p groupname:g pid:7\na\nb",
    ),
    "PROCESS_COMMUNICATION_STDERR": (
        Communication("g", "p", 7, "stderr", b""),
        b"processname:p groupname:g pid:7\n",
    ),
    "PROCESS_LOG_STDOUT": (
        Output("g", "p", 7, "stdout", b"text\n"),
        b"processname:p groupname:g pid:7 channel:stdout\ntext\n",
    ),
    "PROCESS_LOG_STDERR": (
        Output("g", "p", 7, "stderr", "é{n}".encode()),
        "processname:p groupname:g pid:7 channel:stderr\né{n}".encode(),
    ),
    "REMOTE_COMMUNICATION": (RemoteCommunication("t", "some\ndata"), b"type:t\nsome\ndata"),
    "SUPERVISOR_STATE_CHANGE_RUNNING": (DaemonChanged(DaemonState.RUNNING), b""),
    "SUPERVISOR_STATE_CHANGE_STOPPING": (DaemonChanged(DaemonState.SHUTDOWN), b""),
    "TICK_5": (Tick(5, 1234567890), b"when:1234567890"),
    "TICK_60": (Tick(60, 60), b"when:60"),
    "TICK_3600": (Tick(3600, 3600), b"when:3600"),
    "PROCESS_GROUP_ADDED": (GroupAdded("g"), b"groupname:g\n"),
    "PROCESS_GROUP_REMOVED": (GroupRemoved("g"), b"groupname:g\n"),
}


def test_every_type_that_may_be_configured_is_here() -> None:
    assert PAYLOADS.keys() | ABSTRACT == set(EVENT_TYPES)
    assert not PAYLOADS.keys() & ABSTRACT
    assert PERIODS.keys() < PAYLOADS.keys()


@pytest.mark.parametrize("type", PAYLOADS)
def test_payloads(type: str) -> None:
    notification, expected = SAMPLES[type]
    assert notification.type == type
    assert payload(notification) == expected


@pytest.mark.parametrize(
    "type, brings",
    [
        ("TICK_5", {"TICK_5"}),
        ("TICK", {"TICK_5", "TICK_60", "TICK_3600"}),
        ("PROCESS_STATE", {f"PROCESS_STATE_{state.name}" for state in State}),
        ("PROCESS_LOG", {"PROCESS_LOG_STDOUT", "PROCESS_LOG_STDERR"}),
        ("PROCESS_COMMUNICATION", {"PROCESS_COMMUNICATION_STDOUT", "PROCESS_COMMUNICATION_STDERR"}),
        ("PROCESS_GROUP", {"PROCESS_GROUP_ADDED", "PROCESS_GROUP_REMOVED"}),
        ("SUPERVISOR_STATE_CHANGE", {"SUPERVISOR_STATE_CHANGE_RUNNING", "SUPERVISOR_STATE_CHANGE_STOPPING"}),
        ("REMOTE_COMMUNICATION", {"REMOTE_COMMUNICATION"}),
        ("EVENT", set(PAYLOADS)),
    ],
)
def test_the_hierarchy(type: str, brings: set[str]) -> None:
    assert subscribed((type,)) == brings | {type}


def test_types_of_plugins() -> None:
    event = PluginEvent("DEPLOY_DONE", ("DEPLOY",), "release:3 é\udcff")
    assert payload(event) == "release:3 é\\udcff".encode()
    for wanted in ("DEPLOY_DONE", "DEPLOY", "EVENT"):
        assert names(event) & subscribed((wanted,))
    for other in ("TICK", "DEPLOY_DONE_NOT", "PROCESS_STATE"):
        assert not names(event) & subscribed((other,))


def test_a_subscription_to_several_types() -> None:
    assert subscribed(("TICK_5", "PROCESS_LOG_STDERR")) == {"TICK_5", "PROCESS_LOG_STDERR"}
    assert subscribed(()) == frozenset()


def test_what_is_no_text_is_shown_as_supervisord_shows_it() -> None:
    sent = payload(Output("g", "p", 7, "stdout", b"\xff\xfe raw"))
    assert sent.endswith(rb"channel:stdout" + b"\n" + rb"Undecodable: b'\xff\xfe raw'")


def test_a_payload_is_always_utf_8() -> None:
    assert payload(RemoteCommunication("t", "a\ud800b")) == rb"type:t" + b"\n" + rb"a\ud800b"


def test_the_length_is_in_bytes() -> None:
    event = Event(3, "PROCESS_GROUP_ADDED", payload(GroupAdded("café")))
    sent = envelope(event, pool="pool", poolserial=0, server="supervisor")
    header, _, body = sent.partition(b"\n")
    assert header == (b"ver:3.0 server:supervisor serial:3 pool:pool poolserial:0 eventname:PROCESS_GROUP_ADDED len:16")
    assert body == "groupname:café\n".encode()
    assert len(body) == 16


def test_the_length_can_be_in_characters() -> None:
    event = Event(3, "PROCESS_GROUP_ADDED", payload(GroupAdded("café")))
    sent = envelope(event, pool="pool", poolserial=0, server="supervisor", characters=True)
    assert b" len:15\n" in sent
    assert sent.endswith("groupname:café\n".encode())


@pytest.mark.parametrize(
    "data, count",
    [
        *((b"", 0), (b"a", 0), ("é".encode(), 0), ("a€".encode(), 0), (b"\x80\x80\x80", 0), (b"\xff", 0)),
        *(("é".encode()[:1], 1), ("€".encode()[:2], 2), ("😀".encode()[:3], 3), (b"a\xe2\x82", 2)),
    ],
)
def test_unfinished_characters(data: bytes, count: int) -> None:
    assert unfinished(data) == count
