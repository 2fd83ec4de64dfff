"""The control sockets over the daemon's life: opened before programs, kept over reloads, restored when deleted."""

import asyncio
import logging
import socket
import zlib
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Protocol

from supervise.config.model import Config, ServerConfig
from supervise.system.bind import protect
from supervise.system.guard import SocketGuard
from supervise.system.handover import Handover
from supervise.system.sockets import Listener, SocketError, listen

log = logging.getLogger("supervise")


class Api(Protocol):
    """What is wanted here of `supervise.api.app.Api`, which is imported later."""

    async def serve(self, listeners: Iterable[Listener], config: Config) -> None: ...

    async def stop(self) -> None: ...


class Servers:
    """All listening sockets. Open them before there is a loop; everything else is for the loop's thread.

    Each is kept for the next daemon, so that clients who call while there is none only wait.
    """

    def __init__(self, configs: Iterable[ServerConfig], handover: Handover | None = None) -> None:
        """Bind and listen, or go on with what the daemon before us has left: clients that connect from now on wait.

        Raises SocketError, having opened nothing; but a daemon that goes on in another's place does without.
        """
        self._handover = handover or Handover()
        self._listeners: list[Listener] = []
        self.problems: tuple[str, ...] = ()  # of those that could not be opened
        self._config: Config | None = None
        self._guards: list[SocketGuard] = []
        self._api: Api | None = None
        self._serving: asyncio.Task[None] | None = None
        self._stale = False
        for config in configs:
            try:
                self._listeners += self._resume(config) or self._open(config)
            except SocketError as error:
                if not self._handover.facts:
                    self.abandon()
                    raise
                self._do_without(error)

    @property
    def listeners(self) -> tuple[Listener, ...]:
        return tuple(self._listeners)

    @property
    def addresses(self) -> list[tuple[str, str, int]]:
        """Those that are open."""
        return [address(listener.config) for listener in self._listeners]

    async def serve(self, api: Api, config: Config) -> None:
        """Have `api` answer, for the users and with the plugins of `config`, and watch the files of unix sockets."""
        self._api, self._config = api, config
        self._guard()
        await self._serve()

    async def reconfigure(self, new: Config) -> None:
        """Follow a new configuration. An address that stays keeps its socket, and its connections if nothing about it
        changed; one that cannot be opened is logged at CRIT, added to `problems` and left out."""
        old: dict[tuple[str, str, int], list[Listener]] = {}
        for listener in self._listeners:
            old.setdefault(address(listener.config), []).append(listener)
        kept: list[Listener] = []
        later = []
        for config in new.servers:
            if same := old.pop(address(config), None):
                kept += [self._adopt(listener, config) for listener in same]
            else:
                later.append(config)
        self._listeners, self._config, self.problems = kept, new, ()
        gone = [listener for listeners in old.values() for listener in listeners]
        self._release(gone)
        await self._serve()  # this closes those that are gone, before others are opened: they may need the same port
        for listener in gone:
            listener.close()
        for config in later:
            try:
                self._listeners += self._open(config)
            except SocketError as error:
                self._do_without(error)
        self._guard()
        await self._serve()

    async def close(self) -> None:
        """Answer what is being asked, then stop, and remove the sockets that are ours."""
        self._release(self._listeners)
        await self._stop()
        for listener in self._listeners:
            listener.close()
        self._listeners = []

    def suspend(self) -> asyncio.Task[None]:
        """Take no more calls: who calls from now on waits for `resume`, or for the next daemon.

        The task ends when those have been answered that are under way.
        """
        loop = asyncio.get_running_loop()
        for listener in self._listeners:
            loop.remove_reader(listener.sock)
        self._listeners = [self._again(listener) for listener in self._listeners]
        return loop.create_task(self._stop())

    async def resume(self) -> None:
        """Take calls again."""
        self._guard()
        await self._serve()

    async def _stop(self) -> None:
        self._unguard()
        if self._serving:
            await self._serving
        if self._api:
            await self._api.stop()

    def abandon(self) -> None:
        """Close without a loop: the start has failed. What was there before us stays, for another try."""
        for listener in self._listeners:
            if self._handover.facts:
                listener.sock.close()
            else:
                self._release([listener])
                listener.close()
        self._listeners = []

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
        """The same socket under a changed configuration: another listener, since the old one ends with its
        connections."""
        if listener.config == config:
            return listener
        _protect(listener, config)
        return self._again(listener, config) if self._api else Listener(config, listener.sock, listener.inode)

    def _again(self, listener: Listener, config: ServerConfig | None = None) -> Listener:
        """A second one for the same socket: `api` closes the one that it serves."""
        second = Listener(config or listener.config, listener.sock.dup(), listener.inode)
        self._handover.hold(second.sock.fileno(), _name(second))
        self._release([listener])
        return second

    # Beyond us

    def _open(self, config: ServerConfig) -> list[Listener]:
        opened = listen(config)
        for listener in opened:
            self._handover.hold(listener.sock.fileno(), _name(listener))
        return opened

    def _do_without(self, error: SocketError) -> None:
        log.critical("%s", error)
        self.problems = (*self.problems, str(error))

    def _resume(self, config: ServerConfig) -> list[Listener]:
        """What the daemon before us has left of a server, if it is still in its place."""
        resumed = []
        for name in self._handover.names(_prefix(config)):
            fd = self._handover.take(name)
            assert fd is not None
            sock = socket.socket(fileno=fd)
            sock.setblocking(False)
            device, inode = map(int, name.rsplit("-", 2)[1:])
            listener = Listener(config, sock, (device, inode) if config.kind == "unix" else None)
            if listener.intact and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                _protect(listener, config)
                resumed.append(listener)
            else:
                self._release([listener])
                sock.close()
        return resumed

    def _release(self, listeners: Iterable[Listener]) -> None:
        for listener in listeners:
            self._handover.release(listener.sock.fileno())

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
        self._release([old])
        self._handover.hold(new.sock.fileno(), _name(new))
        task = asyncio.get_running_loop().create_task(self._serve())
        task.add_done_callback(_complain)


def address(config: ServerConfig) -> tuple[str, str, int]:
    """By which a server stays the same one, whatever else is changed of it."""
    return config.kind, config.file or config.host, config.port


def _prefix(config: ServerConfig) -> str:
    return f"control-{sha256(repr(address(config)).encode()).hexdigest()[:16]}-"


def _name(listener: Listener) -> str:
    """By which the next daemon finds the socket: what it is for, and the file that goes with it."""
    device, inode = listener.inode or (0, zlib.crc32(repr(listener.sock.getsockname()).encode()))
    return f"{_prefix(listener.config)}{device}-{inode}"


def _protect(listener: Listener, config: ServerConfig) -> None:
    if listener.inode and listener.intact:
        try:
            protect(config.file, config.chmod, config.chown)
        except OSError as error:
            log.error("could not change mode or owner of %s: %s", config.file, error)


def _complain(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("could not serve a control socket: %r", error)
