"""Pools of event listeners: who is sent what, and what happens to events that nobody has dealt with.

Every event that some pool has asked for gets a serial and is encoded once; each pool queues it (`core.pool`), and hands
the oldest to the first of its members that runs and is ready. Nothing here waits for a listener.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from supervise.config.pools import EventLength, OnProtocolError
from supervise.core.events import (
    AT_REST,
    DaemonChanged,
    DaemonState,
    GroupRemoved,
    Notification,
    Output,
    State,
    StateChanged,
    Stop,
)
from supervise.core.listener import Token
from supervise.core.pool import Backlog, Item
from supervise.core.wire import PERIODS, Event, envelope, names, payload, subscribed
from supervise.daemon.eventlog import EventLog, forget_others
from supervise.daemon.failure import fail
from supervise.daemon.inlet import Inlet
from supervise.daemon.judge import Judge
from supervise.daemon.listeners import Listener
from supervise.daemon.process import Group, Process
from supervise.daemon.supervisor import Supervisor
from supervise.daemon.ticks import Ticks
from supervise.daemon.transit import Transit
from supervise.system.counter import Counter
from supervise.system.intent import Intent, Interrupted

log = logging.getLogger("supervise")

SERIAL = "serial"  # file name
SERIALS_LOST = "the serials of events would begin anew after the death of this daemon: %s"
REPEAT = 10.0  # seconds before another overflow of the same pool is told


class Pool:
    """One pool. Loop thread only."""

    def __init__(self, group: Group, supervisor: Supervisor, area: Intent | None) -> None:
        self.handover, self.area = supervisor.memory.handover, area
        self.log = EventLog(supervisor.memory.directory, group.name)
        self.backlog = Backlog(group.config.buffer_limit)
        self.backlog.resume(self.log.take_waiting(), self.log.poolserial)
        self.types = subscribed(group.config.events)
        self._group, self._supervisor = group, supervisor
        self._judge = Judge(group.config.result_handler, group.name)
        self._handler = group.config.result_handler
        self._loop = asyncio.get_running_loop()
        self._retry: asyncio.TimerHandle | None = None
        self._told_at = float("-inf")
        self._untold = 0

    def follow(self) -> None:
        """The group has other members or options."""
        config = self._group.config
        self.types = subscribed(config.events)
        self.backlog.max_events = config.buffer_limit
        if config.result_handler != self._handler:
            self._judge.close()
            self._handler = config.result_handler
            self._judge = Judge(self._handler, self._group.name)
        for process in self._group.processes.values():
            if process.wiring is None:
                process.wiring = Listener(process, self)

    def renew(self) -> None:
        """What an earlier daemon has left is taken up by now, as far as it can be: queue the events again that other
        listeners have had, and restart those that we cannot go on talking to."""
        talking = {name for name, process in self._group.processes.items() if _talks(process)}
        left = [self.log.unclaimed(name) for name in self.log.listeners if name not in talking]
        for item in sorted(filter(None, left), key=lambda item: -item.poolserial):
            self.backlog.put_back(item)
        for process in self._group.processes.values():
            if isinstance(process.wiring, Listener) and process.wiring.cut_off:
                log.warning("%s: restarting it, since it is not known what it was told last", process.name)
                self._supervisor.tell(process, Stop(restart=process.machine.wanted))
        self.dispatch()

    def close(self, *, forget: bool = True) -> None:
        """The group is forgotten, with all that waits; or left to the next daemon."""
        self.log.close(remove=forget)
        self._judge.close()
        if self._retry is not None:
            self._retry.cancel()

    @property
    def event_length(self) -> EventLength:
        """What the length in a header is to count."""
        return self._group.config.event_length

    def offer(self, event: Event) -> None:
        """Queue an event, and send it if somebody is ready."""
        item, replaced, given_up = self.backlog.put(event)
        self.log.put(item, replaced + given_up)
        if given_up:
            self._tell_overflow(given_up)
        self.dispatch()

    def _tell_overflow(self, items: list[Item]) -> None:
        """supervisord's line for the first, and then not more than one in REPEAT seconds."""
        self._untold += len(items)
        now = self._loop.time()
        if now >= self._told_at + REPEAT:
            more = f" ({self._untold - 1} others were discarded before)" if self._untold > 1 else ""
            serial = items[-1].event.serial
            log.error("pool %s event buffer overflowed, discarding event %d%s", self._group.name, serial, more)
            self._told_at, self._untold = now, 0

    # What listeners tell

    def dispatch(self) -> None:
        """Send what waits, as long as somebody is ready."""
        for process in list(self._group.processes.values()):
            listener = process.wiring
            if not isinstance(listener, Listener) or not listener.available:
                continue
            item = self.backlog.take(self._loop.time())
            if item is None:
                self._look_again()
                return
            listener.send(item, self.envelope(item, listener.characters))

    def steps(self, pipe: int) -> Sequence[Interrupted]:
        """What an earlier daemon had just read from a pipe."""
        return self._supervisor.logs.unfinished.of(pipe)

    def envelope(self, item: Item, characters: bool) -> bytes:
        """An event as it is sent to a listener."""
        name, server = self._group.name, self._supervisor.logs.identifier
        return envelope(item.event, pool=name, poolserial=item.poolserial, server=server, characters=characters)

    def _look_again(self) -> None:
        """The oldest event may not be sent yet."""
        due = self.backlog.due
        if due is not None and (self._retry is None or self._retry.when() != due):
            if self._retry is not None:
                self._retry.cancel()
            self._retry = self._loop.call_at(due, self.dispatch)

    def judge(self, item: Item, body: bytes, answer: Callable[[Token], None]) -> None:
        """Have a result judged. When the handler fails, the event is rejected; only supervisord's own way of dealing
        with it, if that is wanted, is to blame the listener."""
        tolerant = self._group.config.on_protocol_error is OnProtocolError.RESTART
        self._judge.judge(
            item.event, body, lambda token: answer(Token.REJECTED if token is Token.NOISE and tolerant else token)
        )

    def settled(self, item: Item, token: Token | None) -> None:
        """What became of an event."""
        if token is Token.ACCEPTED:
            return
        if token is Token.REJECTED:
            self.backlog.reject(item, self._loop.time())
        else:
            self.backlog.put_back(item)
        log.debug("rebuffering event %d for pool %s", item.event.serial, self._group.name)
        self._loop.call_soon(self.dispatch)

    def violated(self, process: Process, reason: str) -> None:
        """A listener is of no more use: it is restarted, or left alone for ever, as supervisord does."""
        if self._group.config.on_protocol_error is OnProtocolError.RESTART:
            log.warning("%s: ending it, so that it is restarted: %s", process.name, reason)
            fail(self._supervisor, process, f"it broke the event listener protocol: {reason}")


