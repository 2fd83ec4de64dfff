"""Ending what an earlier daemon left and nobody wants: programs that are no longer configured, or all of them."""

import asyncio
import logging
import signal
from collections.abc import Callable, Iterable
from typing import NamedTuple

from supervise.config.model import GroupConfig, ProgramConfig
from supervise.core.events import State
from supervise.daemon.memory import pipes_of
from supervise.daemon.process import namespec
from supervise.daemon.records import how_to_stop
from supervise.daemon.trees import Trees
from supervise.system.handover import Handover
from supervise.system.journal import Record, start_time, ticks_now
from supervise.system.tree import Leader, Sweeper, Tree, describe, leftovers

log = logging.getLogger("supervise")

PATIENCE = 10.0  # seconds from SIGTERM to SIGKILL where no program says otherwise, and from SIGKILL until we give up


class Left(NamedTuple):
    """What is left of a program: its process, or, if that has ended amid a stop of its tree, what it has started."""

    name: str
    pid: int  # and the session's
    start: int
    seen: float  # when the session was certainly that one's
    leads: bool  # whether the process itself is there

    def __str__(self) -> str:
        who = f"{self.name} (pid {self.pid})"
        return who if self.leads else f"what {who} has started"

    def all(self, trees: Trees) -> tuple[Tree, ...]:
        """All of it."""
        return trees.known(self.name, (self.pid, self.start, self.seen))


class Stop(NamedTuple):
    """How a program is to be stopped."""

    signal: int = signal.SIGTERM
    seconds: float = PATIENCE
    together: bool = False  # whether its children get the signal when it does, and not after it has ended

    @classmethod
    def of(cls, program: ProgramConfig | None, record: Record) -> "Stop":
        """As it is configured, else as it was; `record` may be of a version that did not say."""
        known = record.get("stop") if program is None else how_to_stop(program)
        return cls(*known[:3]) if known else cls()


async def end(
    records: Iterable[Record],
    trees: Trees,
    over: Callable[[Record], None],
    groups: Iterable[GroupConfig] = (),
    handover: Handover | None = None,
) -> None:
    """End the processes of these records, with all that they have started, at the same time, and tell of each when
    nothing is left of it. Never raises.

    Each is ended by its stopsignal, and may take its stopwaitsecs: those in `groups`, or else those that it was last
    configured with. A pid that another process has by now (its start time differs) is left alone. Loop thread only.
    """
    programs = {(group.name, program.name): program for group in groups for program in group.processes}

    async def see_to(record: Record) -> None:
        left = find(record, trees, handover)
        stop = Stop.of(programs.get((record["group"], record["name"])), record)
        if left is None or await _end(left, trees, stop):
            over(record)

    await asyncio.gather(*map(see_to, records))


def find(record: Record, trees: Trees, handover: Handover | None = None) -> Left | None:
    """What is left of a program. `handover` knows whom the daemon was just spawning when it died."""
    name, pid, start = namespec(record["group"], record["name"]), record.get("pid"), record.get("start_time")
    now, state, sid = ticks_now(), record.get("state"), record.get("sweeping")
    if pid is not None and start is not None and start_time(pid) == start:
        return Left(name, pid, start, now, leads=True)
    if pid is None and sid is None and state in (State.STARTING, State.STOPPING) and handover is not None:
        pid = next(filter(None, map(handover.leader_with, pipes_of(record, spoken=True).get("stdout", ()))), None)
        start = None if pid is None else start_time(pid)
        return Left(name, pid, start, now, leads=True) if pid is not None and start is not None else None
    if state == State.STOPPING and (sid is not None or "tree" in record.get("stop", ())):
        left = Left(name, sid or pid or 0, start or 0, record.get("seen", 0.0), leads=False)
        return left if leftovers(left.all(trees)) else None
    return None


async def _end(left: Left, trees: Trees, stop: Stop) -> bool:
    log.warning("ending %s, which an earlier daemon left: it has %g seconds", left, stop.seconds)
    whole, kill = left.all(trees), (signal.SIGKILL, PATIENCE)
    if left.leads and not stop.together:
        with _Sweep((Leader(left.pid, left.start),)) as leader:
            politely = await leader.ends(stop.signal, stop.seconds)
    else:
        politely = True
    with _Sweep(whole) as sweep:
        steps = ((stop.signal, stop.seconds), kill) if politely else (kill,)
        for number, patience in steps:
            if await sweep.ends(number, patience):
                return True
        log.critical("%s does not end: %s", left.name, ", ".join(map(describe, sweep.close())))
        return False


class _Sweep:
    """A sweep that is waited for."""

    def __init__(self, trees: tuple[Tree, ...]) -> None:
        self._gone = asyncio.Event()
        self._sweeper = Sweeper(trees, self._gone.set)
        self.close = self._sweeper.close

    async def ends(self, number: int, patience: float) -> bool:
        """Signal it all; whether it ends in so many seconds."""
        self._sweeper.signal(number)
        try:
            async with asyncio.timeout(patience):
                await self._gone.wait()
        except TimeoutError:
            return False
        return True

    def __enter__(self) -> "_Sweep":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
