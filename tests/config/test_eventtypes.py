"""Event types of plugins: what may be declared, and what a listener may name then."""

import dataclasses
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from supervise.config.eventtypes import declared
from supervise.config.load import examine
from supervise.config.machine import Machine


def test_names_and_what_is_above_them() -> None:
    types = {"DEPLOY": "", "DEPLOY_DONE": "DEPLOY", "LATE": "TICK", "GONE": "PROCESS_STATE_EXITED", "ANY": "EVENT"}
    assert dict(declared(SimpleNamespace(event_types=types))) == {
        "DEPLOY": (),
        "DEPLOY_DONE": ("DEPLOY",),
        "LATE": ("TICK",),
        "GONE": ("PROCESS_STATE_EXITED", "PROCESS_STATE"),
        "ANY": (),
    }
    assert declared(None) == declared(SimpleNamespace()) == ()


@pytest.mark.parametrize(
    "types, says",
    [
        (["DEPLOY"], "must be a dict"),
        ({"DEPLOY": None}, "must be a dict"),
        ({1: ""}, "must be a dict"),
        ({"deploy": ""}, "'deploy' cannot be the name of a new type"),
        ({"A B": ""}, "'A B' cannot be the name"),
        ({"A\n": ""}, "cannot be the name"),
        ({"TICK_5": ""}, "'TICK_5' cannot be the name of a new type"),
        ({"A": "B"}, "the parent of A is unknown: 'B'"),
        ({"A": "B", "B": "A"}, "is a kind of itself"),
        ({"A": "A"}, "A is a kind of itself"),
        ({f"A{number}": "" for number in range(2000)}, "more than 1000"),
    ],
)
def test_what_cannot_be_declared(types: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        declared(SimpleNamespace(event_types=types))


def messages(tmp_path: Any, types: Mapping[str, str], events: str) -> list[str]:
    path = tmp_path / "s.conf"
    path.write_text(
        "[supervisord]\n[rpcinterface:x]\nsupervisor.rpcinterface_factory = a:b\n"
        f"[eventlistener:l]\ncommand = cat\nevents = {events}\n"
    )
    machine = dataclasses.replace(Machine(), resolve=lambda spec: SimpleNamespace(event_types=types))
    found = examine(path, machine)
    if found.config is not None and not found.errors:
        (plugin,) = found.config.rpcinterfaces
        assert [name for name, _ in plugin.event_types] == list(types)
    return [str(error) for error in found.errors]


def test_a_listener_may_name_them(tmp_path: Any) -> None:
    assert messages(tmp_path, {"DEPLOY": "", "DEPLOY_DONE": "DEPLOY"}, "deploy_done,TICK_5") == []
    (error,) = messages(tmp_path, {"DEPLOY": ""}, "DEPLOI")
    assert "Unknown event type DEPLOI in [eventlistener:l] events; did you mean DEPLOY?" in error
    (error,) = messages(tmp_path, {"x": ""}, "TICK")
    assert "[rpcinterface:x] supervisor.rpcinterface_factory: event_types: 'x' cannot be" in error
