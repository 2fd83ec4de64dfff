"""What a plugin's factory gets: the daemon's verbs, its events, and nothing else."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any, NoReturn, TypeVar

from supervise.api import shapes, sse
from supervise.config.model import PluginConfig
from supervise.core.events import PluginEvent, RemoteCommunication
from supervise.daemon.commands import Commands

WAIT_SECONDS = 60.0

T = TypeVar("T")


class NeedsSupervisord(AttributeError):
    """A plugin wants something of supervisord's objects that does not exist here."""


class Supervise:
    """The daemon, for the plugin of [rpcinterface:x].

    Every verb is a coroutine: `await` it in `async def` methods; in ordinary methods, which run in a thread of their
    own, `supervise.wait(supervise.start("web"))`. Names mean what they mean to supervisectl. Processes, results and
    events are the objects of the JSON API (GET /api/v1/openapi.json describes them). Verbs that are refused raise
    supervise.errors.CommandError; a plugin may raise it, too: it is the client's fault struct.
    """

    def __init__(self, config: PluginConfig, commands: Commands) -> None:
        self.name, self.log = config.name, logging.getLogger("supervise")
        self._types = dict(config.event_types)
        self._commands, self._loop = commands, asyncio.get_running_loop()
        self._thread, self._tasks = threading.get_ident(), set[asyncio.Task[Any]]()

    # Looking

    def get_state(self) -> int:
        """The state's number (1: running), as of supervisord's own object: all that simple plugins ask of that."""
        return self._commands.state[0]

    async def daemon(self) -> dict[str, Any]:
        return shapes.daemon(self._commands.daemon_info())

    async def processes(self, *names: str) -> list[dict[str, Any]]:
        return list(map(shapes.process, self._commands.processes(names)))

    async def process(self, name: str) -> dict[str, Any]:
        return shapes.process(self._commands.info(name))

    async def explain(self, name: str) -> dict[str, Any]:
        return self._commands.explain(name)

    async def read_log(self, name: str, channel: str = "stdout", offset: int = 0, length: int = 0) -> bytes:
        return await self._commands.read_log(name, channel, offset, length)

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Every event from now on: {"type": …, …}. One that is too slow gets {"type": "gap", "missed": N}."""
        with self._commands.events() as subscription:
            async for item in subscription:
                kind, data = sse.document(item)
                yield {"type": kind} | data

    # Acting

    async def start(self, *names: str, wait: bool = True) -> list[dict[str, Any]]:
        return list(map(shapes.result, await self._commands.start(names, wait=wait)))

    async def stop(self, *names: str, wait: bool = True) -> list[dict[str, Any]]:
        return list(map(shapes.result, await self._commands.stop(names, wait=wait)))

    async def restart(self, *names: str, wait: bool = True) -> list[dict[str, Any]]:
        return list(map(shapes.result, await self._commands.restart(names, wait=wait)))

    async def signal(self, signal: str | int, *names: str) -> list[dict[str, Any]]:
        return list(map(shapes.result, await self._commands.signal(names, signal)))

    async def send_stdin(self, name: str, data: bytes) -> None:
        await self._commands.send_stdin(name, data)

    async def send_event(self, kind: str, data: str) -> None:
        """Send REMOTE_COMMUNICATION to the event listeners."""
        self._commands.send_event(RemoteCommunication(kind, data))

    async def publish(self, type: str, payload: str) -> None:
        """Send an event of a type in `event_types` of the plugin's factory. Raises ValueError for another.

        The payload begins with words `name:value`, as listeners expect, and a newline before any other text.
        """
        if type not in self._types:
            raise ValueError(f"the factory of [rpcinterface:{self.name}] does not declare {type!r} in its event_types")
        self._commands.send_event(PluginEvent(type, self._types[type], payload))

    async def update(self, groups: Sequence[str] = (), *, dry_run: bool = False) -> list[str]:
        """Read the configuration and do what it asks for; one line for each step."""
        return [step.text for step in await self._commands.update(groups, dry_run=dry_run)]

    async def shutdown(self) -> None:
        self._commands.shutdown()

    # Between threads

    def wait(self, work: Coroutine[Any, Any, T], seconds: float = WAIT_SECONDS) -> T:
        """The result of a verb, in an ordinary method. Raises what it raises, and TimeoutError."""
        if threading.get_ident() == self._thread:
            work.close()
            raise RuntimeError("this is the daemon's own thread, which must not wait: use await")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

    def spawn(self, work: Coroutine[Any, Any, object]) -> None:
        """Let a coroutine run beside everything, such as one that reads `events()`; its failure is logged."""
        self._loop.call_soon_threadsafe(self._begin, work)

    def _begin(self, work: Coroutine[Any, Any, object]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self.log.error("RPC interface %r: its task failed", self.name, exc_info=error)

    def close(self) -> None:
        """End what was spawned."""
        for task in self._tasks:
            task.cancel()

    def __getattr__(self, name: str) -> NoReturn:
        raise NeedsSupervisord(
            f"supervise has no {name!r}: the plugin [rpcinterface:{self.__dict__.get('name', '?')}] was written for"
            " supervisord's own objects. Remove the section, or port the plugin (see Plugins in the README)"
        )
