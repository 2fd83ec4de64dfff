"""The JSON API with a running daemon: every route, and every answer against the schema that it promises."""

import os
import signal
import threading
from typing import Any

import jsonschema
import psutil
import pytest

from tests.api.asking import PROGRAMS, ask
from tests.daemons import Daemon, Supervisors
from tests.tools import wait_for

pytestmark = pytest.mark.xdist_group("api-rest")


@pytest.fixture(scope="module")
def daemon(shared_supervisors: Supervisors) -> Daemon:
    hopeless = "[program:hopeless]\ncommand = /does/not/exist\nstartretries = 0\n"
    daemon = shared_supervisors.start("supervise", PROGRAMS + hopeless)
    wait_for(lambda: daemon.rpc.supervisor.readProcessStdoutLog("odd", 0, 0))
    wait_for(lambda: daemon.rpc.supervisor.readProcessStderrLog("web", 0, 0))
    return daemon


@pytest.fixture(scope="module")
def document(daemon: Daemon) -> Any:
    status, document = ask(daemon, "GET", "/openapi.json")
    assert status == 200
    return document


def check(document: Any, method: str, path: str, status: int, value: Any) -> None:
    """The value is what the document promises for that route and status."""
    responses = document["paths"][path][method.lower()]["responses"]
    promised = responses.get(str(status), responses["default"])["content"]
    kind = "application/json" if str(status) in responses else "application/problem+json"
    schema = promised[kind]["schema"] | {"components": document["components"]}
    jsonschema.Draft202012Validator(schema).validate(value)


# Each route once: method, template, path, body, status.
TOUR: list[tuple[str, str, str, Any, int]] = [
    ("GET", "/daemon", "/daemon", None, 200),
    ("GET", "/processes", "/processes", None, 200),
    ("GET", "/processes", "/processes?name=many:*&name=web", None, 200),
    ("GET", "/processes/{namespec}", "/processes/web", None, 200),
    ("GET", "/processes/{namespec}", "/processes/many%3Amany_0", None, 200),
    ("GET", "/processes/{namespec}/explain", "/processes/bad/explain", None, 200),
    ("GET", "/processes/{namespec}/wait", "/processes/web/wait?for=running&timeout=5", None, 200),
    ("POST", "/processes/{namespec}/start", "/processes/idle/start", {}, 200),
    ("POST", "/processes/{namespec}/restart", "/processes/idle/restart", {"wait": True}, 200),
    ("POST", "/processes/{namespec}/signal", "/processes/idle/signal", {"signal": "CONT"}, 200),
    ("POST", "/processes/{namespec}/signal", "/processes/idle/signal", {"signal": 18}, 200),
    ("POST", "/processes/{namespec}/clear", "/processes/idle/clear", None, 200),
    ("POST", "/processes/{namespec}/rotate", "/processes/idle/rotate", None, 200),
    ("POST", "/processes/{namespec}/stop", "/processes/idle/stop", None, 200),
    ("POST", "/processes/{namespec}/stdin", "/processes/cat/stdin", {"data": "x\n"}, 200),
    ("POST", "/actions", "/actions", {"action": "start", "names": ["idle", "bad", "nope"]}, 200),
    ("POST", "/actions", "/actions", {"action": "stop", "names": ["id*"], "wait": True}, 200),
    ("GET", "/groups", "/groups", None, 200),
    ("GET", "/groups/available", "/groups/available", None, 200),
    ("DELETE", "/groups/{name}", "/groups/idle", None, 200),
    ("POST", "/groups/{name}", "/groups/idle", None, 200),
    ("GET", "/config", "/config", None, 200),
    ("POST", "/config/reread", "/config/reread", None, 200),
    ("POST", "/config/update", "/config/update", {"dry_run": True}, 200),
    ("POST", "/config/update", "/config/update", {}, 200),
    ("POST", "/daemon/reopen-logs", "/daemon/reopen-logs", None, 200),
    ("GET", "/openapi.json", "/openapi.json", None, 200),
    ("DELETE", "/daemon/log", "/daemon/log", None, 200),
    # refusals
    ("GET", "/processes/{namespec}", "/processes/nope", None, 404),
    ("GET", "/processes/{namespec}", "/processes/many:*", None, 404),
    ("GET", "/processes", "/processes?name=nope", None, 404),
    ("POST", "/processes/{namespec}/stop", "/processes/nope/stop", None, 404),
    ("GET", "/processes", "/processes?nmae=web", None, 400),
    ("GET", "/processes/{namespec}/wait", "/processes/idle/wait?timeout=0.05", None, 504),
    ("GET", "/processes/{namespec}/wait", "/processes/hopeless/wait?timeout=25", None, 409),
    ("GET", "/processes/{namespec}/wait", "/processes/web/wait?for=ever", None, 400),
    ("POST", "/processes/{namespec}/signal", "/processes/web/signal", {}, 400),
    ("POST", "/processes/{namespec}/signal", "/processes/web/signal", {"signal": "NO"}, 400),
    ("POST", "/processes/{namespec}/start", "/processes/web/start", None, 409),
    ("POST", "/processes/{namespec}/start", "/processes/bad/start", None, 500),
    ("POST", "/processes/{namespec}/stop", "/processes/idle/stop", None, 409),
    ("POST", "/processes/{namespec}/stop", "/processes/idle/stop", {"now": True}, 400),
    ("POST", "/processes/{namespec}/stdin", "/processes/idle/stdin", {"data": "x"}, 409),
    ("POST", "/processes/{namespec}/stdin", "/processes/cat/stdin", {"text": "x"}, 400),
    ("POST", "/actions", "/actions", {"action": "fly", "names": ["web"]}, 400),
    ("POST", "/actions", "/actions", {"action": "stop", "names": []}, 400),
    ("POST", "/actions", "/actions", {"action": "stop", "names": "web"}, 400),
    ("POST", "/actions", "/actions", [], 400),
    ("POST", "/groups/{name}", "/groups/web", None, 409),
    ("POST", "/groups/{name}", "/groups/nope", None, 404),
    ("DELETE", "/groups/{name}", "/groups/web", None, 409),
    ("DELETE", "/groups/{name}", "/groups/nope", None, 404),
]


