"""XML-RPC with a running daemon: what the client sees over HTTP, and calls in calls. Whether each method answers as
supervisord does is asked in tests/compat."""

import http.client
import threading
import xmlrpc.client
from typing import Any

import pytest

from tests.api.asking import PROGRAMS, exchange, statuses
from tests.daemons import Daemon, Supervisors, proxy
from tests.tools import wait_for

pytestmark = pytest.mark.xdist_group("api-xmlrpc")


@pytest.fixture(scope="module")
def daemon(shared_supervisors: Supervisors) -> Daemon:
    daemon = shared_supervisors.start("supervise", PROGRAMS)
    wait_for(lambda: daemon.rpc.supervisor.readProcessStdoutLog("odd", 0, 0))
    return daemon


def fault(daemon: Daemon, method: str, *params: Any) -> tuple[int, str]:
    """The fault that a call gets."""
    with pytest.raises(xmlrpc.client.Fault) as caught:
        call(daemon, method, *params)
    return caught.value.faultCode, caught.value.faultString


def call(daemon: Daemon, method: str, *params: Any) -> Any:
    return post(daemon, xmlrpc.client.dumps(params, method, allow_none=True).encode())


def post(daemon: Daemon, body: bytes) -> Any:
    status, headers, answer = daemon.request("POST", "/RPC2", body, {"Content-Type": "text/xml"})
    assert status == 200, answer
    assert int(headers["Content-Length"]) == len(answer)
    assert headers["Content-Type"] == "text/xml"
    return xmlrpc.client.loads(answer)[0][0]


# HTTP


def test_missing_params_are_accepted(daemon: Daemon) -> None:
    body = b"<methodCall><methodName>supervisor.getAPIVersion</methodName></methodCall>"
    assert post(daemon, body) == "3.0"


@pytest.mark.parametrize("path", ["/RPC2", "/RPC2/", "/RPC2?x=y", "/RPC2anything"])
def test_any_path_with_the_prefix(daemon: Daemon, path: str) -> None:
    body = xmlrpc.client.dumps((), "supervisor.getState").encode()
    status, _, answer = daemon.request("POST", path, body)
    assert status == 200
    assert xmlrpc.client.loads(answer)[0][0] == {"statecode": 1, "statename": "RUNNING"}


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "BREW"])
def test_only_post(daemon: Daemon, method: str) -> None:
    assert daemon.request(method, "/RPC2")[0] == 400


def test_content_length_is_required(daemon: Daemon) -> None:
    chunked = b"POST /RPC2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    assert statuses(exchange(daemon, chunked, end=False)) == [411]
    assert statuses(exchange(daemon, b"POST /RPC2 HTTP/1.1\r\nHost: x\r\n\r\n", end=False)) == [411]


@pytest.mark.parametrize("body", [b"", b"no xml", b"<methodCall><methodName></methodName></methodCall>", b"<a>" * 9999])
def test_what_is_no_call(daemon: Daemon, body: bytes) -> None:
    assert daemon.request("POST", "/RPC2", body)[0] == 400
    assert daemon.wait_log("is invalid: ")


def test_both_kinds_of_bad_data_are_told_apart_in_the_log(daemon: Daemon) -> None:
    daemon.request("POST", "/RPC2", b"first\nline")
    daemon.wait_log(r"ERRO XML-RPC request data 'first\nline' is invalid: unmarshallable")
    daemon.request("POST", "/RPC2", b"\xff\x00")
    daemon.wait_log(r"ERRO XML-RPC request data '\\xff\x00' is invalid: unmarshallable")
    daemon.request("POST", "/RPC2", b"<methodCall><methodName/></methodCall>")
    daemon.wait_log("ERRO XML-RPC request data '<methodCall><methodName/></methodCall>' is invalid: no method name")


