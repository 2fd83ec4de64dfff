"""The supervisor: groups of processes, their machines, the queue of events, the timers, and the effects."""

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from supervise.config.model import GroupConfig, ProgramConfig
from supervise.core.events import (
    Changed,
    DaemonChanged,
    DaemonState,
    Effect,
    Event,
    Exited,
    GroupAdded,
    GroupRemoved,
    Kill,
    SignalFailed,
    Spawn,
    Spawned,
    SpawnFailed,
    Start,
    State,
    StateChanged,
    Stop,
    Sweep,
    Swept,
    Timeout,
)
from supervise.core.process import ProcessMachine
from supervise.core.story import describe_exit, story
from supervise.daemon.bus import Bus
from supervise.daemon.logs import Logs
from supervise.daemon.process import Exit, Group, Process
from supervise.system.environment import environment
from supervise.system.reap import Reaper
from supervise.system.spawn import SpawnError, lookup, spawn
from supervise.system.tree import Sweeper

log = logging.getLogger("supervise")

SPAWN_SLICE = 0.005  # seconds of spawning at a time, before the loop may look at other things


class Supervisor:
    """All active groups. Everything here runs in the loop's thread."""

    def __init__(self, logs: Logs, reaper: Reaper, bus: Bus) -> None:
        self.logs, self.bus = logs, bus
        self.groups: dict[str, Group] = {}
        self.state = DaemonState.RUNNING
        self.serverurl: str | None = None  # what children get as SUPERVISOR_SERVER_URL when theirs is AUTO
        self._reaper = reaper
        self._loop = asyncio.get_running_loop()
        self._events: deque[tuple[Process, Event]] = deque()
        self._draining = False
        self._spawns: deque[Process] = deque()

    # Groups

    def add_group(self, config: GroupConfig) -> Group:
        """Make a group active, with all its processes STOPPED."""
        group = Group(config, {})
        self.groups[config.name] = group
        for program in config.processes:
            self.add_process(group, program)
        self.bus.publish(GroupAdded(config.name))
        return group

    def add_process(self, group: Group, config: ProgramConfig) -> Process:
        """Add one process, STOPPED, to an active group."""
        process = Process(ProcessMachine(config), self.logs.open(config), group.name)
        group.processes[config.name] = process
        return process

    def remove_process(self, group: Group, name: str) -> None:
        """Forget a process that is at rest."""
        self._release(group.processes.pop(name))

    def remove_group(self, name: str) -> None:
        """Forget a group whose processes are all at rest."""
        for process in self.groups.pop(name).processes.values():
            self._release(process)
        self.bus.publish(GroupRemoved(name))

    def _release(self, process: Process) -> None:
        if process.timer is not None:
            process.timer.cancel()
        process.logs.close()
        for _, waiter in process.waiters:
            if not waiter.done():
                waiter.set_result(None)

    def processes(self) -> Iterator[Process]:
        """Iterate over all processes, group by group."""
        for group in self.groups.values():
            yield from group.processes.values()

    def enter(self, state: DaemonState) -> None:
        """Change the daemon's own state, and say so."""
        self.state = state
        self.bus.publish(DaemonChanged(state))

    def autostart(self, processes: Iterable[Process]) -> None:
        """Start those that are configured to start by themselves, in ascending priority."""
        for process in sorted(processes, key=lambda process: (self._priority(process), process.config.priority)):
            if process.config.autostart:
                self.tell(process, Start())

    def _priority(self, process: Process) -> int:
        return self.groups[process.group].config.priority

    # Events

    def tell(self, process: Process, event: Event) -> None:
        """Let something happen to a process. Never raises: what goes wrong stays with that process."""
        self._events.append((process, event))
        if self._draining:
            return
        self._draining = True
        try:
            while self._events:
                current, next_event = self._events.popleft()
                try:
                    self._take(current, next_event)
                except Exception:  # the one place: a fault of ours must not reach other programs
                    log.critical("internal error: %s in %r", next_event, current.machine, exc_info=True)
        finally:
            self._draining = False

    def _take(self, process: Process, event: Event) -> None:
        machine = process.machine
        before, pid = machine.state, machine.pid
        effects = machine.step(event, self._loop.time())
        for level, text in story(machine, before, pid, event, effects):
            log.log(level, "%s", text)
        if isinstance(event, Exited):
            self._record(process, event, effects)
        for effect in effects:
            if isinstance(effect, Spawn) and before is not State.STOPPING and not isinstance(event, Start | Stop):
                process.restarts += 1
            self._perform(process, pid, effect)
        self._arm(process)
        for waiter in [waiter for waiter in process.waiters if waiter[0]()]:
            process.waiters.remove(waiter)
            if not waiter[1].done():
                waiter[1].set_result(None)

    def _arm(self, process: Process) -> None:
        deadline = process.machine.deadline
        if process.timer is not None:
            if process.timer.when() == deadline and not process.timer.cancelled():
                return
            process.timer.cancel()
            process.timer = None
        if deadline is not None:
            process.timer = self._loop.call_at(deadline, self._timeout, process)

    def _timeout(self, process: Process) -> None:
        process.timer = None
        self.tell(process, Timeout())

    def _record(self, process: Process, event: Exited, effects: Iterable[Effect]) -> None:
        process.stopped = time.time()
        if process.child is not None and process.child.stdin is not None:
            process.child.stdin.close()
        process.child = None
        exits = [effect for effect in effects if isinstance(effect, Changed) and effect.old is not State.STARTING]
        expected = bool(exits) and exits[0].expected
        uptime = max(0.0, process.stopped - process.started)
        lines = process.logs.last_lines()
        process.exits.append(Exit(process.stopped, event.status, describe_exit(event), expected, uptime, lines))

    # Effects

    def _perform(self, process: Process, pid: int | None, effect: Effect) -> None:
        match effect:
            case Spawn():
                if not self._spawns:
                    self._loop.call_soon(self._spawn_some)
                self._spawns.append(process)
            case Kill(signal=sig, group=group):
                self._kill(process, pid, sig, group)
            case Sweep(sid=sid, signal=sig):
                self._sweep(process, sid, sig)
            case Changed():
                self._publish(process, pid, effect)

    def _publish(self, process: Process, pid: int | None, change: Changed) -> None:
        if process.sweeper is not None and change.new is not State.STOPPING:
            process.leftovers = process.sweeper.close()
            process.sweeper = None
            if process.leftovers:
                log.warning("%s left processes behind that do not end: %s", process.namespec, process.leftovers)
        notification = StateChanged(
            group=process.group,
            name=process.name,
            old=change.old,
            new=change.new,
            expected=change.expected,
            tries=process.machine.attempts,
            pid=pid or process.machine.pid or 0,
            at=time.time(),
        )
        self.bus.publish(notification)

    def _spawn_some(self) -> None:
        """Spawn what is queued, for a few milliseconds at a time: a thousand starts must not stall the loop."""
        until = self._loop.time() + SPAWN_SLICE
        while self._spawns:
            self._spawn(self._spawns.popleft())
            if self._loop.time() > until:
                break
        if self._spawns:
            self._loop.call_soon(self._spawn_some)

    def _spawn(self, process: Process) -> None:
        if self.state is not DaemonState.RUNNING:  # supervisord starts nothing during shutdown or restart
            self.tell(process, Stop())
            self.tell(process, SpawnFailed("the daemon is ending"))
            return
        config = process.config
        try:
            filename, argv = lookup(config, os.environ.get("PATH"))
            env = environment(config, os.environ, self.serverurl)
            with process.logs.pipes() as ends:
                child = spawn(config, filename, argv, env, stdout=ends.stdout, stderr=ends.stderr)
        except (SpawnError, OSError, ValueError) as exc:
            self.tell(process, SpawnFailed(str(exc)))
            return
        process.child = child
        process.started = time.time()
        process.leftovers = ()
        process.logs.started(child.pid)
        self.tell(process, Spawned(child.pid))
        self._reaper.watch(child.pid, lambda status, core: self._ended(process, status, core))

    def _ended(self, process: Process, status: int | None, core: bool) -> None:
        """The process is gone; what it wrote comes first (B7), and only then is its end told."""
        process.logs.drain(lambda: self.tell(process, Exited(status, core)))

    def _kill(self, process: Process, pid: int | None, sig: int, group: bool) -> None:
        # Our own child keeps its pid until we reap it in this very thread, so the pid cannot be another's.
        if pid is None:
            return
        try:
            (os.killpg if group else os.kill)(pid, sig)
        except ProcessLookupError:
            pass  # it has ended, and `Exited` is on its way
        except OSError as exc:
            self.tell(process, SignalFailed(f"signal {sig} could not be sent to {pid}: {exc.strerror}"))

    def _sweep(self, process: Process, sid: int, sig: int) -> None:
        if process.sweeper is None:
            process.sweeper = Sweeper(sid, lambda: self.tell(process, Swept()))
        process.sweeper.signal(sig)

    # Waiting

    async def until(self, process: Process, reached: Callable[[], bool]) -> None:
        """Wait until `reached()` holds after some event of `process`, or the process is removed."""
        if reached():
            return
        waiter = (reached, self._loop.create_future())
        process.waiters.append(waiter)
        try:
            await waiter[1]
        finally:
            if waiter in process.waiters:
                process.waiters.remove(waiter)

    async def stop(self, processes: Iterable[Process]) -> None:
        """Stop these at once, the highest priority signalled first, and wait until all are at rest."""
        ordered = sorted(processes, key=lambda process: process.config.priority, reverse=True)
        for process in ordered:
            self.tell(process, Stop())
        for process in ordered:
            await self.until(process, lambda process=process: process.at_rest)  # type: ignore[misc]
