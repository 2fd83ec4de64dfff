"""The control sockets over the daemon's life: opened before programs, kept over reloads, restored when deleted."""

import asyncio
import logging
import os
from collections.abc import Callable, Iterable
from typing import Protocol

from supervise.config.model import Config, ServerConfig
from supervise.system.guard import SocketGuard
from supervise.system.sockets import Listener, SocketError, listen, listen_all

log = logging.getLogger("supervise")


class Api(Protocol):
    """What is wanted here of `supervise.api.app.Api`, which is imported later."""

    async def serve(self, listeners: Iterable[Listener], config: Config) -> None: ...

    async def stop(self) -> None: ...


class Servers:
    """All listening sockets. Open them before there is a loop; everything else is for the loop's thread."""

    def __init__(self, configs: Iterable[ServerConfig]) -> None:
        """Bind and listen: clients that connect from now on wait. Raises SocketError, having opened nothing."""
        self._listeners = listen_all(configs)
        self._config: Config | None = None
        self._guards: list[SocketGuard] = []
        self._api: Api | None = None
        self._serving: asyncio.Task[None] | None = None
        self._stale = False

    @property
    def listeners(self) -> tuple[Listener, ...]:
        return tuple(self._listeners)

    async def serve(self, api: Api, config: Config) -> None:
        """Have `api` answer, for the users and with the plugins of `config`, and watch the files of unix sockets."""
        self._api, self._config = api, config
        self._guard()
        await self._serve()

    async def reconfigure(self, new: Config) -> None:
        """Follow a new configuration. An address that stays keeps its socket, and its connections if nothing about it
        changed; one that cannot be opened is logged at CRIT and left out."""
        old: dict[tuple[str, str, int], list[Listener]] = {}
        for listener in self._listeners:
            old.setdefault(_address(listener.config), []).append(listener)
        kept: list[Listener] = []
        later = []
        for config in new.servers:
            if same := old.pop(_address(config), None):
                kept += [self._adopt(listener, config) for listener in same]
            else:
                later.append(config)
        self._listeners, self._config = kept, new
        await self._serve()  # this closes those that are gone, before others are opened: they may need the same port
        for listener in (listener for gone in old.values() for listener in gone):
            listener.close()
        for config in later:
            try:
                self._listeners += listen(config)
            except SocketError as error:
                log.critical("%s", error)
        self._guard()
        await self._serve()

    async def close(self) -> None:
        """Answer what is being asked, then stop, and remove the sockets that are ours."""
        self._unguard()
        if self._serving:
            await self._serving
        if self._api:
            await self._api.stop()
        for listener in self._listeners:
            listener.close()
        self._listeners = []

    def abandon(self) -> None:
        """Close without a loop: the start has failed."""
        for listener in self._listeners:
            listener.close()

    async def _serve(self) -> None:
        """Bring `api` up to date; one call at a time, and once more if something changed meanwhile."""
        self._stale = True
        if self._serving is None:
            self._serving = asyncio.get_running_loop().create_task(self._keep_serving())
        await asyncio.shield(self._serving)

    async def _keep_serving(self) -> None:
        try:
            while self._stale and self._api and self._config:
                self._stale = False
                await self._api.serve(self.listeners, self._config)
        finally:
            self._serving = None

    def _adopt(self, listener: Listener, config: ServerConfig) -> Listener:
        """The same socket under a changed configuration: a duplicate, since the old one ends with its connections."""
        if listener.config == config:
            return listener
        if listener.inode and listener.intact:
            try:
                os.chmod(config.file, config.chmod)
                if config.chown:
                    os.chown(config.file, *config.chown)
            except OSError as error:
                log.error("could not change mode or owner of %s: %s", config.file, error)
        return Listener(config, listener.sock.dup() if self._api else listener.sock, listener.inode)

    def _guard(self) -> None:
        self._unguard()
        loop = asyncio.get_running_loop()
        replaced: Callable[[Listener, Listener], None] = self._replaced
        self._guards = [SocketGuard(loop, listener, replaced) for listener in self._listeners if listener.inode]

    def _unguard(self) -> None:
        for guard in self._guards:
            guard.close()
        self._guards = []

    def _replaced(self, old: Listener, new: Listener) -> None:
        self._listeners = [new if listener is old else listener for listener in self._listeners]
        task = asyncio.get_running_loop().create_task(self._serve())
        task.add_done_callback(_complain)


def _address(config: ServerConfig) -> tuple[str, str, int]:
    return config.kind, config.file or config.host, config.port


def _complain(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("could not serve a control socket: %r", error)
