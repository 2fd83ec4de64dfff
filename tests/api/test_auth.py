"""Credentials, peers, and whether a browser was sent by another site."""

import base64
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from supervise.api.auth import Caller, check_origin, credentials, peer, peer_groups
from supervise.api.problem import Problem
from supervise.config.model import Role, ServerConfig
from tests.tools import need_root


def server(kind: Any = "inet", **options: Any) -> ServerConfig:
    return ServerConfig(kind=kind, section="inet_http_server", **options)


def basic(text: str | bytes) -> dict[str, str]:
    raw = text.encode() if isinstance(text, str) else text
    return {"Authorization": f"Basic {base64.b64encode(raw).decode()}"}


@pytest.mark.parametrize(
    "header, expected",
    [
        ("", None),
        ("Basic", None),
        ("Basic !!!", None),
        ("Basic YWJj\u00e4", None),
        ("Bearer x", None),
        (basic("user")["Authorization"], None),
        (basic(":password")["Authorization"], None),
        (basic(b"\xff\xfe:x")["Authorization"], None),
        (basic("user:")["Authorization"], ("user", b"")),
        (basic("ü:a:b:ü")["Authorization"], ("ü", "a:b:ü".encode())),
        (basic(b"user:\xff")["Authorization"], ("user", b"\xff")),
        (basic("a:b")["Authorization"].replace("Basic", "bAsIc"), ("a", b"b")),
    ],
)
def test_credentials(header: str, expected: Any) -> None:
    assert credentials(header) == expected


@pytest.mark.parametrize(
    "caller, source",
    [
        (Caller(uid=5, pid=6), "uid 5"),
        (Caller(address="192.0.2.1"), "192.0.2.1"),
        (Caller(address="2001:db8::1"), "2001:db8::/64"),
        (Caller(address="2001:db8::ffff:1"), "2001:db8::/64"),
        (Caller(address="fe80::1%eth0"), "fe80::/64"),
        (Caller(address=""), ""),
    ],
)
def test_what_failures_are_counted_by(caller: Caller, source: str) -> None:
    assert caller.source == source


def test_a_role_that_is_too_small() -> None:
    caller = Caller("bob", address="192.0.2.1", role=Role.READ)
    assert caller.lacks(Role.READ) is None
    refusal = caller.lacks(Role.ADMIN)
    assert refusal is not None
    assert str(refusal) == "FAILED: refused: this needs the role admin, and user 'bob' at 192.0.2.1 has read"


def test_the_groups_of_a_peer_are_the_kernels() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert peer_groups(ours) == {os.getegid(), *os.getgroups()}


def test_nor_is_anybody_asked_for_them_when_they_are_many(tmp_path: Path) -> None:
    need_root()
    many = range(100_000, 101_000)
    code = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.recv(1)"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()
        client = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "s")], group=7, extra_groups=many)
        with server.accept()[0] as sock:
            assert peer_groups(sock) == {7, *many}
    client.wait(60)


def test_the_peer_of_a_unix_socket_is_known_to_the_kernel() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        caller = peer(ours, "", "bob")
    assert caller == Caller("bob", uid=os.getuid(), pid=os.getpid())
    assert str(caller) == f"user 'bob' at uid {os.getuid()} (pid {os.getpid()})"


def test_the_peer_of_an_inet_socket_is_an_address() -> None:
    assert str(peer(None, ("192.0.2.1", 4711), "")) == "192.0.2.1"
    assert str(peer(None, None, "")) == "an unknown address"


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "localhost:9001"},
        {"Host": "10.0.0.1:9001", "Origin": "http://10.0.0.1:9001"},
        {"Host": "[::1]:9001", "Origin": "http://[::1]:9001"},
        {"Host": "[::1]", "Origin": "http://[::1]"},
        {"Host": "127.0.0.1", "Origin": "http://127.0.0.1"},
        {"Host": "LocalHost:9001", "Origin": "http://localhost:9001"},
        {"Host": "dockerhost:9001", "Origin": "http://dockerhost:9001"},
        {"Host": "box.internal:9001", "Origin": "https://box.internal:9001"},
        {"Host": "named.example.com:9001", "Origin": "http://named.example.com:9001"},
        {"Host": f"{socket.gethostname()}:9001", "Origin": f"http://{socket.gethostname()}:9001"},
        {"Host": "x:9001", "Origin": "http://x:9001", "Sec-Fetch-Site": "same-origin"},
    ],
)
def test_a_request_of_our_own(headers: dict[str, str]) -> None:
    check_origin(server(host="named.example.com"), headers, is_open=True)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "localhost:9001", "Origin": "http://evil.example"},
        {"Host": "localhost:9001", "Origin": "http://localhost:8000"},
        {"Host": "localhost:9001", "Origin": "null"},
        {"Host": "localhost:9001", "Origin": ""},
        {"Host": "localhost:9001", "Origin": "http://["},
        {"Host": "", "Origin": ""},
        {"Origin": "http://evil.example"},
        {"Host": "evil.example:9001", "Origin": "http://evil.example:9001"},  # DNS rebinding
        {"Host": "evil.example.", "Origin": "http://evil.example."},
        {"Host": "localhost:9001", "Sec-Fetch-Site": "cross-site"},
        {"Host": "localhost:9001", "Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_request_of_another_site(headers: dict[str, str]) -> None:
    with pytest.raises(Problem) as caught:
        check_origin(server(host="127.0.0.1"), headers, is_open=True)
    assert caught.value.status == 403


def test_a_password_makes_any_host_name_good() -> None:
    headers = {"Host": "www.example.com", "Origin": "https://www.example.com"}
    check_origin(server(username="user", password="x"), headers, is_open=False)
    check_origin(server("unix"), headers, is_open=True)