def test_every_answer_is_as_promised(daemon: Daemon, document: Any) -> None:
    """In this order: steps find what those before them left."""
    for method, template, path, body, expected in TOUR:
        status, value = ask(daemon, method, path, body)
        assert status == expected, (method, path, value)
        check(document, method, template, status, value)


def test_the_tour_visits_every_json_route(document: Any) -> None:
    streams = {("GET", "/events"), ("GET", "/daemon/log"), ("GET", "/processes/{namespec}/logs/{channel}")}
    ends = {("POST", "/daemon/shutdown"), ("POST", "/daemon/reload"), ("POST", "/daemon/upgrade")}
    known = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert known == {(method, path) for method, path, *_ in TOUR} | streams | ends


def test_a_problem_says_what(daemon: Daemon) -> None:
    status, value = ask(daemon, "POST", "/actions", {"action": "start", "nmaes": ["x"], "wait": "yes"})
    assert status == 400
    assert value["problems"] == [
        "names is missing",
        "unknown field 'nmaes' (known: action, names, now, only_running, signal, wait)",
        "wait must be a boolean, not 'yes'",
    ]
    status, value = ask(daemon, "GET", "/processes/nope")
    assert (status, value["fault"], value["faultname"]) == (404, 10, "BAD_NAME")


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("GET", "/nothing", 404),
        ("GET", "/", 404),
        ("GET", "/processes/", 200),
        ("GET", "/processes//explain", 400),
        ("GET", "/processes/%ff", 400),
        ("GET", "/processes/web/logs/stdin", 404),
        ("GET", "/processes/../daemon", 404),
        ("GET", "/processes?name=%ff", 400),
        ("GET", "/processes/web/logs/stdout?lines=1&bytes=2", 400),
        ("GET", "/processes/web/logs/stdout?lines=-1", 400),
        ("GET", "/processes/web/logs/stdout?lines=many", 400),
        ("GET", "/processes/web/logs/stdout?offset=-1&length=1", 400),
        ("GET", "/processes/web/logs/stdout?offset=1&offset=2", 400),
        ("GET", "/processes/web/logs/stdout?offset=" + "9" * 5000, 400),
        ("GET", "/processes/nope/logs/stdout", 404),
        ("GET", "/processes/bad/logs/stdout?follow=maybe", 400),
        ("PUT", "/processes", 405),
        ("POST", "/processes", 405),
        ("GET", "/actions", 405),
        ("DELETE", "/config", 405),
    ],
)
def test_paths_and_parameters_that_are_wrong(daemon: Daemon, method: str, path: str, status: int) -> None:
    assert ask(daemon, method, path)[0] == status


