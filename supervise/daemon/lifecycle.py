"""How the daemon begins, starts anew, and ends."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from itertools import groupby

from supervise.config.model import Config
from supervise.core.events import DaemonState, State, Stop, Timeout
from supervise.daemon import namespec
from supervise.daemon.listeners import Listener
from supervise.daemon.loading import Loader
from supervise.daemon.mainlog import MainLog
from supervise.daemon.owed import owe, owed
from supervise.daemon.process import Process
from supervise.daemon.supervisor import Supervisor
from supervise.errors import CommandError, ConfigErrors, Fault

log = logging.getLogger("supervise")

LAST_EVENTS = 1.0  # seconds that event listeners have, when all else has stopped, for what waits for them
DIE_NOTICE = 3.0  # seconds between the lines "waiting for A, B to die" (supervisord)


class Lifecycle:
    """`load` reads the configuration anew and raises ConfigErrors (it runs in a thread); `apply` makes the
    daemon itself follow a new one: servers, log level. Everything else runs in the loop's thread."""

    def __init__(
        self,
        supervisor: Supervisor,
        main_log: MainLog,
        load: Callable[[], Config],
        apply: Callable[[Config], Awaitable[None]],
    ) -> None:
        self._supervisor, self.main_log, self._load, self._apply = supervisor, main_log, Loader(load), apply
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self.started, self.since = time.time(), self._loop.time()
        self.ended = asyncio.Event()
        self.exit_status = 0
        self.config: Config | None = None  # the one that is in force
        self.amid = ""  # "a reload", while its files are read
        self.unserved: Callable[[], tuple[str, ...]] = tuple  # why servers of the configuration are not open

    def begin(self, config: Config) -> None:
        """Make all groups active that are not yet (nor removed by order), and start what is to start by itself."""
        self.config = config
        absent = self._supervisor.groups.keys() | self._supervisor.memory.dismissed
        with self._supervisor.together():
            for group in config.groups:
                if group.name not in absent:
                    self._supervisor.add_group(group)
        self._supervisor.enter(DaemonState.RUNNING)
        recalled = self._supervisor.memory.recalled
        self._supervisor.autostart(p for p in self._supervisor.processes() if (p.group, p.name) not in recalled)
        recalled.clear()

    def problems(self) -> tuple[str, ...]:
        """What the person on call should know about the daemon itself."""
        sink, memory = self.main_log.sink, self._supervisor.memory.problem
        found = [f"main log: {sink.problem}"] if sink is not None and sink.problem else []
        if memory:
            found.append(f"programs will not survive a crash of this daemon as its own: {memory}")
        return (*found, *self.unserved())

    def reopen_logs(self) -> None:
        """Reopen the main log and all child logs, as logrotate asks for."""
        log.info("supervisord logreopen")
        for reopening in (self.main_log.reopen(), self._supervisor.logs.reopen()):
            asyncio.ensure_future(reopening).add_done_callback(asyncio.Future.exception)  # the log tells of its trouble

    def shutdown(self, exit_status: int = 0) -> None:
        """Begin to end; a reload under way gives way to it. `ended` is set when everything has stopped.

        The first call decides the daemon's exit status.
        """
        if self._supervisor.state is DaemonState.SHUTDOWN:
            return
        self.exit_status = exit_status
        self._supervisor.enter(DaemonState.SHUTDOWN)
        if self._task is not None:
            self._task.cancel()
        self._task = self._loop.create_task(self._end())

    async def _end(self) -> None:
        owe(self._supervisor, [one for one in self._supervisor.processes() if one.config.autostart])  # if it is cut off
        try:
            await self._stop_everything()
        finally:
            self._supervisor.sockets.close()
            self._supervisor.bus.close()
            self.ended.set()

    async def reload(self, *, wait: bool) -> None:
        """See `Commands.reload`. Raises CommandError: CANT_REREAD; with `wait` also FAILED, or SHUTDOWN_STATE if
        a shutdown has overtaken it."""
        self.amid = "a reload"
        try:
            config = await self._load.read()
        except ConfigErrors as exc:
            log.error("reload refused, nothing has been changed: %s", "; ".join(map(str, exc.problems)))
            raise CommandError(Fault.CANT_REREAD, str(exc)) from None
        finally:
            self.amid = ""
        if self._supervisor.state is not DaemonState.RUNNING:
            raise CommandError(Fault.SHUTDOWN_STATE)
        self._supervisor.enter(DaemonState.RESTARTING)
        self._task = renewal = self._loop.create_task(self._renew(config))
        if wait:
            await asyncio.wait([renewal])
            if renewal.cancelled():
                raise CommandError(Fault.SHUTDOWN_STATE)
            renewal.result()
            if problems := self.unserved():
                raise CommandError(Fault.FAILED, f"everything has been started anew, but {'; '.join(problems)}")

    async def _renew(self, config: Config) -> None:
        supervisor = self._supervisor
        again = {(group.name, one.name) for group in config.groups for one in group.processes if one.autostart}
        owing = [process for process in supervisor.processes() if (process.group, process.name) in again]
        with supervisor.sockets.kept(supervisor.processes()), owed(supervisor, owing):
            await self._stop_everything()
            for name, group in list(supervisor.groups.items()):
                if any(process.state is State.UNKNOWN for process in group.processes.values()):
                    log.error("%s: has problems; it stays as it was", name)  # and gets no second copy beside it
                else:
                    supervisor.remove_group(name)
            try:
                await self._apply(config)
            except Exception:  # whatever it is: nothing runs at present, and that has to end
                log.critical("the daemon itself could not follow its new configuration", exc_info=True)
            self._task = None
            self.begin(config)

    async def _stop_everything(self) -> None:
        """Level after level, the highest priority first, listeners last; within a level all at once (B2, B3)."""
        supervisor, timeout = self._supervisor, self.config.daemon.shutdown_timeout if self.config else None
        for name in supervisor.memory.dismissed:  # first: whoever comes next begins with all that is configured
            supervisor.memory.readmit(name)
        everything = namespec.in_starting_order(supervisor.groups, supervisor.processes())
        notices = self._loop.create_task(self._watch_them_die(everything))
        try:
            async with asyncio.timeout(timeout):
                for (listens, _), level in groupby(sorted(everything, key=self._level), key=self._level):
                    members = list(level)
                    if listens:
                        await self._let_them_finish(members)
                    await supervisor.stop(members)
        except TimeoutError:
            log.warning("shutdown_timeout is over after %g seconds, killing what is left", timeout)
            for process in everything:
                supervisor.tell(process, Stop())
                if process.state is State.STOPPING and process.machine.kills == 0:
                    supervisor.tell(process, Timeout())
            await supervisor.stop(everything)
        finally:
            notices.cancel()

    def _level(self, process: Process) -> tuple[bool, int]:
        return process.config.kind == "eventlistener", -self._supervisor.groups[process.group].config.priority

    async def _let_them_finish(self, members: Iterable[Process]) -> None:
        """Event listeners may still deal with what they have not been told yet, if they are quick."""
        listeners = [process.wiring for process in members if isinstance(process.wiring, Listener)]
        until = self._loop.time() + LAST_EVENTS
        while self._loop.time() < until and not all(listener.up_to_date for listener in listeners):
            await asyncio.sleep(0.01)

    async def _watch_them_die(self, everything: Iterable[Process]) -> None:
        """Say what is still there, at once and every DIE_NOTICE seconds, in supervisord's words and order."""
        while names := [process.name for process in everything if not process.at_rest]:
            log.info("waiting for %s to die", ", ".join(names))
            await asyncio.sleep(DIE_NOTICE)
