"""Every operator's verb, once. XML-RPC, JSON and the command line translate to these and back.

A verb over several processes answers with one `Result` each and never raises for a single one; it raises
`CommandError` only where the whole request is refused. All of it runs in the loop's thread.
"""

import asyncio
import logging
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from operator import attrgetter
from typing import Protocol

from supervise import __version__
from supervise.config.diff import Diff, of_the_daemon
from supervise.config.model import Config
from supervise.config.show import as_json
from supervise.core.events import DaemonState, PluginEvent, RemoteCommunication, State
from supervise.daemon import namespec, reading
from supervise.daemon.bus import Subscription
from supervise.daemon.control import Control
from supervise.daemon.explain import explain
from supervise.daemon.info import ConfigInfo, DaemonInfo, Facts, Moment, ProcessInfo, Result, describe, facts, result
from supervise.daemon.lifecycle import Lifecycle
from supervise.daemon.process import Process
from supervise.daemon.reading import Log, LogItem
from supervise.daemon.stdinqueue import StdinQueues
from supervise.daemon.supervisor import Supervisor
from supervise.daemon.update import Step, Updater
from supervise.errors import CommandError, Fault, NeverError, NotInTimeError

log = logging.getLogger("supervise")

SUPERVISOR_VERSION = "4.3.0"  # the dialect we speak: what `getSupervisorVersion` answers
API_VERSION = "3.0"
_BY_NAME = attrgetter("group", "machine.config.name")


class Upgrader(Protocol):
    """Replaces the daemon's code when called. `problem`: why the last attempt failed late, or ""."""

    problem: str

    async def __call__(self, amid: Callable[[], str]) -> None: ...


