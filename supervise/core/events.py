"""The vocabulary of the core.

*Events* are told to a process machine: orders and facts. *Effects* are what it asks for in return.
*Notifications* are what the daemon publishes on its bus when something has changed.
"""

import enum
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias


class State(enum.IntEnum):
    """The eight states of supervisord; the numbers are part of its XML-RPC interface."""

    STOPPED = 0
    STARTING = 10
    RUNNING = 20
    BACKOFF = 30
    STOPPING = 40
    EXITED = 100
    FATAL = 200
    UNKNOWN = 1000


# supervisord's two groups (states.py): `start` refuses in the first, `status` exits 3 in the second.
RUNNING_STATES = frozenset({State.STARTING, State.RUNNING, State.BACKOFF})
STOPPED_STATES = frozenset({State.STOPPED, State.EXITED, State.FATAL, State.UNKNOWN})


class DaemonState(enum.IntEnum):
    """supervisord's own states (`getState`)."""

    SHUTDOWN = -1
    RESTARTING = 0
    RUNNING = 1
    FATAL = 2


AT_REST = frozenset({State.STOPPED, State.EXITED, State.FATAL})


# Events: orders.


@dataclass(frozen=True, slots=True)
class Start:
    """Bring the process up, and keep it up."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Bring the process down. With `restart`, bring it up again afterwards."""

    restart: bool = False


# Events: facts reported by the shell.


@dataclass(frozen=True, slots=True)
class Spawned:
    """The answer to `Spawn`: it runs."""

    pid: int


@dataclass(frozen=True, slots=True)
class SpawnFailed:
    """The answer to `Spawn`: it could not be started."""

    reason: str


@dataclass(frozen=True, slots=True)
class Exited:
    """The process is gone. `status`: its exit code, minus the signal that killed it, or None where
    only an orphan's end was seen, not its code. `failure`: why we made it end; that is unexpected,
    whatever its code."""

    status: int | None
    core: bool = False
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Swept:
    """The answer to `Sweep`: nothing of that tree is left."""


@dataclass(frozen=True, slots=True)
class SignalFailed:
    """A signal could not be sent, though the process is there."""

    reason: str


@dataclass(frozen=True, slots=True)
class Timeout:
    """The machine's deadline has passed. What that means depends on the state."""


Event: TypeAlias = Start | Stop | Spawned | SpawnFailed | Exited | Swept | SignalFailed | Timeout


# Effects.


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start the program; answer with `Spawned` or `SpawnFailed`."""


@dataclass(frozen=True, slots=True)
class Kill:
    """Signal the process, or its whole process group; answer with `SignalFailed` if that fails."""

    signal: int
    group: bool


@dataclass(frozen=True, slots=True)
class Sweep:
    """Signal what there is of the tree whose leader `sid` is or was; answer with `Swept` when it is gone."""

    sid: int
    signal: int


@dataclass(frozen=True, slots=True)
class Changed:
    """The state changed; publish it."""

    old: State
    new: State
    expected: bool = True
    tries: int = field(default=0, compare=False)  # failed starts in a row by then

    @property
    def type(self) -> str:
        """The event type."""
        return f"PROCESS_STATE_{self.new.name}"


Effect: TypeAlias = Spawn | Kill | Sweep | Changed


# Notifications. `type` is supervisord's event type (compatibility: `supervisor.events.EventTypes`).


@dataclass(frozen=True, slots=True)
class StateChanged:
    """A process changed its state. `tries` counts failed starts in a row; `at` is wall-clock seconds."""

    group: str
    name: str
    old: State
    new: State
    expected: bool
    tries: int
    pid: int
    at: float

    @property
    def type(self) -> str:
        return f"PROCESS_STATE_{self.new.name}"


@dataclass(frozen=True, slots=True)
class GroupAdded:
    """A group is active from now on."""

    type: ClassVar[str] = "PROCESS_GROUP_ADDED"
    group: str


@dataclass(frozen=True, slots=True)
class GroupRemoved:
    """A group is active no more."""

    type: ClassVar[str] = "PROCESS_GROUP_REMOVED"
    group: str


@dataclass(frozen=True, slots=True)
class DaemonChanged:
    """The daemon began to serve (RUNNING) or to end (SHUTDOWN, RESTARTING)."""

    state: DaemonState

    @property
    def type(self) -> str:
        running = self.state is DaemonState.RUNNING
        return "SUPERVISOR_STATE_CHANGE_RUNNING" if running else "SUPERVISOR_STATE_CHANGE_STOPPING"


@dataclass(frozen=True, slots=True)
class RemoteCommunication:
    """A client's own event (`sendRemoteCommEvent`)."""

    type: ClassVar[str] = "REMOTE_COMMUNICATION"
    kind: str
    data: str


@dataclass(frozen=True, slots=True)
class Output:
    """What a process wrote to `channel` ("stdout" or "stderr"), a piece at a time."""

    PREFIX: ClassVar[str] = "PROCESS_LOG"
    group: str
    name: str
    pid: int
    channel: str
    data: bytes

    @property
    def type(self) -> str:
        return f"{self.PREFIX}_{self.channel.upper()}"

    @property
    def text(self) -> str:
        """The data as events carry it. What is no UTF-8 is shown as Python shows bytes (supervisord)."""
        try:
            return self.data.decode()
        except UnicodeDecodeError:
            return f"Undecodable: {self.data!r}"


@dataclass(frozen=True, slots=True)
class Communication(Output):
    """What a process wrote between the capture tokens, whole."""

    PREFIX: ClassVar[str] = "PROCESS_COMMUNICATION"


@dataclass(frozen=True, slots=True)
class Tick:
    """A moment that the clock divides by `period`; `when` is wall-clock seconds. Listeners only, not the bus."""

    period: int
    when: int

    @property
    def type(self) -> str:
        return f"TICK_{self.period}"


@dataclass(frozen=True, slots=True)
class PluginEvent:
    """An event of a type that a plugin has declared. `kinds`: the types above its own, besides EVENT."""

    type: str
    kinds: tuple[str, ...]
    data: str


Notification: TypeAlias = (
    StateChanged
    | GroupAdded
    | GroupRemoved
    | DaemonChanged
    | RemoteCommunication
    | Output
    | Communication
    | Tick
    | PluginEvent
)
