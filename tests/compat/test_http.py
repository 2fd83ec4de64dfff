"""HTTP beside XML-RPC itself: the same requests to both, and what decides for a client in their answers."""

import base64
import html
import http.client
import re
import socket
from typing import Any

import pytest

from tests.api.asking import connected
from tests.api.test_logtail import streaming
from tests.compat.pair import Pair
from tests.daemons import Daemon, Supervisors
from tests.tools import free_ports, wait_for

PROGRAMS = """
[program:web]
command = sh -c 'seq 1 1000; exec cat'
startsecs = 0
stdout_logfile = {place}/web.log
[program:quiet]
command = sleep 1000
stdout_logfile = NONE
stderr_logfile = NONE
startsecs = 0
[group:g]
programs = member
[program:member]
command = sh -c 'echo out; echo err >&2; exec sleep 1000'
startsecs = 0
"""
CALL = b"<?xml version='1.0'?><methodCall><methodName>supervisor.getPID</methodName>%s</methodCall>"
XML = {"Content-Type": "text/xml"}
REQUESTS: list[tuple[str, str, bytes | None, dict[str, str]]] = [
    ("GET", "/", None, {}),
    ("GET", "/index.html", None, {}),
    ("GET", "/ok.html", None, {}),
    ("GET", "/tail.html?processname=web", None, {}),
    ("GET", "/tail.html?processname=web&limit=20", None, {}),
    *[("GET", f"/images/{name}.gif", None, {}) for name in ("rule", "state0", "state1", "state2", "state3")],
    *[
        ("GET", path, None, {})
        for path in ("/stylesheets/supervisor.css", "/images/icon.png", "/images/supervisor.gif")
    ],
    *[
        ("GET", path, None, {})
        for path in ("/stylesheets/", "/stylesheets/other.css", "/images/../s.conf", "/images/x")
    ],
    ("GET", "/nothing", None, {}),
    ("GET", "/nothing.html", None, {}),
    ("GET", "/logtail/nobody", None, {}),
    ("GET", "/logtail/quiet", None, {}),
    ("GET", "/logtail/quiet/stderr", None, {}),
    ("GET", "/logtail/g:*", None, {}),
    ("GET", "/RPC2", None, {}),
    ("POST", "/RPC2", CALL % b"", XML),
    ("POST", "/RPC2", CALL % b"<params/>", XML),
    ("POST", "/RPC2", CALL % b"<params></params>", {}),
    ("POST", "/RPC2/further", CALL % b"", XML),
    ("POST", "/RPC2", b"nonsense", XML),
    ("POST", "/RPC2", b"<methodCall><methodName></methodName></methodCall>", XML),
    ("POST", "/RPC2", b"<methodCall></methodCall>", XML),
]


@pytest.fixture(scope="module")
def pair(shared_supervisors: Supervisors) -> Pair:
    pair = Pair(shared_supervisors, PROGRAMS)
    for daemon in (pair.ours, pair.theirs):
        wait_for(lambda daemon=daemon: daemon.read("web.log").endswith("1000\n"))
        wait_for(lambda daemon=daemon: daemon.rpc.supervisor.readProcessStderrLog("g:member", 0, 0))
    return pair


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda one: f"{one[0]} {one[1]} {(one[2] or b'')[-40:]!r}")
def test_an_answer(pair: Pair, request_: tuple[str, str, bytes | None, dict[str, str]]) -> None:
    def ask(daemon: Daemon) -> Any:
        status, headers, body = daemon.request(*request_)
        kind = headers.get("Content-Type", "").partition(";")[0]
        text = re.sub(r"<int>\d+</int>", "<int>N</int>", body.decode()) if request_[1] == "/ok.html" else ""
        return {"status": status, "kind": kind if status == 200 and request_[1] != "/ok.html" else "", "body": text}

    pair.agree(ask)


def test_where_we_say_what_is_wrong(pair: Pair) -> None:
    assert pair.ask(lambda daemon: daemon.request("GET", "/logtail")[0]) == ("404", "500")


@pytest.mark.parametrize(
    "query",
    [
        *("", "processname=", "limit=10", "processname=nobody", "processname=g:*", "processname=g:nobody"),
        *("processname=quiet", "processname=g:member", "processname=web", "processname=%3Cb%3E"),
        *(f"processname=web&limit={limit}" for limit in ("", "0", "-5", "x", "2000", "99999999")),
    ],
)
def test_the_end_of_a_log(pair: Pair, query: str) -> None:
    """The text in the page: of a log, or what is wrong with the question."""

    def ask(daemon: Daemon) -> Any:
        status, _, body = daemon.request("GET", f"/tail.html?{query}")
        found = re.search(rb"<pre>(.*?)</pre>", body, re.DOTALL)
        return [status, html.unescape(found[1].decode()) if found else body.decode()]

    pair.agree(ask)