def test_head(daemon: Daemon) -> None:
    status, headers, body = daemon.request("HEAD", "/api/v1/daemon")
    assert (status, body) == (200, b"")
    assert headers["Content-Type"] == "application/json"
    assert daemon.request("HEAD", "/api/v1/events")[0] == 405


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"nul",
        b"\xff",
        b'{"a": NaN}',
        b'{"action": Infinity}',
        b"[" * 100_000,
        b"[" * 40 + b"]" * 40,
        b'"x"',
        b"1",
    ],
    ids=repr,
)
def test_bodies_that_are_no_json_of_ours(daemon: Daemon, body: bytes) -> None:
    status, value = ask(daemon, "POST", "/actions", body)
    assert status == 400
    assert value["title"] == "Bad Request"


def test_other_bodies(daemon: Daemon) -> None:
    assert ask(daemon, "POST", "/actions", b"{}", Content_Type="text/xml")[0] == 415
    assert ask(daemon, "POST", "/actions", b"{}", Content_Encoding="gzip")[0] == 415
    assert ask(daemon, "POST", "/actions", b" " * (2 << 20))[0] == 413
    assert ask(daemon, "POST", "/actions", b"{}", Content_Type="application/x-www-form-urlencoded")[0] == 415


# Verbs


def test_results_of_an_action(daemon: Daemon) -> None:
    names = ["idle", "bad", "many:*", "nope"]
    status, value = ask(daemon, "POST", "/actions", {"action": "start", "names": names})
    assert status == 200
    found = {result["namespec"]: (result["fault"], result["status"]) for result in value["results"]}
    assert found == {
        "idle": ("SUCCESS", 80),
        "bad": ("NO_FILE", 20),
        "many:many_0": ("ALREADY_STARTED", 60),
        "many:many_1": ("ALREADY_STARTED", 60),
        "nope": ("BAD_NAME", 10),
    }
    status, value = ask(daemon, "POST", "/actions", {"action": "restart", "names": ["idle"]})
    assert [(result["action"], result["fault"]) for result in value["results"]] == [
        ("stop", "SUCCESS"),
        ("start", "SUCCESS"),
    ]
    ask(daemon, "POST", "/actions", {"action": "stop", "names": ["idle"]})
    status, value = ask(daemon, "POST", "/actions", {"action": "restart", "names": ["idle"], "only_running": True})
    assert value == {"results": []}
    assert ask(daemon, "GET", "/processes/idle")[1]["statename"] == "STOPPED"


def test_not_waiting(daemon: Daemon) -> None:
    _, value = ask(daemon, "POST", "/processes/starting/start", {"wait": False})
    assert value["results"][0]["fault"] == "SUCCESS"
    assert ask(daemon, "GET", "/processes/starting")[1]["statename"] == "STARTING"
    ask(daemon, "POST", "/processes/starting/stop")
    ask(daemon, "POST", "/processes/slow/start", {"wait": False})
    status, info = ask(daemon, "GET", "/processes/slow/wait?for=running&timeout=30")
    assert (status, info["statename"]) == (200, "RUNNING")
    ask(daemon, "POST", "/processes/slow/stop", {"wait": False})
    assert ask(daemon, "GET", "/processes/slow/wait?for=stopped")[1]["statename"] == "STOPPED"


