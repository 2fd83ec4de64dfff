"""What is known of one supervised process, and of a group of them: machines, and facts that are only shown."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from supervise.config.model import GroupConfig, ProgramConfig
from supervise.core.events import AT_REST, Changed, State, StateChanged
from supervise.core.process import ProcessMachine
from supervise.daemon.childpipe import Ends
from supervise.daemon.logs import ProcessLogs
from supervise.system.adopted import Adopted
from supervise.system.cgroup import Cgroup
from supervise.system.spawn import Child
from supervise.system.tree import Sweeper

EXITS_KEPT = 5  # of each process, for `explain`


class Exit(NamedTuple):
    """One end of a process, as `explain` tells it."""

    at: float  # wall-clock seconds
    status: int | None
    text: str
    expected: bool
    uptime: float
    last_lines: tuple[str, ...]


@dataclass(slots=True, eq=False)
class Recorded:
    """What of its record has been encoded, and of what: its options and where its logs go, its last ends."""

    config: ProgramConfig | None = None
    aimed: int = 0
    configured: str = ""
    exits: tuple[Exit, ...] | None = None
    ends: str = ""


class Wiring(Protocol):
    """What stands at a process's descriptors besides its logs: an event listener's pipes."""

    @property
    def stdout(self) -> int | None:
        """The inode of the pipe that is the present run's stdout."""

    def pipes(self) -> AbstractContextManager[Ends]:
        """The child's ends for one spawn; leaving the context closes them. Raises OSError."""

    def adopt(self) -> None:
        """A daemon before us has started the process, which may have ended since."""

    def ended(self) -> None:
        """The process has been reaped; its logs are drained, and its end is told, after this."""

    def close(self) -> None:
        """The process is forgotten."""


@dataclass(slots=True, eq=False)
class Process:
    """One supervised process: its machine, and the facts about it that are only shown."""

    machine: ProcessMachine
    logs: ProcessLogs
    group: str
    wiring: Wiring | None = None
    child: Child | None = None
    failure: str = ""  # why it was told to end, where that makes its end unexpected whatever its exit code
    start_time: int | None = None  # of the last pid, in clock ticks since the boot: together they name it for ever
    seen: float = 0.0  # when it was certainly there, in these ticks; of a stop only
    reaped: bool = False  # it has ended, and its number is free, though its end is not told yet
    adopted: Adopted | None = None  # set where a daemon before us started it
    started: float = 0.0  # wall-clock seconds of the last spawn and the last end; 0: never
    stopped: float = 0.0
    made_from: int = 0  # fingerprint of the options it was started with; 0: never started
    restarts: int = 0  # automatic ones, since the process was added
    exits: tuple[Exit, ...] = ()  # the last ones
    leftovers: tuple[int, ...] = ()
    untold: tuple[StateChanged, ...] = ()  # changes that listeners may not have been told of yet
    owed: bool = False  # stopped only to be started again, by the next daemon if not by us
    removed: bool = False  # no group has it any more, and nothing can happen to it
    timer: asyncio.TimerHandle | None = None
    sweeper: Sweeper | None = None
    cgroup: Cgroup | None = None  # in which it was born
    told: Any = None  # the last `daemon.info.Facts` of it
    recorded: Recorded = field(default_factory=Recorded)
    waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = field(default_factory=list)

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait until `reached()` holds after something has happened to it, or it is removed."""
        if self.removed or reached():
            return
        waiter = (reached, asyncio.get_running_loop().create_future())
        self.waiters.append(waiter)
        try:
            await waiter[1]
        finally:
            if waiter in self.waiters:
                self.waiters.remove(waiter)

    def wake(self) -> None:
        """Something has happened: let those go on who have waited for it."""
        for waiter in [waiter for waiter in self.waiters if self.removed or waiter[0]()]:
            self.waiters.remove(waiter)
            if not waiter[1].done():
                waiter[1].set_result(None)

    def add_exit(self, end: Exit) -> None:
        """Keep the facts about an end, for a while."""
        self.exits = (*self.exits, end)[-EXITS_KEPT:]

    @property
    def config(self) -> ProgramConfig:
        return self.machine.config

    def notification(self, change: Changed, pid: int | None) -> StateChanged:
        """A change of its state as the bus has it. `pid`: before the step that has brought it."""
        pid = pid or self.machine.pid or 0
        at = time.time()
        return StateChanged(self.group, self.name, change.old, change.new, change.expected, change.tries, pid, at)

    @property
    def name(self) -> str:
        return self.machine.config.name

    @property
    def namespec(self) -> str:
        return namespec(self.group, self.name)

    @property
    def state(self) -> State:
        return self.machine.state

    @property
    def at_rest(self) -> bool:
        """Nothing runs, nothing is about to, or nothing more can be done about it (UNKNOWN)."""
        machine = self.machine
        return machine.state is State.UNKNOWN or (machine.state in AT_REST and machine.deadline is None)


def namespec(group: str, name: str) -> str:
    """How a process is called: by its name alone where its group has the same."""
    return name if name == group else f"{group}:{name}"


@dataclass(slots=True, eq=False)
class Group:
    """A group as it is active; `config` is what it was last built or updated from."""

    config: GroupConfig
    processes: dict[str, Process]

    @property
    def name(self) -> str:
        return self.config.name