@pytest.mark.parametrize(
    "path, begins", [("/logtail/web", "web"), ("/logtail/g:member/stderr", ""), ("/mainlogtail", "")]
)
def test_a_stream(pair: Pair, path: str, begins: str) -> None:
    def follow(daemon: Daemon) -> Any:
        with streaming(daemon, path) as stream:
            head = stream.until(b"\n")
            if begins:
                daemon.rpc.supervisor.sendProcessStdin("web", "more\n")
                head = stream.until(b"more\n")
        return head.decode() if path != "/mainlogtail" else bool(head)

    pair.agree(follow)


def test_a_stream_is_for_proxies_too(pair: Pair) -> None:
    """Chunked, not buffered, and of text that browsers show."""

    def headers(daemon: Daemon) -> Any:
        with connected(daemon) as sock:
            sock.sendall(b"GET /logtail/web HTTP/1.1\r\nHost: x\r\n\r\n")
            got = b""
            while b"\r\n\r\n" not in got:
                got += sock.recv(4096)
        found = dict(re.findall(r"(?m)^([\w-]+): (.*?)\r$", got.decode()))
        names = ("Content-Type", "Transfer-Encoding", "X-Accel-Buffering")
        return {name: found.get(name, "").replace(" ", "").lower() for name in names}

    pair.agree(headers)


PARAM = b"<methodCall><methodName>supervisor.getPID</methodName><params>%s</params></methodCall>"


@pytest.mark.parametrize(
    "body",
    [
        *(b"<methodCall/>", b"<methodCall></methodCall>", b"<methodCall><methodName/></methodCall>", b"<methodCall>"),
        *(b"<other/>", b"<methodResponse><params/></methodResponse>", b"<methodCall>text</methodCall>", b"nonsense"),
        *(b"<methodCall><params/></methodCall>", PARAM % b"<param></value></param>", b"\n"),
        PARAM % b"<param><value><int>x</int></value></param>",
    ],
)
def test_what_is_no_call(pair: Pair, body: bytes) -> None:
    """The status, and the line in the main log; ours shows no argument, since it may be secret."""

    def post(daemon: Daemon) -> Any:
        before = len(daemon.log)
        status = daemon.request("POST", "/RPC2", body, XML)[0]
        found = wait_for(lambda: re.search(r"ERRO XML-RPC request data .* is invalid: .*\n", daemon.log[before:]))
        return [status, re.sub(r"<value>.*' is", "' is", found[0])]

    pair.agree(post)


def test_without_a_length(pair: Pair) -> None:
    def post(daemon: Daemon) -> str:
        with connected(daemon) as sock:
            sock.sendall(b"POST /RPC2 HTTP/1.1\r\nHost: x\r\n\r\n")
            return sock.recv(12).decode()

    pair.agree(post)


def test_one_connection_for_several_calls(pair: Pair) -> None:
    def twice(daemon: Daemon) -> Any:
        body = CALL % b""
        whole = b"POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        with connected(daemon) as sock:
            answers = []
            for _ in range(2):
                sock.sendall(whole)
                answer = http.client.HTTPResponse(sock)
                answer.begin()
                assert b"<int>" in answer.read()
                answers.append((answer.status, answer.version))
            return answers

    pair.agree(twice)


@pytest.mark.parametrize("given", ["", "u:wrong", "nobody:p", "u:p", ":p"])
@pytest.mark.parametrize(
    "method, path", [("GET", "/"), ("POST", "/RPC2"), ("GET", "/logtail/web"), ("GET", "/nothing")]
)
def test_credentials(both_ask: tuple[Pair, list[int]], method: str, path: str, given: str) -> None:
    pair, ports = both_ask

    def ask(daemon: Daemon) -> Any:
        port = ports[daemon is pair.theirs]
        headers = {"Authorization": "Basic " + base64.b64encode(given.encode()).decode()} if given else {}
        connection = http.client.HTTPConnection(
            "127.0.0.1", port, timeout=60, source_address=(f"127.0.1.{port % 250}", 0)
        )
        connection.request(method, path, CALL % b"" if method == "POST" else None, headers)
        answer = connection.getresponse()
        found: dict[str, Any] = {"status": answer.status}
        if answer.status == 401:
            found |= {"asks": answer.headers["WWW-Authenticate"], "ends": answer.headers["Connection"]}
        connection.sock and connection.sock.shutdown(socket.SHUT_RDWR)
        connection.close()
        return found

    pair.agree(ask)


@pytest.fixture(scope="module")
def both_ask(shared_supervisors: Supervisors) -> tuple[Pair, list[int]]:
    """Both, on ports that ask for a password."""
    ports = free_ports(2)
    numbers = iter(ports)

    def prepare(place: Any) -> None:
        (place / "port.ini").write_text(
            f"[inet_http_server]\nport = 127.0.0.1:{next(numbers)}\nusername = u\npassword = p\n"
        )

    return Pair(shared_supervisors, PROGRAMS + "[include]\nfiles = port.ini\n", prepare=prepare), ports
