"""Who is let in, and as what."""

import asyncio
import base64
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from supervise.api.auth import Caller
from supervise.api.gate import Gate, is_private
from supervise.api.problem import Problem
from supervise.config.model import Role, ServerConfig, UserConfig

SHA = "{SHA}82ab876d1387bfafe46cc1c8a2ef074eae50cb1d"  # thepassword
SCRYPT = "{SCRYPT}1024$8$1$c2FsdHNhbHRzYWx0c2FsdA==$EUtJYclphsDTwc6bQk0Yr52xvlbd1Dil1u4Xz2ASk5Q="
ANN = UserConfig(name="ann", password=SCRYPT, role=Role.CONTROL)
BOB = UserConfig(name="bob", password="thepassword", role=Role.READ)
ADDRESS = ("192.0.2.1", 4711)


def server(kind: Any = "inet", **options: Any) -> ServerConfig:
    return ServerConfig(kind=kind, section=f"{kind}_http_server", **options)


def basic(text: str | bytes) -> dict[str, str]:
    raw = text.encode() if isinstance(text, str) else text
    return {"Authorization": f"Basic {base64.b64encode(raw).decode()}"}


async def ask_locals(service: str, user: str, password: bytes, _: int) -> tuple[int, frozenset[int]] | None:
    """A machine with three users, and a service that knows their password."""
    uids = {"root": 0, "joe": 1001, "jim": 1002}
    if (service, password) != ("login", b"right") or user not in uids:
        return None
    return uids[user], frozenset({uids[user], 4711})