def test_arguments_are_not_logged(daemon: Daemon) -> None:
    call = xmlrpc.client.dumps(("cat", "S3CRET"), "supervisor.sendProcessStdin").encode()
    daemon.request("POST", "/RPC2", call + b"<")
    daemon.wait_log(r'<methodName>supervisor.sendProcessStdin</methodName>\n<params>\n<param>\n" is invalid: ')
    with pytest.raises(xmlrpc.client.Fault, match="S3CRET"):  # supervisord's text, for the caller
        daemon.rpc.supervisor.sendProcessStdin("cat", ["S3CRET"])
    daemon.wait_log("supervisor.sendProcessStdin('cat') by ")
    daemon.wait_log(": INCORRECT_PARAMETERS\n")
    assert "S3CRET" not in daemon.log


def test_a_large_body_is_refused(daemon: Daemon) -> None:
    status, _, _ = daemon.request("POST", "/RPC2", b"x" * (5 << 20))
    assert status == 413


def test_keep_alive(daemon: Daemon) -> None:
    with proxy(daemon.socket) as rpc:
        pids = [rpc.supervisor.getPID() for _ in range(3)]
    assert pids == [daemon.pid] * 3


def test_http_1_0_closes(daemon: Daemon) -> None:
    body = xmlrpc.client.dumps((), "supervisor.getPID").encode()
    received = exchange(daemon, b"POST /RPC2 HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body), end=False)
    assert b"200 OK" in received
    assert str(daemon.pid).encode() in received


# Methods


@pytest.mark.parametrize(
    "name",
    [
        "nope",
        "supervisor",
        "supervisor.",
        ".getState",
        "supervisor.nope",
        "supervisor.getstate",
        "supervisor._commands",
        "supervisor.__init__",
        "supervisor.__class__.__mro__",
        "supervisor.getState.__func__",
        "supervisor.supervisord.options.execve",
        "system.listMethods.x",
        "os.system",
        "süpervisor.getState",
        "supervisor.getState\u2028",
        "x" * 10_000,
        "." * 100,
    ],
)
def test_names_that_are_no_methods(daemon: Daemon, name: str) -> None:
    assert fault(daemon, name) == (1, "UNKNOWN_METHOD")
    assert call(daemon, "system.multicall", [{"methodName": name}]) == [
        {"faultCode": 1, "faultString": "UNKNOWN_METHOD"}
    ]


def test_every_method_is_described(daemon: Daemon) -> None:
    names = call(daemon, "system.listMethods")
    assert names == sorted(names)
    assert len(names) == 41
    for name in names:
        signature = call(daemon, "system.methodSignature", name)
        assert all(isinstance(kind, str) for kind in signature)
        help_text = call(daemon, "system.methodHelp", name)
        assert help_text.count("@param") == len(signature) - 1
        assert f"@return {signature[0]}" in help_text


@pytest.mark.parametrize("params", [[], ["web"], ["web", 0], ["web", 0, 0, 0]])
def test_arity(daemon: Daemon, params: list[Any]) -> None:
    assert fault(daemon, "supervisor.readProcessStdoutLog", *params) == (2, "INCORRECT_PARAMETERS")


@pytest.mark.parametrize(
    "method, params",
    [
        ("readLog", ["a", 1]),
        ("readLog", [0, "b"]),
        ("readLog", [{}, 1]),
        ("readLog", [None, 1]),
        ("readLog", [float(10**300), 1]),
        ("readProcessStdoutLog", ["web", [], 0]),
        ("tailProcessStdoutLog", ["web", 0, "x"]),
        ("getProcessInfo", [1]),
        ("getProcessInfo", [["web"]]),
        ("getProcessInfo", [{"web": 1}]),
        ("startProcess", [b"web"]),
        ("startProcessGroup", [3.5]),
        ("stopProcess", [True]),
        ("addProcessGroup", [[]]),
        ("removeProcessGroup", [None]),
        ("signalProcess", ["cat", ["HUP"]]),
        ("signalProcess", ["cat", None]),
        ("sendProcessStdin", ["cat", 1]),
        ("sendProcessStdin", ["cat", ["x"]]),
    ],
)
def test_arguments_of_the_wrong_type(daemon: Daemon, method: str, params: list[Any]) -> None:
    code, text = fault(daemon, f"supervisor.{method}", *params)
    assert code == 2
    assert text.startswith("INCORRECT_PARAMETERS")


def test_any_true_value_waits(daemon: Daemon) -> None:
    assert call(daemon, "supervisor.startProcess", "starting", 0) is True
    assert daemon.info("starting")["statename"] == "STARTING"
    assert call(daemon, "supervisor.stopProcess", "starting", "yes") is True
    assert daemon.info("starting")["statename"] == "STOPPED"


@pytest.mark.parametrize(
    "name", ["all", "*", "w*", "?at", "many:many_*", "m*:*", "many:*_[0-9]", "web ", "web\n", "🐝"]
)
def test_our_wildcards_are_names_here(daemon: Daemon, name: str) -> None:
    for verb in ("stopProcess", "startProcess", "clearProcessLogs", "getProcessInfo"):
        assert fault(daemon, f"supervisor.{verb}", name) == (10, f"BAD_NAME: {name}")
    assert fault(daemon, "supervisor.stopProcessGroup", name) == (10, f"BAD_NAME: {name}")
    assert daemon.states()["web:web"] == "RUNNING"


# Texts


def test_a_log_with_anything_in_it_can_be_read(daemon: Daemon) -> None:
    text = "a\ufffdb\ufffdc<&>\r\nschön\n"
    assert call(daemon, "supervisor.readProcessStdoutLog", "odd", 0, 0) == text
    size = len(b"a.b.c<&>\r\nsch..n\n")
    assert call(daemon, "supervisor.tailProcessStdoutLog", "odd", 0, 1000) == [text, size, False]


def test_tails_begin_with_a_whole_character(daemon: Daemon) -> None:
    assert call(daemon, "supervisor.readProcessStdoutLog", "odd", -3, 0) == "n\n"
    assert call(daemon, "supervisor.tailProcessStdoutLog", "odd", 0, 3)[0] == "n\n"


def test_text_goes_both_ways(daemon: Daemon) -> None:
    assert call(daemon, "supervisor.sendProcessStdin", "cat", "grüße <&>\n") is True
    assert call(daemon, "supervisor.sendProcessStdin", "cat", b"\xff\n") is True
    wanted = "grüße <&>\n\ufffd\n"
    wait_for(lambda: call(daemon, "supervisor.readProcessStdoutLog", "cat", 0, 0).endswith(wanted))


# multicall


def test_multicall_runs_one_after_another(daemon: Daemon) -> None:
    calls = [
        {"methodName": "supervisor.startProcess", "params": ["idle"]},
        {"methodName": "supervisor.getProcessInfo", "params": ["idle"]},
        {"methodName": "supervisor.stopProcess", "params": ["idle"]},
        {"methodName": "supervisor.stopProcess", "params": ["idle"]},
        {"methodName": "supervisor.stopProcess", "params": []},
    ]
    started, info, stopped, again, arity = call(daemon, "system.multicall", calls)
    assert (started, info["statename"], stopped) == (True, "RUNNING", True)
    assert again == {"faultCode": 70, "faultString": "NOT_RUNNING: idle"}
    assert arity == {"faultCode": 2, "faultString": "INCORRECT_PARAMETERS"}


@pytest.mark.parametrize(
    "calls",
    [
        [{}],
        [{"methodName": 5}],
        [{"methodName": ["x"]}],
        [{"methodName": "supervisor.getState", "params": "abc"}],
        [{"methodName": "supervisor.getState", "params": {"a": 1}}],
        [{"methodName": "system.multicall", "params": [[{"methodName": "system.multicall", "params": [[]]}]]}],
        ["supervisor.getState"],
        [[]],
        [5],
    ],
)
def test_calls_in_a_multicall_that_are_none(daemon: Daemon, calls: list[Any]) -> None:
    (result,) = call(daemon, "system.multicall", calls)
    assert result["faultCode"] == 2


@pytest.mark.parametrize("calls", [5, "x", {}, {"methodName": "supervisor.getState"}, True])
def test_a_multicall_of_no_array(daemon: Daemon, calls: Any) -> None:
    assert fault(daemon, "system.multicall", calls)[0] == 2


def test_a_great_multicall_is_answered_and_others_meanwhile(daemon: Daemon) -> None:
    calls = [{"methodName": "supervisor.getAllProcessInfo", "params": []}] * 3000
    answers: list[Any] = []
    asking = threading.Thread(target=lambda: answers.append(call(daemon, "system.multicall", calls)))
    asking.start()
    rounds = 0
    while asking.is_alive():
        assert daemon.rpc.supervisor.getState()["statecode"] == 1
        rounds += 1
    asking.join()
    assert rounds > 1
    assert len(answers[0]) == 3000


# Audit, disconnection, shutdown


def test_what_changes_something_leaves_a_line(daemon: Daemon) -> None:
    call(daemon, "supervisor.signalProcess", "cat", "CONT")
    daemon.wait_log("INFO supervisor.signalProcess('cat', 'CONT') by uid ")
    fault(daemon, "supervisor.signalProcess", "cat\nINFO forged", "CONT")
    daemon.wait_log(r"supervisor.signalProcess('cat\nINFO forged', 'CONT') by uid ")
    call(daemon, "supervisor.sendProcessStdin", "cat", "a secret\n")
    daemon.wait_log("supervisor.sendProcessStdin('cat') by uid ")
    assert "a secret" not in daemon.log
    assert "getState" not in daemon.log


def test_a_client_that_goes_away_stops_nothing(daemon: Daemon) -> None:
    body = xmlrpc.client.dumps(("slow",), "supervisor.startProcess").encode()
    connection = http.client.HTTPConnection("localhost")
    with proxy(daemon.socket) as rpc:
        transport: Any = rpc("transport")
        connection = transport.make_connection("localhost")
        connection.request("POST", "/RPC2", body)
    daemon.wait_state("slow", "RUNNING")
    assert daemon.wait_log("supervisor.startProcess('slow') by uid ")
    call(daemon, "supervisor.stopProcess", "slow")


def test_without_the_section_only_system_is_served(supervisors: Supervisors) -> None:
    place = supervisors.place()
    config = place / "s.conf"
    config.write_text(
        f"[unix_http_server]\nfile={place}/s.sock\n[supervisord]\nlogfile={place}/main.log\n"
        f"pidfile={place}/p\nchildlogdir={place}\n[program:a]\ncommand=sleep 100\n"
    )
    daemon = supervisors.run("supervise", config, place, answers=False)
    wait_for(lambda: daemon.request("GET", "/ok.html")[0] == 200)
    assert fault(daemon, "supervisor.getState") == (1, "UNKNOWN_METHOD")
    assert call(daemon, "system.listMethods") == [
        "system.listMethods",
        "system.methodHelp",
        "system.methodSignature",
        "system.multicall",
    ]


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
    assert call(daemon, "supervisor.shutdown") is True
    for method, *params in (
        ["getState"],
        ["getAPIVersion"],
        ["getAllProcessInfo"],
        ["getProcessInfo", "nope"],
        ["shutdown"],
        ["restart"],
        ["startProcess", "stubborn"],
        ["signalAllProcesses", "HUP"],
        ["readLog", 0, 0],
    ):
        assert fault(daemon, f"supervisor.{method}", *params) == (6, "SHUTDOWN_STATE")
    assert fault(daemon, "supervisor.getState", 1) == (2, "INCORRECT_PARAMETERS")
    assert "supervisor.getState" in call(daemon, "system.listMethods")
    import os

    os.kill(pid, 9)
    assert daemon.process.wait(30) == 0
