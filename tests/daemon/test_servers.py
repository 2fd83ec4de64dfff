"""The control sockets over reloads and accidents, with a stand-in that only accepts."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from supervise.config.model import Config, DaemonConfig, PluginConfig, ServerConfig
from supervise.daemon.servers import Servers
from supervise.system.sockets import Listener, SocketError
from tests.tools import free_ports, need_root, wait_for


class Accepting:
    """Serves listeners as `api.app.Api` does, but only says hello."""

    def __init__(self) -> None:
        self.servers: dict[Listener, asyncio.Server] = {}
        self.namespaces: tuple[str, ...] = ()
        self.calls = 0
        self.stopped = False

    async def serve(self, listeners: Iterable[Listener], config: Config) -> None:
        self.calls += 1
        wanted, self.namespaces = list(listeners), tuple(plugin.name for plugin in config.rpcinterfaces)
        for listener in [listener for listener in self.servers if listener not in wanted]:
            self.servers.pop(listener).close()
        for listener in wanted:
            if listener not in self.servers:
                self.servers[listener] = await asyncio.start_server(self._hello, sock=listener.sock)
        await asyncio.sleep(0)

    async def _hello(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    async def stop(self) -> None:
        self.stopped = True
        for server in self.servers.values():
            server.close()
        self.servers.clear()


def configured(*servers: ServerConfig, namespaces: tuple[str, ...] = ()) -> Config:
    plugins = tuple(PluginConfig(name=name, factory="stock") for name in namespaces)
    return Config(daemon=DaemonConfig(), servers=servers, rpcinterfaces=plugins, file="/s.conf", here="/")


def unix(path: Path, **options: Any) -> ServerConfig:
    return ServerConfig(kind="unix", section="unix_http_server", file=str(path), **options)


def inet(port: int, host: str = "127.0.0.1", **options: Any) -> ServerConfig:
    return ServerConfig(kind="inet", section="inet_http_server", host=host, port=port, **options)


async def greeted(config: ServerConfig) -> bool:
    """Whether a client is answered."""
    try:
        async with asyncio.timeout(50):
            opened = (
                asyncio.open_unix_connection(config.file)
                if config.file
                else asyncio.open_connection("127.0.0.1", config.port)
            )
            reader, writer = await opened
            hello = await reader.read()
            writer.close()
            return hello == b"hello"
    except (ConnectionError, FileNotFoundError):
        return False


def story(configs: list[ServerConfig], tell: Callable[[Servers, Accepting], Awaitable[None]]) -> None:
    """Open, serve, tell, close; nothing may be left."""
    before = os.listdir("/proc/self/fd")
    servers = Servers(configs)

    async def run() -> None:
        api = Accepting()
        await servers.serve(api, configured(namespaces=("supervisor",)))
        async with asyncio.timeout(60):
            await tell(servers, api)
        await servers.close()
        assert api.stopped
        for config in configs:
            assert not await greeted(config)

    asyncio.run(run())
    wait_for(lambda: set(os.listdir("/proc/self/fd")) <= set(before), "everything is closed soon")
    assert not [config.file for config in configs if config.file and os.path.exists(config.file)]


def test_clients_wait_until_it_is_served(tmp_path: Path) -> None:
    """They may connect as soon as `Servers` exists."""
    servers = Servers([unix(tmp_path / "s")])

    async def run() -> None:
        early = asyncio.create_task(greeted(unix(tmp_path / "s")))
        await asyncio.sleep(0.05)
        assert not early.done()
        await servers.serve(Accepting(), configured())
        assert await early
        await servers.close()

    asyncio.run(run())


def test_opening_is_all_or_nothing(tmp_path: Path) -> None:
    with pytest.raises(SocketError):
        Servers([unix(tmp_path / "s"), unix(tmp_path / "no" / "s")])
    assert os.listdir(tmp_path) == []
    Servers([unix(tmp_path / "s")]).abandon()
    assert os.listdir(tmp_path) == []


def test_what_stays_the_same_is_not_touched(tmp_path: Path) -> None:
    [port] = free_ports(1)
    configs = [unix(tmp_path / "s"), inet(port)]

    async def tell(servers: Servers, api: Accepting) -> None:
        before = servers.listeners
        await servers.reconfigure(configured(*reversed(configs), namespaces=("supervisor", "more")))
        assert set(servers.listeners) == set(before)
        assert api.namespaces == ("supervisor", "more")
        assert await greeted(configs[0])
        assert await greeted(configs[1])

    story(configs, tell)


def test_added_and_removed(tmp_path: Path) -> None:
    [port] = free_ports(1)

    async def tell(servers: Servers, api: Accepting) -> None:
        await servers.reconfigure(configured(inet(port), unix(tmp_path / "new")))
        assert not (tmp_path / "old").exists()
        assert await greeted(inet(port))
        assert await greeted(unix(tmp_path / "new"))
        await servers.reconfigure(configured())
        assert not await greeted(inet(port))

    story([unix(tmp_path / "old")], tell)


def test_a_new_password_keeps_the_socket(tmp_path: Path) -> None:
    [port] = free_ports(1)

    async def tell(servers: Servers, api: Accepting) -> None:
        inode = (tmp_path / "s").lstat().st_ino
        new = [unix(tmp_path / "s", username="a", password="b"), inet(port, username="a", password="b")]
        await servers.reconfigure(configured(*new))
        assert [listener.config for listener in api.servers] == new
        assert (tmp_path / "s").lstat().st_ino == inode
        assert await greeted(new[0])
        assert await greeted(new[1])

    story([unix(tmp_path / "s"), inet(port)], tell)


def test_a_new_mode_and_owner(tmp_path: Path) -> None:
    need_root()

    async def tell(servers: Servers, api: Accepting) -> None:
        await servers.reconfigure(configured(unix(tmp_path / "s", chmod=0o666, chown=(33, -1))))
        found = (tmp_path / "s").lstat()
        assert (found.st_mode & 0o777, found.st_uid) == (0o666, 33)
        assert await greeted(unix(tmp_path / "s"))

    story([unix(tmp_path / "s")], tell)


def test_a_wider_host_on_the_same_port(tmp_path: Path) -> None:
    [port] = free_ports(1)

    async def tell(servers: Servers, api: Accepting) -> None:
        await servers.reconfigure(configured(inet(port, host="0.0.0.0")))
        assert await greeted(inet(port))

    story([inet(port)], tell)


def test_one_that_cannot_be_opened_does_not_hinder_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def tell(servers: Servers, api: Accepting) -> None:
        await servers.reconfigure(configured(unix(tmp_path / "no" / "s"), unix(tmp_path / "s")))
        assert await greeted(unix(tmp_path / "s"))
        assert servers.problems == tuple(caplog.messages)
        await servers.reconfigure(configured(unix(tmp_path / "s")))
        assert servers.problems == ()

    story([unix(tmp_path / "s")], tell)
    assert [record.levelname for record in caplog.records] == ["CRITICAL"]


def test_a_reload_before_it_is_served(tmp_path: Path) -> None:
    servers = Servers([unix(tmp_path / "s")])

    async def run() -> None:
        await servers.reconfigure(configured(unix(tmp_path / "s", username="a", password="b"), unix(tmp_path / "t")))
        await servers.serve(Accepting(), configured())
        assert await greeted(unix(tmp_path / "s"))
        assert await greeted(unix(tmp_path / "t"))
        await servers.close()

    asyncio.run(run())
    assert os.listdir(tmp_path) == []


def test_a_deleted_socket_is_served_again(tmp_path: Path) -> None:
    async def tell(servers: Servers, api: Accepting) -> None:
        for _ in range(3):
            (tmp_path / "s").unlink()
            while not await greeted(unix(tmp_path / "s")):
                await asyncio.sleep(0.01)
        assert len(api.servers) == 1
        with socket.socket(socket.AF_UNIX) as other:  # and one that somebody else has taken is left alone
            other.bind(str(tmp_path / "other"))
            other.listen()
            (tmp_path / "other").rename(tmp_path / "s")
            await asyncio.sleep(0.1)
            assert servers.listeners[0].intact is False
        (tmp_path / "s").unlink()
        while not await greeted(unix(tmp_path / "s")):
            await asyncio.sleep(0.01)

    story([unix(tmp_path / "s")], tell)
