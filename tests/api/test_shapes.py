"""Values of the daemon as JSON: the members are those of the schema."""

import json
from typing import Any

import jsonschema
import pytest

from supervise.api import shapes
from supervise.daemon.info import DaemonInfo, LastExit, ProcessInfo, Result
from supervise.errors import Fault

WEB: dict[str, Any] = {
    "name": "web",
    "group": "app",
    "namespec": "app:web",
    "kind": "program",
    "state": 20,
    "statename": "RUNNING",
    "pid": 4711,
    "description": "pid 4711, uptime 0:00:01",
    "spawnerr": "",
    "exitstatus": 0,
    "start": 1,
    "stop": 0,
    "now": 2,
    "logfile": "/ä.log",
    "stdout_logfile": "/ä.log",
    "stderr_logfile": "",
    "uptime": 1.5,
    "restarts": 0,
    "tries": 0,
    "wanted": True,
    "reason": "",
    "next_retry": None,
    "last_exit": None,
    "log_dropped": 0,
    "log_problem": "",
    "leftovers": (),
    "autostart": True,
    "priority": 999,
    "group_priority": 999,
}


def process_info(**changes: Any) -> ProcessInfo:
    """An ordinary process; what is not given above is None."""
    nothing: dict[str, Any] = dict.fromkeys(ProcessInfo._fields)
    return ProcessInfo(**nothing | WEB | changes)


@pytest.mark.parametrize("last", [None, LastExit(None, "SIGKILL", False, 5, "killed"), LastExit(0, None, True, 5, "")])
def test_a_process(last: LastExit | None) -> None:
    shaped = json.loads(shapes.dumps(shapes.process(process_info(last_exit=last, leftovers=(1, 2)))))
    jsonschema.validate(shaped, shapes.PROCESS)
    assert set(shaped) == set(ProcessInfo._fields)
    assert shaped["leftovers"] == [1, 2]
    assert shaped["last_exit"] == (last and last._asdict())


def test_the_daemon() -> None:
    info = DaemonInfo("0", "4.3.0", "3.0", "x", 1, "RUNNING", 1, 2, 3.0, "/c", {"RUNNING": 3}, ("oh",))
    shaped = json.loads(shapes.dumps(shapes.daemon(info)))
    jsonschema.validate(shaped, shapes.DAEMON)
    assert shaped["counts"] == {"RUNNING": 3}


@pytest.mark.parametrize("fault", Fault)
def test_a_result(fault: Fault) -> None:
    shaped = shapes.result(Result("start", "app", "web", fault, "text"))
    jsonschema.validate(shaped, shapes.RESULT)
    assert (shaped["namespec"], shaped["status"], shaped["fault"]) == ("app:web", fault.value, fault.name)


def test_any_text_can_be_sent() -> None:
    assert json.loads(shapes.dumps(["\ud800", "\x00", "ä"])) == ["?", "\x00", "ä"]
