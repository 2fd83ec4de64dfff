"""Credentials, peers, and whether a browser was sent by another site."""

import base64
import os
import socket
from typing import Any

import pytest

from supervise.api.auth import Caller, authenticate, check_origin, peer
from supervise.api.problem import Problem
from supervise.config.model import ServerConfig

SHA_OF_THEPASSWORD = "{SHA}82ab876d1387bfafe46cc1c8a2ef074eae50cb1d"


def server(kind: Any = "inet", **options: Any) -> ServerConfig:
    return ServerConfig(kind=kind, section="inet_http_server", **options)


def basic(text: str | bytes) -> dict[str, str]:
    raw = text.encode() if isinstance(text, str) else text
    return {"Authorization": f"Basic {base64.b64encode(raw).decode()}"}


@pytest.mark.parametrize("stored", ["thepassword", SHA_OF_THEPASSWORD, SHA_OF_THEPASSWORD.upper()])
def test_the_right_password(stored: str) -> None:
    config = server(username="user", password=stored)
    assert authenticate(config, basic("user:thepassword")) == "user"


def test_colons_and_umlauts_in_a_password() -> None:
    assert authenticate(server(username="ü", password="a:b:ü"), basic("ü:a:b:ü")) == "ü"


def test_no_password_wanted() -> None:
    assert authenticate(server(), {}) == ""
    assert authenticate(server(), basic("any:thing")) == ""


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Basic"},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic YWJj\u00e4"},
        {"Authorization": "Bearer x"},
        basic("user"),
        basic("user:"),
        basic("user:wrong"),
        basic("USER:thepassword"),
        basic(":thepassword"),
        basic("user:thepassword "),
        basic(b"\xff\xfe:\xff"),
        basic(f"user:{SHA_OF_THEPASSWORD}"),
        basic("user:82ab876d1387bfafe46cc1c8a2ef074eae50cb1d"),
    ],
)
@pytest.mark.parametrize("stored", ["thepassword", SHA_OF_THEPASSWORD])
def test_the_wrong_password(headers: dict[str, str], stored: str) -> None:
    with pytest.raises(Problem) as caught:
        authenticate(server(username="user", password=stored), headers)
    assert caught.value.status == 401
    assert caught.value.headers == {"WWW-Authenticate": 'Basic realm="default"', "Connection": "close"}


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
    check_origin(server(host="named.example.com"), headers)


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
        check_origin(server(host="127.0.0.1"), headers)
    assert caught.value.status == 403


def test_a_password_makes_any_host_name_good() -> None:
    headers = {"Host": "www.example.com", "Origin": "https://www.example.com"}
    check_origin(server(username="user", password="x"), headers)
    check_origin(server("unix"), headers)