def run(story: Callable[[Gate], Awaitable[None]]) -> None:
    async def whole() -> None:
        gate = Gate(ask_locals)
        try:
            await story(gate)
        finally:
            gate.close()

    asyncio.run(asyncio.wait_for(whole(), 60))


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    """A unix connection whose other end is this process."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours


async def refused(gate: Gate, config: ServerConfig, headers: dict[str, str], sock: Any = None) -> Problem:
    with pytest.raises(Problem) as caught:
        await gate.admit(config, headers, sock, ADDRESS)
    return caught.value


@pytest.mark.parametrize(
    "host",
    [
        "",
        "localhost:9001",
        "LOCALHOST",
        "192.0.2.1:9001",
        "[2001:db8::1]:9001",
        "box",
        "box.local",
        "named.example.com:80",
    ]
    + [name() for name in (socket.gethostname, socket.getfqdn)],
)
def test_names_of_this_machine(host: str) -> None:
    run(lambda gate: gate.check_host(server(host="named.example.com"), {"Host": host} if host else {}))


@pytest.mark.parametrize(
    "host", ["evil.example:9001", f"{socket.gethostname()}.evil.example", "192.0.2.1.evil.example"]
)
def test_names_that_may_be_anybodys(host: str) -> None:
    async def story(gate: Gate) -> None:
        with pytest.raises(Problem, match="without a password") as caught:
            await gate.check_host(server(), {"Host": host})
        assert caught.value.status == 403
        for config in (server(username="u", password="p"), server("unix"), server(certfile="/c", keyfile="/k")):
            await gate.check_host(config, {"Host": host})
        gate.use([ANN])
        await gate.check_host(server(), {"Host": host})

    run(story)


def test_a_server_that_names_nobody_is_open(sock: socket.socket) -> None:
    async def story(gate: Gate) -> None:
        for config, connection in ((server(), None), (server("unix"), sock)):
            assert gate.is_open(config)
            for headers in ({}, basic("any:thing")):
                assert (await gate.admit(config, headers, connection, ADDRESS)).role is Role.ADMIN

    run(story)


@pytest.mark.parametrize("stored", ["thepassword", SHA, SHA.upper(), SCRYPT])
def test_the_servers_own_user_is_an_admin(stored: str) -> None:
    async def story(gate: Gate) -> None:
        config = server(username="user", password=stored)
        found = await gate.admit(config, basic("user:thepassword"), None, ADDRESS)
        assert found == Caller("user", address="192.0.2.1", role=Role.ADMIN)

    run(story)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Bearer x"},
        basic("user"),
        basic("user:"),
        basic("user:wrong"),
        basic("USER:thepassword"),
        basic(":thepassword"),
        basic("user:thepassword "),
        basic(b"\xff\xfe:\xff"),
        basic(f"user:{SHA}"),
        basic(f"user:{SHA[5:]}"),
    ],
)
@pytest.mark.parametrize("stored", ["thepassword", SHA])
def test_the_wrong_password(headers: dict[str, str], stored: str) -> None:
    async def story(gate: Gate) -> None:
        problem = await refused(gate, server(username="user", password=stored), headers)
        assert problem.status == 401
        assert problem.headers == {"WWW-Authenticate": 'Basic realm="default"', "Connection": "close"}

    run(story)


def test_users_have_their_roles_on_every_server(sock: socket.socket) -> None:
    async def story(gate: Gate) -> None:
        gate.use([ANN, BOB])
        for config, connection in (
            (server(), None),
            (server("unix"), sock),
            (server(username="u", password="p"), None),
        ):
            assert not gate.is_open(config)
            found = [await gate.admit(config, basic(f"{n}:thepassword"), connection, ADDRESS) for n in ("ann", "bob")]
            assert [(caller.user, caller.role) for caller in found] == [("ann", Role.CONTROL), ("bob", Role.READ)]
            assert (await refused(gate, config, basic("ann:wrong"), connection)).status == 401
        assert (await refused(gate, server(), {})).status == 401

    run(story)


def test_who_is_forgotten_is_out_at_once() -> None:
    async def story(gate: Gate) -> None:
        gate.use([ANN, BOB])
        assert (await gate.admit(server(), basic("ann:thepassword"), None, ADDRESS)).role is Role.CONTROL
        gate.use([BOB])
        assert (await refused(gate, server(), basic("ann:thepassword"))).status == 401
        changed = UserConfig(name="bob", password="other", role=Role.ADMIN)
        gate.use([changed])
        assert (await refused(gate, server(), basic("bob:thepassword"))).status == 401
        assert (await gate.admit(server(), basic("bob:other"), None, ADDRESS)).role is Role.ADMIN

    run(story)


def test_the_daemons_own_user_needs_no_group_and_no_password(sock: socket.socket) -> None:
    async def story(gate: Gate) -> None:
        gate.use([BOB])
        for config in (server("unix"), server("unix", read_groups=(4711,))):
            caller = await gate.admit(config, {}, sock, None)
            assert (caller.uid, caller.role) == (os.getuid(), Role.ADMIN)

    run(story)


def test_a_username_without_groups_asks_everybody(sock: socket.socket) -> None:
    """As supervisord does, root included."""

    async def story(gate: Gate) -> None:
        config = server("unix", username="u", password="p")
        assert (await refused(gate, config, {}, sock)).status == 401
        assert (await gate.admit(config, basic("u:p"), sock, None)).role is Role.ADMIN
        with_groups = server("unix", username="u", password="p", read_groups=(4711,))
        assert (await gate.admit(with_groups, {}, sock, None)).role is Role.ADMIN

    run(story)


def test_local_users_have_the_roles_of_their_groups(caplog: pytest.LogCaptureFixture) -> None:
    async def story(gate: Gate) -> None:
        async def role(user: str, password: str = "right", **groups: tuple[int, ...]) -> Role | int:
            config = server(pam_service="login", **groups)
            try:
                return (await gate.admit(config, basic(f"{user}:{password}"), None, ADDRESS)).role
            except Problem as problem:
                return problem.status

        assert await role("joe", read_groups=(4711,)) is Role.READ
        assert await role("joe", control_groups=(1001,)) is Role.CONTROL
        assert await role("jim", admin_users=(1002,)) is Role.ADMIN
        assert await role("root", read_groups=(5,)) is Role.ADMIN
        assert await role("joe", read_groups=(5,)) == 401
        assert await role("joe", "wrong", read_groups=(4711,)) == 401
        assert await role("jack", read_groups=(4711,)) == 401

    run(story)
    assert "local user 'joe' is not among the users and groups of inet_http_server" in caplog.text


def test_a_user_of_the_configuration_hides_a_local_one() -> None:
    async def story(gate: Gate) -> None:
        gate.use([UserConfig(name="root", password="thepassword", role=Role.READ)])
        config = server(pam_service="login")
        assert (await gate.admit(config, basic("root:thepassword"), None, ADDRESS)).role is Role.READ
        assert (await refused(gate, config, basic("root:right"))).status == 401

    run(story)


@pytest.mark.parametrize(
    ("config", "private"),
    [
        (server("unix"), True),
        (server("unix", chmod=0o744), True),  # who may not write may not connect
        (server("unix", chown=(os.geteuid(), 7)), True),
        (server("unix", chown=(-1, 7)), True),
        (server("unix", chmod=0o770), False),
        (server("unix", chmod=0o702), False),
        (server("unix", chown=(12345, -1)), False),
        (server("inet"), False),
    ],
)
def test_which_sockets_only_we_can_reach(config: ServerConfig, private: bool) -> None:
    assert is_private(config) is private
