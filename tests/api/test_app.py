"""The control server as a whole: who may come in, what answers which path, and listeners that come and go."""

import base64
import http.client
import random
import socket
import threading
import xmlrpc.client
from contextlib import suppress
from typing import Any

import pytest

from tests.api.asking import PROGRAMS, THEPASSWORD, connected, exchange, statuses
from tests.daemons import Daemon, Supervisors
from tests.tools import free_ports, wait_for

pytestmark = pytest.mark.xdist_group("api-app")

STATE = xmlrpc.client.dumps((), "supervisor.getState").encode()


@pytest.fixture(scope="module")
def ports() -> list[int]:
    return free_ports(3)


@pytest.fixture(scope="module")
def daemon(shared_supervisors: Supervisors, ports: list[int]) -> Daemon:
    servers = f"""
[inet_http_server:open]
port = 127.0.0.1:{ports[0]}

[inet_http_server:locked]
port = 127.0.0.1:{ports[1]}
username = user
password = {THEPASSWORD}

[inet_http_server:six]
port = [::1]:{ports[2]}
"""
    return shared_supervisors.start("supervise", PROGRAMS + servers)


def ask(port: int, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any, bytes]:
    # Each request from an address of its own: failed logins are counted by address.
    source = f"127.0.{random.randint(1, 254)}.{random.randint(1, 254)}", 0
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30, source_address=source)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


PATHS = [
    ("POST", "/RPC2"),
    ("GET", "/api/v1/daemon"),
    ("GET", "/api/v1/events"),
    ("GET", "/logtail/web"),
    ("GET", "/mainlogtail"),
    ("GET", "/"),
    ("GET", "/ok.html"),
    ("GET", "/nothing"),
]


@pytest.mark.parametrize("method, path", PATHS)
@pytest.mark.parametrize("header", ["", basic("user:wrong"), basic("nobody:thepassword"), "Bearer x", "Basic \xff"])
def test_nothing_without_the_password(daemon: Daemon, ports: list[int], method: str, path: str, header: str) -> None:
    headers = {"Authorization": header} if header else {}
    status, answered, _ = ask(ports[1], method, path, STATE if method == "POST" else None, **headers)
    assert status == 401
    assert answered["WWW-Authenticate"] == 'Basic realm="default"'
    assert answered["Connection"] == "close"


def test_with_the_password(daemon: Daemon, ports: list[int]) -> None:
    known = basic("user:thepassword")
    assert ask(ports[1], "GET", "/api/v1/daemon", Authorization=known)[0] == 200
    status, _, answer = ask(ports[1], "POST", "/RPC2", STATE, Authorization=known)
    assert (status, xmlrpc.client.loads(answer)[0][0]) == (200, {"statecode": 1, "statename": "RUNNING"})
    with xmlrpc.client.ServerProxy(f"http://user:thepassword@127.0.0.1:{ports[1]}/RPC2") as rpc:
        assert rpc.supervisor.signalProcess("web", "CONT") is True
    daemon.wait_log("INFO supervisor.signalProcess('web', 'CONT') by user 'user' at 127.0.0.1: OK")


def test_a_refused_body_is_not_read(daemon: Daemon, ports: list[int]) -> None:
    with socket.create_connection(("127.0.0.1", ports[1]), 30) as sock:
        sock.sendall(b"POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Length: 67108864\r\n\r\n" + b"x" * 1000)
        assert sock.recv(1000).startswith(b"HTTP/1.1 401")


def test_ipv6(daemon: Daemon, ports: list[int]) -> None:
    with xmlrpc.client.ServerProxy(f"http://[::1]:{ports[2]}/RPC2") as rpc:
        assert rpc.supervisor.getPID() == daemon.pid


