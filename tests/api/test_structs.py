"""The structs of supervisord: the fast rendering says what the slow one would."""

import xmlrpc.client
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervise.api import structs, wire
from supervise.config.model import AUTO, AutoRestart, ProgramConfig
from supervise.daemon.info import ConfigInfo, Result
from supervise.errors import Fault
from tests.api.test_shapes import process_info

MEMBERS = [
    *("name", "group", "start", "stop", "now", "state", "statename", "spawnerr", "exitstatus"),
    *("logfile", "stdout_logfile", "stderr_logfile", "pid", "description"),
]


def read(value: Any) -> Any:
    return xmlrpc.client.loads(wire.response(value))[0][0]


TEXT = st.text("aä<&>\x00\r\n\ud800€")


@given(TEXT, TEXT, TEXT, st.integers(0, 2**22), st.integers(0, 2**31 - 1))
def test_a_process(name: str, description: str, path: str, pid: int, start: int) -> None:
    changed = {"name": name, "description": description, "stdout_logfile": path, "logfile": path}
    info = process_info(**changed, pid=pid, start=start)
    expected = read({member: getattr(info, member) for member in MEMBERS})
    assert read([structs.process(info)]) == [expected]
    assert list(expected) == MEMBERS


def program(**options: Any) -> ProgramConfig:
    return ProgramConfig(name="web", program="web", group_name="app", command="sleep 1", **options)


def test_a_configuration() -> None:
    active = process_info()
    info = ConfigInfo(program(stdout_logfile=AUTO, stderr_logfile=None, exitcodes=(0, 2)), "app", 5, True)
    found = read(structs.config(info, active))
    assert found["stdout_logfile"] == "/ä.log"
    assert found["stderr_logfile"] == "none"
    assert (found["group"], found["group_prio"], found["process_prio"], found["inuse"]) == ("app", 5, 999, True)
    assert (found["exitcodes"], found["stopsignal"], found["serverurl"]) == ([0, 2], 15, "none")
    assert (found["directory"], found["uid"]) == ("none", "none")
    assert "environment" not in found
    assert "umask" not in found
    assert read(structs.config(info, None))["stdout_logfile"] == "auto"


@pytest.mark.parametrize(
    "restart, shown", [(AutoRestart.NEVER, False), (AutoRestart.ALWAYS, True), (AutoRestart.UNEXPECTED, "unexpected")]
)
def test_autorestart_as_in_4_4(restart: AutoRestart, shown: Any) -> None:
    assert read(structs.config(ConfigInfo(program(autorestart=restart), "app", 1, False), None))["autorestart"] == shown


def test_numbers_beyond_32_bits_are_capped() -> None:
    info = ConfigInfo(program(stdout_logfile_maxbytes=2**40), "app", 1, False)
    assert read(structs.config(info, None))["stdout_logfile_maxbytes"] == 2**31 - 1


def test_a_status() -> None:
    assert structs.status(Result("start", "app", "web", Fault.SUCCESS, "whatever"))["description"] == "OK"
    failed = structs.status(Result("start", "app", "web", Fault.SPAWN_ERROR, "SPAWN_ERROR: app:web"))
    assert failed == {"name": "web", "group": "app", "status": 50, "description": "SPAWN_ERROR: app:web"}