def _talks(process: Process) -> bool:
    return isinstance(process.wiring, Listener) and process.wiring.talks


def _open_serials(directory: str | None) -> Counter:
    """Serials outlive the pools: a reload makes all of them anew, and supervisord's serials go on then."""
    try:
        return Counter(f"{directory}/{SERIAL}" if directory is not None else None)
    except OSError as error:
        log.error(SERIALS_LOST, error)
        return Counter(None)


class Pools:
    """All pools, and what they listen to. Make one before the first group is added. Loop thread only."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._pools: dict[str, Pool] = {}
        self._types: frozenset[str] = frozenset()
        self._serials = _open_serials(supervisor.memory.directory)
        self._area: Intent | None = None
        self._ticks = Ticks(self._offer)
        self._ending: StateChanged | None = None
        self._inlet = Inlet(supervisor.bus.publish, self._pid_of, Transit(supervisor.memory.directory))
        supervisor.heard = lambda type: type in self._types
        supervisor.logs.on_output = self._inlet.put_output
        supervisor.logs.on_passage = self._inlet.put_passage
        supervisor.wirers.append(self._look)
        supervisor.bus.listen(self._told)

    def close(self, *, forget: bool = True) -> None:
        """The end of the daemon. What waits is left to the next one, or forgotten with everything else."""
        self._ticks.close()
        self._inlet.close(forget=forget)
        for pool in self._pools.values():
            pool.close(forget=forget)
        self._pools.clear()
        self._serials.close(remove=forget)

    def renew(self, directory: str) -> bool:
        """If what is on file was removed, write it anew, there; whether that was done. Never raises."""
        done = [self._inlet.renew(directory), *(pool.log.renew(directory) for pool in self._pools.values())]
        try:
            done.append(self._serials.renew(f"{directory}/{SERIAL}"))
        except OSError as error:
            log.error(SERIALS_LOST, error)
        if self._area is not None and not self._area.intact and self._supervisor.logs.pump.intents is not None:
            self._area = self._supervisor.logs.pump.intents.new()
            for pool in self._pools.values():
                pool.area = self._area
            done.append(True)
        return any(done)

    def _pid_of(self, group: str, name: str) -> int:
        """Of the present run, or of the one whose end is being told."""
        if self._ending is not None and (self._ending.group, self._ending.name) == (group, name):
            return self._ending.pid
        found = self._supervisor.groups[group].processes.get(name) if group in self._supervisor.groups else None
        return found.machine.pid or 0 if found is not None else 0

    def _look(self, group: Group) -> None:
        """A group has other members or options."""
        if group.config.kind != "pool":
            return
        pool = self._pools.get(group.name)
        if pool is None:
            if not self._pools and (intents := self._supervisor.logs.pump.intents) is not None:
                self._area = self._area or intents.new()
            pool = self._pools[group.name] = Pool(group, self._supervisor, self._area)
        pool.follow()
        self._subscribe()

    def _subscribe(self) -> None:
        self._types = frozenset[str]().union(*(pool.types for pool in self._pools.values()))
        self._inlet.wanted = self._types
        self._ticks.want({period for type, period in PERIODS.items() if type in self._types})

    def _told(self, notification: Notification) -> None:
        """The bus."""
        match notification:
            case Output():
                pass  # it came through the inlet
            case StateChanged(new=new) if new in AT_REST or new is State.BACKOFF:
                self._ending = notification
                self._inlet.end(notification.group, notification.name)
                self._ending = None
            case GroupRemoved(group):
                self._inlet.flush()
                if (pool := self._pools.pop(group, None)) is not None:
                    pool.close()
                    self._subscribe()
            case DaemonChanged(DaemonState.RUNNING):
                self._inlet.begin()
                for pool in self._pools.values():
                    pool.renew()
                if (directory := self._supervisor.memory.directory) is not None:
                    forget_others(directory, self._pools)
            case _:
                self._inlet.flush()
        self._offer(notification)
        match notification:
            case StateChanged(new=State.RUNNING, group=group) if group in self._pools:
                self._pools[group].dispatch()

    def _offer(self, notification: Notification) -> None:
        wanted = names(notification)
        if self._types.isdisjoint(wanted):
            return
        event = Event(self._serials.take(), notification.type, payload(notification))
        for pool in self._pools.values():
            if not pool.types.isdisjoint(wanted):
                pool.offer(event)