def test_servers_without_a_password_are_named(daemon: Daemon) -> None:
    levels = {"unix_http_server": "INFO", "inet_http_server:open": "CRIT", "inet_http_server:six": "CRIT"}
    for section, level in levels.items():
        daemon.wait_log(f"{level} Server '{section}' running without any HTTP authentication checking")
    assert "Server 'inet_http_server:locked'" not in daemon.log
    assert daemon.log.count("INFO RPC interface 'supervisor' initialized") == 1


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("GET", "/nothing", 404),
        ("GET", "/api", 404),
        ("GET", "/api/v2/daemon", 404),
        ("GET", "/api/v1", 404),
        ("GET", "//etc/passwd", 404),
        ("GET", "/../../etc/passwd", 404),
        ("GET", "/%2e%2e/%2e%2e/etc/passwd", 404),
        ("GET", "/logtail", 404),
        ("GET", "/logtail/../../etc/passwd", 404),
        ("POST", "/", 415),
        ("POST", "/tail.html", 405),
        ("POST", "/nothing", 404),
        ("OPTIONS", "/api/v1/daemon", 405),
        ("GET", "/ok.html", 200),
    ],
)
def test_paths(daemon: Daemon, ports: list[int], method: str, path: str, status: int) -> None:
    found, headers, _ = ask(ports[0], method, path)
    assert found == status
    assert headers["Server"] == "supervise"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://evil.example", "Host": "evil.example"},
        {"Sec_Fetch_Site": "cross-site"},
    ],
)
@pytest.mark.parametrize("path", ["/RPC2", "/api/v1/actions", "/api/v1/daemon/shutdown"])
def test_other_sites_change_nothing(daemon: Daemon, ports: list[int], headers: dict[str, str], path: str) -> None:
    assert ask(ports[0], "POST", path, STATE, **headers)[0] == 403
    assert daemon.states()["web:web"] == "RUNNING"


def test_our_own_pages_may(daemon: Daemon, ports: list[int]) -> None:
    assert ask(ports[0], "POST", "/RPC2", STATE, Origin=f"http://127.0.0.1:{ports[0]}")[0] == 200


def test_a_name_that_anybody_may_own_needs_a_password(daemon: Daemon, ports: list[int]) -> None:
    headers = {"Origin": "http://supervise.example.com", "Host": "supervise.example.com"}
    assert ask(ports[0], "POST", "/RPC2", STATE, **headers)[0] == 403
    assert ask(ports[1], "POST", "/RPC2", STATE, Authorization=basic("user:thepassword"), **headers)[0] == 200


@pytest.mark.parametrize("path", [*(path for method, path in PATHS if method == "GET"), "/api/v1/config"])
def test_nor_is_anything_shown_under_such_a_name(daemon: Daemon, ports: list[int], path: str) -> None:
    for method in ("GET", "HEAD"):
        assert ask(ports[0], method, path, Host="supervise.example.com:9001")[0] == 403
    if path == "/api/v1/config":
        known = basic("user:thepassword")
        assert ask(ports[1], "GET", path, Authorization=known, Host="supervise.example.com")[0] == 200
        assert ask(ports[0], "GET", path, Host="localhost:9001")[0] == 200


def test_clients_that_are_no_browsers_call_by_any_name(daemon: Daemon, ports: list[int]) -> None:
    assert ask(ports[0], "POST", "/RPC2", STATE, Host="supervise.example.com:9001")[0] == 200


# Those who do not behave


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00" * 1000,
        b"GET",
        b"POST /RPC2 HTTP/1.1\r\nContent-Length: 1000\r\n\r\n<methodCall>",
        b"POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"GET http://127.0.0.1/api/v1/daemon HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /api/v1/processes/%00%0a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /api/v1/daemon HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"\xff" * 70_000,
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=lambda sent: repr(sent[:50]),
)
def test_an_answer_or_a_cut_connection(daemon: Daemon, sent: bytes) -> None:
    for status in statuses(exchange(daemon, sent)):
        assert status in (200, 400, 404, 413)
    assert daemon.rpc.supervisor.getState()["statecode"] == 1


def test_pipelined_calls(daemon: Daemon) -> None:
    request = b"POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(STATE), STATE)
    with connected(daemon) as sock:
        sock.sendall(request * 50)
        received = b""
        while received.count(b"</methodResponse>") < 50:
            received += sock.recv(65536)
    assert statuses(received) == [200] * 50