def test_stdin_as_bytes(daemon: Daemon) -> None:
    status, _ = ask(daemon, "POST", "/processes/cat/stdin", b"\xffraw\n", Content_Type="application/octet-stream")
    assert status == 200
    wait_for(lambda: ask(daemon, "GET", "/processes/cat/logs/stdout?raw=1")[1].endswith(b"\xffraw\n"))
    assert "raw" not in daemon.log
    daemon.wait_log("POST /processes/{namespec}/stdin('cat', '5 bytes') by uid ")


def test_the_audit_trail_says_what_failed(daemon: Daemon) -> None:
    ask(daemon, "POST", "/actions", {"action": "signal", "names": ["web", "idle"], "signal": "CONT"})
    wanted = "POST /actions({'action': 'signal', 'names': ['web', 'idle'], 'signal': 'CONT'}) by "
    line = next(line for line in daemon.wait_log(wanted).splitlines() if wanted in line)
    assert line.endswith(": 1 of 2 OK; NOT_RUNNING: idle")


# Logs


def log(daemon: Daemon, query: str, path: str = "/processes/odd/logs/stdout") -> bytes:
    status, headers, body = daemon.request("GET", f"/api/v1{path}?{query}")
    assert status == 200, body
    assert headers["X-Content-Type-Options"] == "nosniff"
    raw = "raw=1" in query
    assert headers["Content-Type"] == ("application/octet-stream" if raw else "text/plain; charset=utf-8")
    return body


WHOLE = b"a\x01b\xffc<&>\r\nsch\xc3\xb6n\n"


@pytest.mark.parametrize(
    "query, expected",
    [
        ("", WHOLE),
        ("raw=1", WHOLE),
        ("offset=2&length=3", WHOLE[2:5]),
        ("offset=-4", WHOLE[-4:]),
        ("bytes=3", b"n\n"),  # not the second half of a character
        ("bytes=3&raw=1", WHOLE[-3:]),
        ("bytes=0", b""),
        ("bytes=1000", WHOLE),
        ("lines=1", b"sch\xc3\xb6n\n"),
        ("lines=0", b""),
        ("offset=1000", b""),
    ],
)
def test_pieces_of_a_log(daemon: Daemon, query: str, expected: bytes) -> None:
    assert log(daemon, query) == expected


def test_the_size_of_a_log(daemon: Daemon) -> None:
    _, headers, _ = daemon.request("GET", "/api/v1/processes/odd/logs/stdout?bytes=1")
    assert int(headers["X-Log-Size"]) == len(WHOLE)


def test_the_main_log(daemon: Daemon) -> None:
    ask(daemon, "POST", "/processes/cat/signal", {"signal": "CONT"})
    wait_for(lambda: b"/processes/{namespec}/signal" in log(daemon, "lines=3", "/daemon/log"))


