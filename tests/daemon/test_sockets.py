"""How long sockets are open, seen by their clients."""

import asyncio
import dataclasses
import logging
import os
import shlex
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from supervise.config.model import Config, DaemonConfig, GroupConfig, ProgramConfig, SocketConfig
from supervise.core.events import Start, State, Stop
from supervise.daemon.control import Control
from supervise.daemon.lifecycle import Lifecycle
from supervise.daemon.mainlog import MainLog
from supervise.daemon.supervisor import Supervisor
from supervise.daemon.update import Updater
from tests.daemon.running import group, process, program, reach, run, sh, supervising
from tests.tools import free_ports

SLEEP = "exec sleep 1000"
# Answers every client with its pid; drops nobody when it is told to go, and takes a while for it, as servers do.
SERVER = """
import os, select, signal, socket, time
listener, (told, teller) = socket.socket(fileno=0), socket.socketpair()
listener.setblocking(False)
signal.signal(signal.SIGTERM, lambda *_: teller.send(b"!"))
while told not in (ready := select.select([listener, told], [], [])[0]):
    try:
        client, _ = listener.accept()
    except BlockingIOError:
        continue
    client.sendall(b"%d" % os.getpid())
    client.close()
time.sleep(0.3)
"""


def members(where: SocketConfig, count: int = 2, **options: Any) -> GroupConfig:
    command = f"{shlex.quote(sys.executable)} -I -S -c {shlex.quote(SERVER)}"
    facts = {"group_name": "g", "kind": "fcgi-program", "fcgi_socket": where} | options
    return group(*(program(f"m{number}", command, **facts) for number in range(count)))


async def ask(where: SocketConfig) -> int:
    """The pid that answers. Raises OSError if nobody listens."""
    if where.path:
        reader, writer = await asyncio.open_unix_connection(where.path)
    else:
        reader, writer = await asyncio.open_connection(where.host, where.port)
    try:
        async with asyncio.timeout(30):  # wait_for of Python 3.11 forgets a cancellation that comes with the answer
            return int(await reader.read())
    finally:
        writer.close()


class Clients:
    """Somebody who asks again and again; `refused` counts what a user would have seen."""

    def __init__(self, where: SocketConfig) -> None:
        self.where, self.served, self.refused = where, set[int](), list[str]()

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[None]:
        task = asyncio.ensure_future(self._ask())
        try:
            await self.again()
            yield
            await self.again()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert self.refused == []

    async def _ask(self) -> None:
        while True:
            try:
                self.served.add(await ask(self.where))
            except (OSError, ValueError) as error:
                self.refused.append(repr(error))
            await asyncio.sleep(0.001)

    async def again(self) -> None:
        """Until somebody has been served from now on."""
        self.served.clear()
        async with asyncio.timeout(30):
            while not self.served:
                await asyncio.sleep(0.005)


@pytest.fixture
def where(tmp_path: Path) -> SocketConfig:
    return SocketConfig(path=str(tmp_path / "s.sock"), mode=0o700)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [text for text in caplog.messages if "socket" in text]


def pids(supervisor: Supervisor) -> set[int]:
    return {one.machine.pid for one in supervisor.processes() if one.machine.pid}


async def start(supervisor: Supervisor) -> None:
    supervisor.autostart(list(supervisor.processes()))
    for one in supervisor.processes():
        await reach(supervisor, f"{one.group}:{one.name}", State.RUNNING)


def test_open_from_the_first_to_the_last(tmp_path: Path, where: SocketConfig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "supervise")

    async def story() -> None:
        async with supervising(tmp_path, members(where)) as supervisor:
            assert not os.path.exists(where.path)
            await start(supervisor)
            assert await ask(where) in pids(supervisor)
            await supervisor.stop([process(supervisor, "g:m0")])
            assert {await ask(where)} == pids(supervisor)
            await supervisor.stop([process(supervisor, "g:m1")])
            assert not os.path.exists(where.path)
            assert said(caplog) == [f"Creating socket {where.url}", f"Closing socket {where.url}"]
            supervisor.tell(process(supervisor, "g:m0"), Start())
            await reach(supervisor, "g:m0", State.RUNNING)
            assert {await ask(where)} == pids(supervisor)

    run(story)


@pytest.mark.parametrize("specs", [["g:m0"], ["g:*"], ["all"]])
def test_no_client_notices_a_restart(tmp_path: Path, where: SocketConfig, specs: list[str]) -> None:
    async def story() -> None:
        async with supervising(tmp_path, members(where)) as supervisor:
            await start(supervisor)
            before, clients = pids(supervisor), Clients(where)
            async with clients.asking():
                await Control(supervisor).restart(specs, wait=True, only_running=False)
            assert len(before - pids(supervisor)) == (1 if specs == ["g:m0"] else 2)

    run(story)


def test_no_client_notices_a_crash(tmp_path: Path, where: SocketConfig) -> None:
    async def story() -> None:
        async with supervising(tmp_path, members(where, 1)) as supervisor:
            await start(supervisor)
            one = process(supervisor, "g:m0")
            for _ in range(3):  # the second is soon after the first, and the restart is held back
                old = one.machine.pid
                supervisor.send(one, 9)
                waiting = asyncio.ensure_future(ask(where))
                await one.until(lambda old=old: one.state is State.RUNNING and one.machine.pid != old)
                assert await waiting == one.machine.pid
            while one.state is not State.EXITED:
                if one.state is State.RUNNING:
                    supervisor.send(one, 9)
                await asyncio.sleep(0.02)
            assert os.path.exists(where.path)
            supervisor.tell(one, Stop())
            assert not os.path.exists(where.path), "nobody is to be started any more"

    run(story)


