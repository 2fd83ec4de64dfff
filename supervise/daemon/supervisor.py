"""The supervisor: groups of processes, their machines, the queue of events, the timers, and the effects."""

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial

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
    Stop,
    Sweep,
    Swept,
    Timeout,
)
from supervise.core.process import ProcessMachine
from supervise.core.story import describe_exit, story
from supervise.daemon.bus import Bus
from supervise.daemon.logs import Logs
from supervise.daemon.memory import Memory, fingerprint, is_alive, is_outdated, restore
from supervise.daemon.process import Exit, Group, Process
from supervise.daemon.sockets import Sockets
from supervise.daemon.spawning import Spawning
from supervise.daemon.trees import Trees
from supervise.system.activation import Slots
from supervise.system.adopted import Adopted, parent_of
from supervise.system.handover import Handover, name_of
from supervise.system.journal import start_time
from supervise.system.reap import Reaper
from supervise.system.spawn import Child, SpawnError

log = logging.getLogger("supervise")


class Supervisor:
    """All active groups. Everything here runs in the loop's thread."""

    def __init__(
        self, logs: Logs, reaper: Reaper, bus: Bus, memory: Memory | None = None, slots: Slots | None = None
    ) -> None:
        self.logs, self.bus = logs, bus
        self.memory = memory or Memory(None, Handover())
        self.sockets = Sockets(slots, self.memory.handover)
        self.groups: dict[str, Group] = {}
        self.state = DaemonState.RUNNING
        self.serverurl: str | None = None  # what children get as SUPERVISOR_SERVER_URL when theirs is AUTO
        self._reaper = reaper
        self._loop = asyncio.get_running_loop()
        self._events: deque[tuple[Process, Event]] = deque()
        self._draining = False
        self._together, self._left = False, list[Process]()  # what a daemon before us left, and is not taken up yet
        self.trees = Trees(self.memory.identity, lambda process: self.tell(process, Swept()))
        self.spawning = Spawning(logs, self.memory, self.sockets, self.trees, reaper, self._spawn)
        self.heard: Callable[[str], bool] = lambda _: False  # whether an event listener has asked for that type
        self.wirers: list[Callable[[Group], None]] = []  # called when a group's members or options have changed

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
        record = self.memory.recall(group.name, config.name)
        process = Process(ProcessMachine(config), self.logs.open(config, record and record.get("auto")), group.name)
        group.processes[config.name] = process
        self.regroup(group)
        if record is not None:
            restore(process, record, self.memory.handover)
            self._left.append(process)
            if not self._together:
                self._take_up()
        return process

    @contextmanager
    def together(self) -> Iterator[None]:
        """Inside, groups are added of which each may hear what has become of the others' processes meanwhile."""
        self._together = True
        try:
            yield
        finally:
            self._together = False
            self._take_up()

    def regroup(self, group: Group) -> None:
        """The members or the options of a group have changed: have those look who set their `wiring`."""
        for look in self.wirers:
            look(group)

    def remove_process(self, group: Group, name: str) -> None:
        """Forget a process that is at rest."""
        self._release(group.processes.pop(name))

    def remove_group(self, name: str) -> None:
        """Forget a group whose processes are all at rest."""
        for process in self.groups.pop(name).processes.values():
            self._release(process)
        self.bus.publish(GroupRemoved(name))

    def _release(self, process: Process) -> None:
        process.removed = True
        if process.timer is not None:
            process.timer.cancel()
        if process.adopted is not None:
            process.adopted.close()
        self.memory.forget(process.group, process.name)
        if process.wiring is not None:
            process.wiring.close()
        self.sockets.release(process)
        self.trees.forget(process)
        process.logs.close()
        process.wake()

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
                if current.removed:  # by one client, while another one was about to order something
                    continue
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
            self._record(process, event, before, effects)
        process.owed = process.owed and not (isinstance(event, Start) and self.state is DaemonState.RUNNING)
        changes = [effect for effect in effects if isinstance(effect, Changed) and self.heard(effect.type)]
        process.untold = tuple(process.notification(change, pid) for change in changes)
        self.memory.remember(process)  # before anything is done about it
        for effect in effects:
            if isinstance(effect, Spawn) and before is not State.STOPPING and not isinstance(event, Start | Stop):
                process.restarts += 1
            self._perform(process, pid, effect)
        if process.untold:
            process.untold = ()
            self.memory.remember(process)  # listeners have been told
        self._arm(process)
        process.wake()

    def _arm(self, process: Process) -> None:
        self.sockets.follow(process)
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

    def _record(self, process: Process, event: Exited, before: State, effects: Iterable[Effect]) -> None:
        process.stopped = time.time()
        if process.child is not None and (stdin := process.child.stdin) is not None:
            self.memory.handover.release(stdin.kept)
            stdin.close()
        if process.child is not None:
            self.memory.handover.dismiss(process.child.pid, process.start_time)
        process.child = process.adopted = None
        exits = [effect.expected for effect in effects if isinstance(effect, Changed) and effect.new is State.EXITED]
        expected = any(exits) or before is State.STOPPING  # else it is a failed start
        uptime = max(0.0, process.stopped - process.started)
        lines = process.logs.last_lines()
        process.add_exit(Exit(process.stopped, event.status, describe_exit(event), expected, uptime, lines))

    # Effects

    def _perform(self, process: Process, pid: int | None, effect: Effect) -> None:
        match effect:
            case Spawn():
                self.spawning.add(process)
            case Kill(signal=sig, group=group):
                self._kill(process, pid, sig, group)
            case Sweep(sid=sid, signal=sig):
                self.trees.sweep(process, sid, sig)
            case Changed():
                self._publish(process, pid, effect)

    def _publish(self, process: Process, pid: int | None, change: Changed) -> None:
        self.trees.settle(process, change.new, pid)
        self.bus.publish(process.notification(change, pid))

    def _spawn(self, process: Process) -> None:
        if self.state is not DaemonState.RUNNING:  # supervisord starts nothing during shutdown or restart
            self.tell(process, Stop())
            self.tell(process, SpawnFailed("the daemon is ending"))
            return
        try:
            child, start = self.spawning.start(process, self.serverurl)
        except (SpawnError, OSError, ValueError) as exc:
            self.tell(process, SpawnFailed(str(exc)))
            return
        self._spawned(process, child, start)
        self._reaper.watch(child.pid, lambda status, core: self._ended(process, status, core))

    def _spawned(self, process: Process, child: Child, start: int | None) -> None:
        process.child, process.start_time, process.reaped = child, start, False
        self.memory.handover.entrust(child.pid, process.start_time)
        if child.stdin is not None and child.stdin.kept >= 0:
            self.memory.handover.hold(child.stdin.kept, name_of(child.stdin.kept, "stdin"))
        process.started, process.made_from = time.time(), fingerprint(process.config)
        process.leftovers = ()
        process.logs.started(child.pid)
        self.tell(process, Spawned(child.pid))

    def _watch(self, process: Process, pid: int) -> None:
        if parent_of(pid) == os.getpid():
            self._reaper.watch(pid, lambda status, core: self._ended(process, status, core))
            return
        try:
            start, handover = process.start_time or 0, self.memory.handover
            process.adopted = Adopted(pid, start, lambda status, core: self._ended(process, status, core), handover)
        except OSError:  # it has just gone
            self._ended(process, None, False)

    def _ended(self, process: Process, status: int | None, core: bool) -> None:
        """The process is gone; what it wrote comes first (B7), and only then is its end told."""
        if process.wiring is not None:
            process.wiring.ended()
        failure, process.failure, process.reaped = process.failure, "", True
        process.logs.drain(lambda: self.tell(process, Exited(status, core, failure)))

    def _kill(self, process: Process, pid: int | None, sig: int, group: bool) -> None:
        try:
            self.send(process, sig, group)
        except ProcessLookupError:
            pass  # it has ended, and `Exited` is on its way
        except OSError as exc:
            self.tell(process, SignalFailed(f"signal {sig} could not be sent to {pid}: {exc.strerror}"))

    def send(self, process: Process, sig: int, group: bool = False) -> None:
        """Send a signal, never to another process than ours. Raises ProcessLookupError, OSError."""
        pid = process.machine.pid
        if pid is None or process.reaped:
            raise ProcessLookupError
        if process.adopted is not None:
            process.adopted.signal(sig, group)
        else:  # our own child keeps its pid until we reap it, which happens in this very thread
            (os.killpg if group else os.kill)(pid, sig)

    # After a daemon before us

    def _take_up(self) -> None:
        left, self._left = self._left, []
        for process in left:
            self._continue(process)

    def _continue(self, process: Process) -> None:
        """Take a restored process up where it stood: adopted, ended meanwhile, or about to be spawned."""
        machine = process.machine
        for change in process.untold:
            self.bus.publish(change)
        process.untold = ()
        self._arm(process)
        if machine.pid is None:
            if machine.state is State.STOPPING and machine.sweeping is not None:
                self.trees.sweep(process, machine.sweeping, machine.config.stopsignal)
            elif machine.state in (State.STARTING, State.STOPPING):
                self._find_or_spawn(process)  # which watches what it finds
            return
        if process.wiring is not None:
            process.wiring.adopt()
        if is_alive(process):
            self.trees.adopt(process)
            log.info("adopted: '%s' with pid %d", process.name, machine.pid)
            if is_outdated(process):
                log.warning("%s runs with options that have changed since: update restarts it", process.namespec)
            self._watch(process, machine.pid)
        else:
            log.warning("%s (pid %d) ended while no daemon was there", process.name, machine.pid)
            self._ended(process, *self.memory.handover.end_of(machine.pid, process.start_time))

    def _find_or_spawn(self, process: Process) -> None:
        """The daemon before us died in the middle of a spawn: there is a child, or there is none."""
        logged = process.logs.inodes()["stdout"]
        inode = process.wiring.stdout if process.wiring is not None else logged[0] if logged else None
        pid = self.memory.handover.leader_with(inode) if inode is not None else None
        if pid is not None:
            log.info("adopted: '%s' with pid %d, which was just being spawned", process.name, pid)
            self._spawned(process, Child(pid, None), start_time(pid))
            if process.wiring is not None:
                process.wiring.adopt()
            self.trees.adopt(process)
            self._watch(process, pid)
        elif process.state is State.STARTING:
            self._perform(process, None, Spawn())
        else:
            self.tell(process, SpawnFailed("the daemon ended before it was spawned"))

    async def stop(self, processes: Iterable[Process]) -> None:
        """Stop these at once, the highest priority signalled first, and wait until all are at rest."""
        pending = ordered = sorted(processes, key=lambda process: process.config.priority, reverse=True)
        while pending:
            for process in pending:
                self.tell(process, Stop())
            for process in pending:
                await process.until(partial(getattr, process, "at_rest"))
            pending = [process for process in ordered if not process.at_rest]  # somebody has started it again
