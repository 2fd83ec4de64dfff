"""The actions of the status page, by forms as a browser sends them, in a running daemon."""

import re
from urllib.parse import unquote, urlencode

import pytest

from supervise.api.actions import ON_ALL, ON_ONE
from tests.daemons import UNSTARTABLE, Daemon, Supervisors, sleepers

PROGRAMS = f"""
{sleepers("web")}
{UNSTARTABLE}
[program:odd]
command = sleep 1000
process_name = ä%%20<b>"'&
autostart = false
startsecs = 0
"""
ODD = "odd:ä%20<b>\"'&"


@pytest.fixture(scope="module")
def daemon(shared_supervisors: Supervisors) -> Daemon:
    daemon = shared_supervisors.start("supervise", PROGRAMS)
    daemon.wait_state("web", "RUNNING")
    return daemon


def token(daemon: Daemon) -> str:
    found = re.search(r'name=token value="(\w+)"', daemon.request("GET", "/")[2].decode())
    assert found
    return found[1]


def press(daemon: Daemon, action: str, name: str = "", **more: str) -> tuple[int, str]:
    """The status, and the message that the answer leads to."""
    form = {"token": token(daemon), "processname": name, "action": action} | more
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    status, headers, body = daemon.request("POST", "/index.html", urlencode(form).encode(), kind)
    if status != 303:
        return status, body.decode()
    before, message = headers["Location"].split("?message=")
    assert before == "./"
    return status, unquote(message)


def test_one_process(daemon: Daemon) -> None:
    assert press(daemon, "stop", "web") == (303, "Process web stopped")
    assert daemon.info("web")["statename"] == "STOPPED"
    assert press(daemon, "stop", "web") == (303, "unexpected rpc fault [70] NOT_RUNNING: web")
    assert press(daemon, "start", "web") == (303, "Process web started")
    assert press(daemon, "start", "web") == (303, "ERROR: Process web: already started")
    before = daemon.info("web")["pid"]
    assert press(daemon, "restart", "web") == (303, "Process web restarted")
    assert daemon.info("web")["pid"] != before
    assert press(daemon, "clearlog", "web") == (303, "Log for web cleared")
    daemon.wait_log("INFO supervisor.stopProcess('web') by uid ")


def test_what_goes_wrong_is_said(daemon: Daemon) -> None:
    assert press(daemon, "start", "bad") == (303, "ERROR: Process bad: no such file")
    assert press(daemon, "restart", "bad") == (303, "ERROR: Process bad: no such file")
    assert press(daemon, "start", "quick") == (303, "ERROR: Process quick: spawn error")
    for name in ("nobody", "web:*", "web:", "web:nobody", "all", "*"):
        assert press(daemon, "stop", name) == (303, f"No such process named {name}")
    assert daemon.info("web")["statename"] == "RUNNING"


def test_all_processes(daemon: Daemon) -> None:
    before = daemon.info("web")["pid"]
    assert press(daemon, "restartall") == (303, "ERROR: not restarted: bad, plain, quick")
    assert daemon.info("web")["pid"] != before
    status, message = press(daemon, "stopall")
    assert (status, message.startswith("All stopped at ")) == (303, True)
    assert set(daemon.states().values()) <= {"STOPPED", "FATAL"}
    assert press(daemon, "start", "web")[1] == "Process web started"


def test_odd_names_come_back_as_they_were(daemon: Daemon) -> None:
    assert press(daemon, "start", ODD) == (303, f"Process {ODD} started")
    assert daemon.states()[ODD] == "RUNNING"
    assert press(daemon, "stop", ODD) == (303, f"Process {ODD} stopped")


@pytest.mark.parametrize("action", ["", "shutdown", "__class__", *ON_ONE])
def test_no_action(daemon: Daemon, action: str) -> None:
    status, text = press(daemon, action)  # without a name
    assert (status, "is no action" in text) == (400, True)


def test_refreshing(daemon: Daemon) -> None:
    assert press(daemon, "refresh")[1].startswith("Page refreshed at ")


@pytest.mark.parametrize("action", [*ON_ALL, *ON_ONE])
@pytest.mark.parametrize("wrong", ["", "0" * 64, "é", "{token}x"])
def test_without_its_token_a_form_does_nothing(daemon: Daemon, action: str, wrong: str) -> None:
    before = daemon.info("web")["pid"]
    status, text = press(daemon, action, "web", token=wrong.replace("{token}", token(daemon)))
    assert (status, "this form is not from the present page" in text) == (403, True)
    assert daemon.info("web")["pid"] == before != 0