async def updated(supervisor: Supervisor, old: GroupConfig, new: GroupConfig) -> None:
    groups = [old]
    updater = Updater(supervisor, read(groups), lambda: read(groups))
    groups[:] = [new]
    await updater.update([], dry_run=False)
    for one in supervisor.processes():
        await reach(supervisor, f"{one.group}:{one.name}", State.RUNNING)


def read(groups: list[GroupConfig]) -> Config:
    return Config(daemon=DaemonConfig(), groups=tuple(groups), file="/x.conf", here="/")


def renamed(config: GroupConfig) -> GroupConfig:
    processes = tuple(dataclasses.replace(each, group_name="other") for each in config.processes)
    return dataclasses.replace(config, name="other", processes=processes)


def other_command(config: GroupConfig) -> GroupConfig:
    return dataclasses.replace(
        config, processes=tuple(dataclasses.replace(p, command=p.command + " x") for p in config.processes)
    )


@pytest.mark.parametrize("change", [other_command, renamed])
def test_no_client_notices_an_update(
    tmp_path: Path, where: SocketConfig, change: Callable[[GroupConfig], GroupConfig]
) -> None:
    async def story() -> None:
        old = members(where)
        async with supervising(tmp_path, old) as supervisor:
            await start(supervisor)
            before = pids(supervisor)
            async with Clients(where).asking():
                await updated(supervisor, old, change(old))
            assert not before & pids(supervisor)

    run(story)


def test_no_client_notices_a_reload_and_what_is_gone_is_closed(tmp_path: Path, where: SocketConfig) -> None:
    async def story() -> None:
        gone = SocketConfig(path=str(tmp_path / "gone.sock"))
        other = group(sh("o", SLEEP, fcgi_socket=gone))
        groups = [members(where), other]

        async def apply(config: Config) -> None:
            pass

        async with supervising(tmp_path) as supervisor:
            life = Lifecycle(supervisor, MainLog(logging.getLogger("nobody")), lambda: read(groups), apply)
            life.begin(read(groups))
            await reach(supervisor, "o", State.RUNNING)
            assert os.path.exists(gone.path)
            before, groups[:] = pids(supervisor), [members(where)]
            async with Clients(where).asking():
                await life.reload(wait=True)
                await reach(supervisor, "g:m1", State.RUNNING)
            assert not before & pids(supervisor)
            assert not os.path.exists(gone.path)

    run(story)


def test_another_address_that_overlaps(tmp_path: Path) -> None:
    async def story() -> None:
        (port,) = free_ports(1)
        everywhere = members(SocketConfig(port=port))
        here = SocketConfig(host="127.0.0.1", port=port)
        async with supervising(tmp_path, everywhere) as supervisor:
            await start(supervisor)
            await updated(supervisor, everywhere, members(here))
            assert await ask(here) in pids(supervisor)

    run(story)


def test_other_options_at_the_same_address(tmp_path: Path, where: SocketConfig) -> None:
    async def story() -> None:
        old, new = members(where), members(dataclasses.replace(where, mode=0o666))
        async with supervising(tmp_path, old) as supervisor:
            await start(supervisor)
            async with Clients(where).asking():
                await updated(supervisor, old, new)
            assert os.stat(where.path).st_mode & 0o777 == 0o666

    run(story)


def test_an_address_that_is_taken_fails_this_program_only(tmp_path: Path) -> None:
    async def story() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            where = SocketConfig(host="127.0.0.1", port=taken.getsockname()[1])
            bystander = group(sh("p", SLEEP))
            async with supervising(tmp_path, members(where, 1, startretries=0), bystander) as supervisor:
                supervisor.autostart(list(supervisor.processes()))
                await reach(supervisor, "g:m0", State.FATAL)
                assert process(supervisor, "g:m0").machine.reason == (
                    f"couldn't create socket {where.url}: Address already in use"
                )
                await reach(supervisor, "p", State.RUNNING)
        assert not supervisor.sockets.descriptors()

    run(story)


def test_a_file_that_was_deleted_is_made_anew(tmp_path: Path, where: SocketConfig) -> None:
    async def story() -> None:
        async with supervising(tmp_path, members(where, 1)) as supervisor:
            await start(supervisor)
            os.unlink(where.path)
            await Control(supervisor).restart(["g:m0"], wait=True, only_running=False)
            assert {await ask(where)} == pids(supervisor)

    run(story)


def test_the_next_daemon_finds_the_socket_with_the_program(tmp_path: Path, where: SocketConfig) -> None:
    async def story() -> None:
        async with supervising(tmp_path, members(where, 1)) as supervisor:
            await start(supervisor)
            one = process(supervisor, "g:m0")
            address = (where.path, where.host, where.port)
            shared = supervisor.sockets._shared[address]
            assert shared.listening
            shared.listening.sock.close()
            shared.listening = None  # as in a daemon that has just adopted it
            supervisor.sockets._held.clear()
            assert one.machine.pid
            supervisor.sockets.follow(one)
            assert len(supervisor.sockets.descriptors()) == 1
            async with Clients(where).asking():
                await Control(supervisor).restart(["g:m0"], wait=True, only_running=False)

    run(story)


def test_who_has_no_socket_costs_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with supervising(tmp_path, group(sh("p", SLEEP))) as supervisor:
            await start(supervisor)
            assert supervisor.sockets._held == {}
            assert supervisor.sockets._slots is None

    run(story)


def test_a_program_config_names_its_sockets() -> None:
    config = ProgramConfig(name="x", group_name="x", command="x")
    assert not config.listening
    assert config.fcgi_socket is None