def test_no_log_at_all(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", "[program:mute]\ncommand=sleep 100\nstdout_logfile=NONE\n")
    status, value = ask(daemon, "GET", "/processes/mute/logs/stdout")
    assert (status, value["faultname"]) == (404, "NO_FILE")
    assert ask(daemon, "GET", "/processes/mute/logs/stdout?follow=1")[0] == 404


# Configuration, reload, shutdown


def test_the_configuration_keeps_secrets(supervisors: Supervisors) -> None:
    place = supervisors.place()
    config = place / "s.conf"
    config.write_text(
        f"[unix_http_server]\nfile={place}/s.sock\nusername=user\npassword=hunter2\n"
        f"[supervisord]\nlogfile={place}/main.log\npidfile={place}/p\nchildlogdir={place}\nenvironment=TOKEN=hunter2\n"
        "[program:a]\ncommand=sleep 100\nenvironment=DB_PASSWORD=hunter2\n"
    )
    daemon = supervisors.run("supervise", config, place, answers=False)
    known = {"Authorization": "Basic dXNlcjpodW50ZXIy"}
    wait_for(lambda: daemon.request("GET", "/ok.html", None, known)[0] == 200)
    status, value = ask(daemon, "GET", "/config", **known)
    assert status == 200
    assert "hunter2" not in str(value)
    assert "DB_PASSWORD" in str(value)
    assert "TOKEN" in str(value)
    assert "hunter2" not in daemon.log


def test_update_and_its_plan(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", "[program:a]\ncommand=sleep 100\n[program:b]\ncommand=sleep 100\n")
    daemon.configure("[program:b]\ncommand=sleep 101\n[program:c]\ncommand=sleep 100\n")
    assert ask(daemon, "POST", "/config/reread")[1] == {
        **{"added": ["c"], "changed": ["b"], "removed": ["a"]},
        "notes": [],
    }
    pid = daemon.info("b")["pid"]
    _, plan = ask(daemon, "POST", "/config/update", {"dry_run": True})
    assert {step["group"] for step in plan["steps"]} == {"a", "b", "c"}
    assert daemon.info("b")["pid"] == pid
    ask(daemon, "POST", "/config/update", {"groups": ["b"]})
    assert set(daemon.states()) == {"a:a", "b:b"}
    assert daemon.info("b")["pid"] != pid
    ask(daemon, "POST", "/config/update")
    assert set(daemon.states()) == {"b:b", "c:c"}


def test_a_broken_configuration(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", "[program:a]\ncommand=sleep 100\n")
    pid = daemon.info("a")["pid"]
    daemon.configure("[program:a]\nnumprocs=x\n[program:b]\n")
    for path in ("/config/reread", "/config/update", "/daemon/reload"):
        status, value = ask(daemon, "POST", path)
        assert (status, value["faultname"]) == (422, "CANT_REREAD")
        assert len(value["problems"]) >= 2
        assert all("s.conf" in problem for problem in value["problems"])
    assert daemon.info("a")["pid"] == pid


def test_reload_keeps_the_connection(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", "[program:a]\ncommand=sleep 100\n")
    pid = daemon.info("a")["pid"]
    assert ask(daemon, "POST", "/daemon/reload", {"wait": True}) == (200, {})
    assert daemon.rpc.supervisor.getProcessInfo("a")["pid"] not in (0, pid)
    assert not psutil.pid_exists(pid)


def test_shutdown(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", "[program:a]\ncommand=sleep 100\n")
    assert ask(daemon, "POST", "/daemon/shutdown") == (202, {})
    assert daemon.process.wait(30) == 0


def test_while_shutting_down(supervisors: Supervisors) -> None:
    stubborn = """
        [program:stubborn]
        command = sh -c 'trap "" TERM; echo up; while :; do sleep 0.1; done'
        startsecs = 0
        stopwaitsecs = 600
        """
    daemon = supervisors.start("supervise", stubborn)
    wait_for(lambda: daemon.rpc.supervisor.readProcessStdoutLog("stubborn", 0, 0))
    pid = daemon.info("stubborn")["pid"]
    waiting: list[Any] = []
    asker = threading.Thread(
        target=lambda: waiting.append(ask(daemon, "GET", "/processes/stubborn/wait?for=stopped&timeout=60"))
    )
    daemon.disconnect()

    def connections() -> int:
        here = psutil.Process(daemon.pid).net_connections("unix")
        return sum(str(one.laddr) == str(daemon.place / "s.sock") for one in here)

    wait_for(lambda: connections() == 1, "it only listens")
    asker.start()
    wait_for(lambda: connections() == 2, "it is connected")
    ask(daemon, "POST", "/daemon/shutdown")
    status, value = ask(daemon, "GET", "/daemon")
    assert (status, value["statename"], value["counts"]) == (200, "SHUTDOWN", {"STOPPING": 1})
    status, value = ask(daemon, "POST", "/processes/stubborn/start")
    assert (status, value["faultname"]) == (503, "SHUTDOWN_STATE")
    os.kill(pid, signal.SIGKILL)
    asker.join(30)
    assert waiting[0][0] == 200
    assert daemon.process.wait(30) == 0