def test_a_body_of_64_megabytes_costs_nothing(daemon: Daemon) -> None:
    import psutil

    before = psutil.Process(daemon.pid).memory_info().rss
    with connected(daemon) as sock:
        sock.sendall(b"POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (64 << 20))
        try:
            for _ in range(64):
                sock.sendall(b"x" * (1 << 20))
        except OSError:
            pass  # cut
    chunked = b"POST /RPC2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connected(daemon) as sock:
        try:
            sock.sendall(chunked)
            for _ in range(64):
                sock.sendall(b"100000\r\n" + b"x" * (1 << 20) + b"\r\n")
        except OSError:
            pass
    assert daemon.rpc.supervisor.getState()["statecode"] == 1
    assert psutil.Process(daemon.pid).memory_info().rss < before + (24 << 20)


def test_readers_that_do_not_read_hold_up_nobody(daemon: Daemon) -> None:
    request = b"GET /api/v1/processes HTTP/1.1\r\nHost: x\r\n\r\n"
    with connected(daemon) as deaf, connected(daemon) as streaming:
        streaming.sendall(b"GET /logtail/cat HTTP/1.1\r\nHost: x\r\n\r\n")
        deaf.setblocking(False)
        try:
            for _ in range(10_000):
                deaf.sendall(request)
        except BlockingIOError:
            pass  # nothing more fits: the daemon does not read on before its answers are taken
        for _ in range(20):
            with suppress(xmlrpc.client.Fault):  # cat is behind: its pipe is full
                daemon.rpc.supervisor.sendProcessStdin("cat", "y" * 60_000 + "\n")
            assert daemon.rpc.supervisor.getState()["statecode"] == 1


def test_many_at_once(daemon: Daemon) -> None:
    wrong: list[object] = []

    def many() -> None:
        with http_client(daemon) as connection:
            for _ in range(50):
                connection.request("GET", "/api/v1/processes")
                answer = connection.getresponse()
                if answer.status != 200 or len(answer.read()) < 100:
                    wrong.append(answer.status)

    threads = [threading.Thread(target=many) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def http_client(daemon: Daemon) -> Any:
    from contextlib import closing

    from tests.daemons import UnixConnection

    return closing(UnixConnection(daemon.socket))


def test_a_stream_ends_with_its_client(daemon: Daemon) -> None:
    import psutil

    of_daemon = psutil.Process(daemon.pid)
    before = of_daemon.num_fds()
    for _ in range(30):
        with connected(daemon) as sock:
            sock.sendall(b"GET /logtail/web HTTP/1.1\r\nHost: x\r\n\r\n")  # a log to which nothing is added
            assert sock.recv(1000)
    wait_for(lambda: of_daemon.num_fds() <= before)


# Listeners that come and go


def test_a_reload_keeps_what_stays_and_opens_what_is_new(supervisors: Supervisors) -> None:
    kept, gone, new = free_ports(3)
    web = "[program:web]\ncommand=sleep 100\nstartsecs=0\n"
    one, two, three = (f"[inet_http_server:{port}]\nport=127.0.0.1:{port}\n" for port in (kept, gone, new))
    daemon = supervisors.start("supervise", web + one + two)
    rpc: Any = xmlrpc.client.ServerProxy(f"http://127.0.0.1:{kept}/RPC2")
    with rpc:
        before = rpc.supervisor.getProcessInfo("web")
        daemon.configure(web + one + three)
        connection = rpc("transport")._connection[1].sock
        assert rpc.supervisor.restart() is True
        wait_for(lambda: ask(new, "GET", "/ok.html")[0] == 200)
        wait_for(lambda: b'"statecode":1' in ask(kept, "GET", "/api/v1/daemon")[2])
        daemon.wait_state("web", "RUNNING")
        assert daemon.info("web")["pid"] != before["pid"]
        assert rpc.supervisor.getState()["statecode"] == 1
        assert rpc("transport")._connection[1].sock is connection, "the connection was cut"
    with pytest.raises(OSError, match="refused"):
        ask(gone, "GET", "/ok.html")


def test_shutdown_ends_streams(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", "[program:web]\ncommand=sh -c 'echo hello; sleep 100'\nstartsecs=0\n")
    wait_for(lambda: daemon.rpc.supervisor.readProcessStdoutLog("web", 0, 0))
    with connected(daemon) as log, connected(daemon) as events:
        log.sendall(b"GET /logtail/web HTTP/1.1\r\nHost: x\r\n\r\n")
        events.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
        assert log.recv(1000)
        assert events.recv(1000)
        daemon.rpc.supervisor.shutdown()
        assert daemon.process.wait(30) == 0
        for sock in (log, events):
            received = b""
            while data := sock.recv(65536):
                received += data
            assert received.endswith(b"0\r\n\r\n")
