"""The table of XML-RPC methods: its names, signatures and roles."""

import inspect

import pytest

from supervise.api.calls import Calls
from supervise.api.methods import supervisor_methods
from supervise.config.model import Role

METHODS = supervisor_methods()


@pytest.mark.parametrize("name", METHODS)
def test_a_method_takes_what_it_says(name: str) -> None:
    method = METHODS[name]
    parameters = list(inspect.signature(method.function).parameters.values())[1:]
    assert len(parameters) == len(method.takes)
    assert sum(parameter.default is not parameter.empty for parameter in parameters) == method.optional
    for count in range(6):
        assert method.accepts(count) == (len(method.takes) - method.optional <= count <= len(method.takes))
    assert len(method.signature) == len(method.takes) + 1


def test_every_call_is_in_the_table() -> None:
    known = {method.function for method in METHODS.values()}
    calls = {function for name, function in inspect.getmembers(Calls, inspect.isfunction) if not name.startswith("_")}
    assert known == calls


def test_aliases() -> None:
    assert METHODS["supervisor.getVersion"] is METHODS["supervisor.getAPIVersion"]
    assert METHODS["supervisor.readMainLog"] is METHODS["supervisor.readLog"]
    assert METHODS["supervisor.readProcessLog"] is METHODS["supervisor.readProcessStdoutLog"]
    assert METHODS["supervisor.tailProcessLog"] is METHODS["supervisor.tailProcessStdoutLog"]
    assert METHODS["supervisor.clearProcessLog"] is METHODS["supervisor.clearProcessLogs"]
    assert len(METHODS) == 37


def test_reading_is_what_does_not_change_anything() -> None:
    reading = {name.partition(".")[2] for name, method in METHODS.items() if method.role is Role.READ}
    assert all(name.startswith(("get", "read", "tail")) for name in reading)
    changing = {name.partition(".")[2] for name in METHODS} - reading
    assert not any(name.startswith(("get", "read", "tail")) for name in changing)


def test_nothing_secret_is_shown() -> None:
    assert METHODS["supervisor.sendProcessStdin"].shown == 1
    assert METHODS["supervisor.sendRemoteCommEvent"].shown == 1
