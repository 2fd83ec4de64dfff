"""Start, stop, restart and signal, for any number of processes at once, each with its own Result."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from supervise.config.values import signal_number
from supervise.core.events import RUNNING_STATES, Start, State, Stop
from supervise.core.story import signal_name
from supervise.daemon import namespec
from supervise.daemon.info import Result, result
from supervise.daemon.owed import owed
from supervise.daemon.process import Process
from supervise.daemon.slices import at_once
from supervise.daemon.supervisor import Supervisor
from supervise.errors import CommandError, Fault
from supervise.system.spawn import SpawnError, lookup

log = logging.getLogger("supervise")

STOP_NOTICE = 2.0  # seconds between the lines "waiting for NAME to stop" (supervisord)
SIGNALLABLE = frozenset({State.STARTING, State.RUNNING, State.STOPPING})


class Control:
    """The verbs that change what processes do. Orders to one process are serialised by its machine (B27)."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._restarts = 0  # of everything, that are under way

    async def each(
        self, action: str, specs: Sequence[str], act: Callable[[Process], Awaitable[Result]]
    ) -> list[Result]:
        """Run `act` on every process that `specs` mean, all at the same time; results in the order asked for."""
        chosen, unknown = self._choose(specs)
        results = await at_once(act, chosen)
        return [*results, *(unknown_name(action, spec) for spec in unknown)]

    def _choose(self, specs: Iterable[str]) -> tuple[list[Process], list[str]]:
        chosen: dict[int, Process] = {}
        unknown = []
        for spec in specs:
            try:
                chosen |= {id(process): process for process in namespec.select(self._supervisor.groups, spec)}
            except CommandError:
                unknown.append(spec)
        return list(chosen.values()), unknown

    # Start

    async def start(self, specs: Sequence[str], wait: bool, now: bool) -> list[Result]:
        """See `Commands.start`."""
        return await self.each("start", specs, lambda process: self._start(process, wait, now))

    async def _start(self, process: Process, wait: bool, now: bool) -> Result:
        """supervisord's order of checks: the command, then the state, then the spawn, then an early death."""
        group = self._supervisor.groups.get(process.group)
        if group is None or group.processes.get(process.name) is not process:  # removed since it was chosen
            return result("start", process, Fault.BAD_NAME)
        try:
            lookup(process.config, os.environ.get("PATH"))
        except SpawnError as exc:
            return result("start", process, exc.kind, str(exc))
        machine = process.machine
        if machine.state in RUNNING_STATES and not (now and machine.state is State.BACKOFF):
            return result("start", process, Fault.ALREADY_STARTED)
        if machine.state is State.UNKNOWN:
            return result("start", process, Fault.FAILED, f"{process.namespec} is in an unknown process state")
        self._supervisor.tell(process, Start())
        return await self._started(process, wait)

    async def _started(self, process: Process, wait: bool) -> Result:
        """How a start goes that has been ordered: with `wait` up to RUNNING, else up to the spawn.

        Without `wait`, a start that has to follow a stop is not waited for: that may take stopwaitsecs.
        """
        machine = process.machine

        def settled() -> bool:
            if machine.state is State.STARTING:
                return not wait and machine.pid is not None
            return machine.state is not State.STOPPING or not wait

        await process.until(settled)
        if process.removed:
            return result("start", process, Fault.BAD_NAME, process.namespec)
        if machine.state in (State.STARTING, State.RUNNING, State.EXITED, State.STOPPING):  # EXITED: it was RUNNING
            return result("start", process)
        return result("start", process, Fault.SPAWN_ERROR if machine.reason else Fault.ABNORMAL_TERMINATION)

    # Stop

    async def stop(self, specs: Sequence[str], wait: bool) -> list[Result]:
        """See `Commands.stop`."""
        if list(specs) != [namespec.ALL]:
            return await self.each("stop", specs, lambda process: self._stop(process, wait))
        return await self._stop_all(self._choose(specs)[0], wait)

    async def _stop_all(self, processes: Sequence[Process], wait: bool) -> list[Result]:
        """Descending priority, listeners when all others have stopped (B3)."""
        order = namespec.in_starting_order(self._supervisor.groups, processes)[::-1]
        results: list[Result] = []
        for level in ([p for p in order if not is_listener(p)], [p for p in order if is_listener(p)]):
            results += await at_once(lambda process: self._stop(process, wait), level)
        return results

    async def _stop(self, process: Process, wait: bool) -> Result:
        if process.at_rest and process.state is not State.UNKNOWN:
            return result("stop", process, Fault.NOT_RUNNING)
        self._supervisor.tell(process, Stop())
        return await self._stopped(process, wait)

    async def _stopped(self, process: Process, wait: bool) -> Result:
        while wait:
            try:
                async with asyncio.timeout(STOP_NOTICE):
                    await process.until(lambda: process.state is not State.STOPPING)
                break
            except TimeoutError:
                log.info("waiting for %s to stop", process.name)
        if process.state is State.UNKNOWN:
            return result("stop", process, Fault.FAILED, f"{process.namespec}: {process.machine.reason}")
        return result("stop", process)

    # Restart

    async def restart(self, specs: Sequence[str], wait: bool, only_running: bool) -> list[Result]:
        """See `Commands.restart`."""
        chosen, unknown = self._choose(specs)
        if only_running:
            chosen = [process for process in chosen if process.state in RUNNING_STATES]
        if list(specs) == [namespec.ALL]:
            again = owed(self._supervisor, chosen)
            with self._supervisor.sockets.kept(chosen), self._nobody_upgrading(), again:
                stops = await self._stop_all(chosen, wait=True)
                starts = await at_once(lambda process: self._start(process, wait, now=True), chosen)
            return [*stops, *starts]

        pairs = await at_once(lambda process: self._restart(process, wait), chosen)
        unknowns = [unknown_name(action, spec) for action in ("stop", "start") for spec in unknown]
        return [*(stop for stop, _ in pairs), *(start for _, start in pairs), *unknowns]

    @contextmanager
    def _nobody_upgrading(self) -> Iterator[None]:
        """Inside, somebody waits to be told how it went, whom an upgrade would cut off."""
        self._restarts += 1
        try:
            yield
        finally:
            self._restarts -= 1

    @property
    def amid(self) -> str:
        """What an upgrade would leave half done; "" if there is nothing."""
        return "a restart of everything" if self._restarts else ""

    async def _restart(self, process: Process, wait: bool) -> tuple[Result, Result]:
        """Up again as soon as it is down, whatever the others do; the machine itself remembers that it is to be."""
        if process.at_rest:
            return result("stop", process, Fault.NOT_RUNNING), await self._start(process, wait, now=True)
        self._supervisor.tell(process, Stop(restart=True))
        stopped = await self._stopped(process, wait=True)
        return stopped, await self._started(process, wait)

    # Signal

    async def signal(self, specs: Sequence[str], signal: str | int) -> list[Result]:
        """See `Commands.signal`."""

        several = any(spec == namespec.ALL or not namespec.is_single(spec) for spec in specs)

        async def send(process: Process) -> Result:
            if several and process.state not in SIGNALLABLE:  # supervisord asks a group only for who can be signalled
                return result("signal", process, Fault.NOT_RUNNING)
            try:
                number = signal_number(str(signal))
            except ValueError:
                return result("signal", process, Fault.BAD_SIGNAL, str(signal))
            return self._signal(process, number)

        return await self.each("signal", specs, send)

    def _signal(self, process: Process, number: int) -> Result:
        pid = process.machine.pid
        if pid is None or process.state not in SIGNALLABLE:
            return result("signal", process, Fault.NOT_RUNNING)
        log.debug("sending %s (pid %d) sig %s", process.name, pid, signal_name(number))
        try:
            self._supervisor.send(process, number)
        except ProcessLookupError:  # it has just ended, which is about to be told
            return result("signal", process, Fault.NOT_RUNNING)
        except OSError as exc:
            return result("signal", process, Fault.FAILED, f"{process.namespec}: {exc.strerror}")
        return result("signal", process)


def unknown_name(action: str, spec: str) -> Result:
    """The Result for a name that means nothing."""
    group, _, name = spec.partition(":")
    return Result(action, group, name or group, Fault.BAD_NAME, str(CommandError(Fault.BAD_NAME, spec)))


def is_listener(process: Process) -> bool:
    """Whether it is a member of an event listener pool."""
    return process.config.kind == "eventlistener"