class Commands:
    """The verbs. `lifecycle` and `updater` hold the longer stories: ending, reloading, updating."""

    def __init__(self, supervisor: Supervisor, lifecycle: Lifecycle, updater: Updater) -> None:
        self.supervisor, self._lifecycle, self._updater = supervisor, lifecycle, updater
        self._control = Control(supervisor)
        self.stdins = StdinQueues(supervisor.memory.directory)
        self._loop = asyncio.get_running_loop()
        self.pid = os.getpid()
        self.upgrader: Upgrader | None = None

    # What is

    @property
    def state(self) -> tuple[int, str]:
        """The daemon's state as supervisord numbers and names it; costs nothing."""
        return int(self.supervisor.state), self.supervisor.state.name

    @property
    def identifier(self) -> str:
        return self.config.daemon.identifier

    @property
    def config(self) -> Config:
        """The configuration as last read; groups may be active in an older form until `update`."""
        return self._updater.config

    def info(self, spec: str) -> ProcessInfo:
        """One process. Raises CommandError(BAD_NAME), also for a whole group."""
        return self._info(self._one(spec))

    def processes(self, specs: Sequence[str] = ()) -> list[ProcessInfo]:
        """All processes, or those that `specs` mean, sorted by group and name. Raises CommandError(BAD_NAME)."""
        at = self.moment()
        return [describe(known, at) for known in self.facts(specs)]

    def facts(self, specs: Sequence[str] = ()) -> list[Facts]:
        """What `processes` are described from at a `moment`: the same objects until something else has changed."""
        groups = self.supervisor.groups
        named = {id(process): process for spec in specs for process in self._select(spec)}.values()
        chosen = named if specs else self.supervisor.processes()
        return [facts(p, groups[p.group].config.priority) for p in sorted(chosen, key=_BY_NAME)]

    def moment(self) -> Moment:
        """Now."""
        return Moment(time.time(), self._loop.time())

    def explain(self, spec: str) -> dict[str, object]:
        """Why a process is in its state, what happened before, what happens next: JSON-ready."""
        process = self._one(spec)
        return explain(process, self._info(process))

    def config_info(self) -> list[ConfigInfo]:
        """Every process of the configuration as last read, sorted by name (getAllConfigInfo)."""
        groups = self.supervisor.groups
        found = [ConfigInfo(p, g.name, g.priority, g.name in groups) for g in self.config.groups for p in g.processes]
        return sorted(found, key=lambda item: (item.config.name, item.group))

    def effective_config(self) -> dict[str, object]:
        """The configuration as last read, as plain JSON values, with the file and line of each that was set."""
        return as_json(self.config)

    def daemon_info(self) -> DaemonInfo:
        """The daemon itself, and how many processes are in which state."""
        counts: dict[str, int] = {}
        for process in self.supervisor.processes():
            counts[process.state.name] = counts.get(process.state.name, 0) + 1
        return DaemonInfo(
            version=__version__,
            supervisor_version=SUPERVISOR_VERSION,
            api_version=API_VERSION,
            identification=self.identifier,
            statecode=self.state[0],
            statename=self.state[1],
            pid=self.pid,
            started=int(self._lifecycle.started),
            uptime=round(self._loop.time() - self._lifecycle.since, 3),
            config_file=self.config.file,
            counts=counts,
            problems=(*self._lifecycle.problems(), *self.not_in_force(), *self._upgrade_problems()),
        )

    def not_in_force(self) -> list[str]:
        """What the files say of the daemon itself that an update does not touch (B57): a sentence, or nothing."""
        begun = self._lifecycle.config
        found = of_the_daemon(begun, self.config) if begun is not None else []
        return [f"changed in the files, not in force before a reload or a restart: {', '.join(found)}"] if found else []

    def events(self) -> Subscription:
        """Subscribe to every change; a context manager and async iterator, bounded."""
        return self.supervisor.bus.subscribe()

    # Start, stop, signal

    async def start(self, specs: Sequence[str], *, wait: bool = True, now: bool = False) -> list[Result]:
        """Start processes in parallel; with `wait`, answer when each is RUNNING or has failed.

        A process in BACKOFF is "already started" (supervisord); with `now` its delay is cut short instead.
        """
        self._must_run()
        return await self._control.start(specs, wait, now)

    async def stop(self, specs: Sequence[str], *, wait: bool = True) -> list[Result]:
        """Stop processes in parallel; `all` goes by descending priority, event listeners last (B3)."""
        self._must_run()
        return await self._control.stop(specs, wait)

    async def restart(self, specs: Sequence[str], *, wait: bool = True, only_running: bool = False) -> list[Result]:
        """Stop and start each; the results of the stops come first. `only_running` leaves the others alone."""
        self._must_run()
        return await self._control.restart(specs, wait, only_running)

    async def signal(self, specs: Sequence[str], signal: str | int) -> list[Result]:
        """Send a signal, given by name or number, to the processes themselves (not to their groups)."""
        self._must_run()
        return await self._control.signal(specs, signal)

    async def wait_for(self, spec: str, goal: str, seconds: float) -> ProcessInfo:
        """Wait until a process is `running` or `stopped`. Raises NotInTimeError(FAILED) when it takes longer than
        `seconds`; NeverError when it is FATAL instead (SPAWN_ERROR), or cannot be ended (FAILED)."""
        if goal not in ("running", "stopped"):
            raise CommandError(Fault.BAD_ARGUMENTS, f"cannot wait for {goal!r}: only for running or stopped")
        process = self._one(spec)

        def reached() -> bool:
            running = process.state is State.RUNNING
            return running or process.state is State.FATAL if goal == "running" else process.at_rest

        try:
            async with asyncio.timeout(seconds):
                await process.until(reached)
        except TimeoutError:
            detail = f"{spec} is {process.state.name}, not {goal}, after {seconds:g} seconds"
            raise NotInTimeError(Fault.FAILED, detail) from None
        if process.removed:
            raise CommandError(Fault.BAD_NAME, spec)
        if process.state is State.UNKNOWN or (goal == "running" and process.state is not State.RUNNING):
            fault = Fault.FAILED if process.state is State.UNKNOWN else Fault.SPAWN_ERROR
            raise NeverError(fault, f"{spec} is {process.state.name}: {process.machine.reason}")
        return self._info(process)

    async def send_stdin(self, spec: str, data: bytes) -> None:
        """Write to a process's standard input; what it does not read at once waits, up to a bound.

        Raises CommandError: NOT_RUNNING, NO_FILE (it is closed, or not for that: an event listener's), FAILED (too
        much waits already; nothing of the data has been taken).
        """
        self._must_run()
        process = self._one(spec)
        pid, child = process.machine.pid, process.child
        if pid is None or child is None or process.state is State.STOPPING:
            raise CommandError(Fault.NOT_RUNNING, spec)
        if child.stdin is None:
            raise CommandError(Fault.NO_FILE, spec)
        try:
            await self.stdins.send(child.stdin, pid, data)
        except BlockingIOError as why:
            raise CommandError(Fault.FAILED, f"{spec} does not read its standard input: {why.strerror}") from None
        except OSError:
            raise CommandError(Fault.NO_FILE, spec) from None

    def has_group(self, name: str) -> bool:
        """Whether a group of exactly this name is active."""
        return name in self.supervisor.groups

    def send_event(self, event: RemoteCommunication | PluginEvent) -> None:
        """Publish an event of a client or a plugin."""
        self._must_run()
        self.supervisor.bus.publish(event)

    # Logs

    async def read_log(self, spec: str, channel: str, offset: int, length: int) -> bytes:
        """A slice of a process's log, or of the main log for spec "" (supervisord's readLog table).

        Raises CommandError: BAD_NAME, NO_FILE, BAD_ARGUMENTS, FAILED.
        """
        return await reading.read(self._source(spec, channel), offset, length)

    async def tail_log(self, spec: str, channel: str, offset: int, length: int) -> tuple[bytes, int, bool]:
        """The last bytes, the log's size, and whether some were skipped (tailProcessLog)."""
        return await reading.tail(self._source(spec, channel), offset, length)

    async def tail_lines(self, spec: str, channel: str, lines: int) -> bytes:
        """The last whole lines of a log. Raises CommandError like `read_log`."""
        return await reading.tail_lines(self._source(spec, channel), lines)

    async def follow(self, spec: str, channel: str, start_bytes: int = 1024) -> AsyncGenerator[LogItem, None]:
        """The end of a log, then what is written to it, through rotations. Raises CommandError before that."""
        return reading.follow(self._source(spec, channel), start_bytes)

    async def clear_logs(self, specs: Sequence[str]) -> list[Result]:
        """Truncate the logs of processes, running or not (B40)."""
        return await self._control.each("clear", specs, lambda p: on_logs("clear", p, p.logs.clear))

    async def rotate_logs(self, specs: Sequence[str]) -> list[Result]:
        """Rotate the logs of processes now."""
        return await self._control.each("rotate", specs, lambda p: on_logs("rotate", p, p.logs.rotate))

    async def clear_main_log(self) -> None:
        """Truncate the main log. Raises CommandError: NO_FILE, FAILED."""
        if self._lifecycle.main_log.path is None:
            raise CommandError(Fault.NO_FILE)
        try:
            await self._lifecycle.main_log.clear()
        except FileNotFoundError:
            raise CommandError(Fault.NO_FILE) from None
        except OSError as exc:
            raise CommandError(Fault.FAILED, str(exc)) from None

    def reopen_logs(self) -> None:
        """Reopen the main log and all child logs (USR2)."""
        self._lifecycle.reopen_logs()

    # Configuration

    async def reread(self) -> Diff:
        """Read the configuration anew and tell which groups differ. Raises CommandError(CANT_REREAD)."""
        self._must_run()
        found = await self._updater.reread()
        self._tell_what_waits()
        return found

    async def update(self, groups: Sequence[str] = (), *, dry_run: bool = False) -> list[Step]:
        """Reread, and make the active groups (or only `groups`) what the files say. Raises CommandError."""
        self._must_run()
        steps = await self._updater.update(groups, dry_run=dry_run)
        return [*steps, *(Step("note", "", None, text) for text in self._tell_what_waits())]

    async def add(self, group: str) -> None:
        """Make a configured group active. Raises CommandError: BAD_NAME, ALREADY_ADDED."""
        self._must_run()
        self._updater.add(group)

    async def remove(self, group: str) -> None:
        """Forget a group that is at rest. Raises CommandError: BAD_NAME, STILL_RUNNING."""
        self._must_run()
        self._updater.remove(group)

    # The daemon

    def shutdown(self) -> None:
        """Begin to shut down; `Lifecycle.ended` tells when it is done."""
        self._must_run()
        self._lifecycle.shutdown()

    async def reload(self, *, wait: bool = True) -> None:
        """Validate the configuration, then stop everything, and start anew from it; sockets stay open.

        Raises CommandError(CANT_REREAD) with every problem, having changed nothing (B1).
        Without `wait`, returns when the restart has begun; with it, raises FAILED if all runs but a server is not open.
        """
        self._must_run()
        await self._lifecycle.reload(wait=wait)

    async def upgrade(self) -> None:
        """Execute the code that is installed now in this daemon's place: pid, programs and sockets stay.

        Returns when that is certain to be tried, and no new call is answered before it is done (or has failed).
        Raises CommandError, having changed nothing: CANT_REREAD with what the new code or the configuration says,
        FAILED if that cannot be found out, or amid what would be left half done: an update, a reload, a restart of
        everything.
        """
        self._must_run()
        if self.upgrader is None:
            raise CommandError(Fault.FAILED, "this daemon cannot be upgraded")
        await self.upgrader(lambda: self._updater.amid or self._lifecycle.amid or self._control.amid)

    # Within

    def _tell_what_waits(self) -> list[str]:
        for problem in (problems := self.not_in_force()):
            log.warning(problem)
        return problems

    def _must_run(self) -> None:
        if self.supervisor.state is not DaemonState.RUNNING:
            raise CommandError(Fault.SHUTDOWN_STATE)

    def _upgrade_problems(self) -> tuple[str, ...]:
        return (self.upgrader.problem,) if self.upgrader and self.upgrader.problem else ()

    def _select(self, spec: str) -> list[Process]:
        return namespec.select(self.supervisor.groups, spec)

    def _one(self, spec: str) -> Process:
        found = self._select(spec)
        if len(found) != 1 or not namespec.is_single(spec):
            raise CommandError(Fault.BAD_NAME, spec)
        return found[0]

    def _source(self, spec: str, channel: str) -> Log:
        if not spec:
            return self._lifecycle.main_log
        if channel not in ("stdout", "stderr"):
            raise CommandError(Fault.BAD_ARGUMENTS, f"there is no channel {channel!r}: only stdout and stderr")
        logs = self._one(spec).logs
        found = logs.stdout if channel == "stdout" else logs.stderr
        if found is None:
            raise CommandError(Fault.NO_FILE, f"{spec}: stderr goes where stdout goes")
        return found

    def _info(self, process: Process) -> ProcessInfo:
        return describe(facts(process, self.supervisor.groups[process.group].config.priority), self.moment())


async def on_logs(action: str, process: Process, act: Callable[[], Awaitable[object]]) -> Result:
    """Do something to a process's log files, and say how it went."""
    try:
        await act()
    except OSError as exc:
        return result(action, process, Fault.FAILED, f"{process.namespec}: {exc}")
    return result(action, process)
