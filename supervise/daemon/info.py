"""What the daemon tells about itself and its processes: plain frozen values, made when asked for.

1. Those that a list has thousands of are named tuples, which cost a third of a frozen dataclass to make.
2. Clients poll such lists, and nearly everything in them is what it was the last time. So it is told in two steps:
   `facts` collects everything about a process that does not depend on the time, and returns the same object as long as
   nothing has changed; whatever is shown is a function of these facts and a moment. Whoever keeps what was made of an
   object therefore keeps what is true, and nobody has to be told when something changes.
"""

import datetime
from operator import attrgetter
from typing import NamedTuple, cast

from supervise.config.model import ProgramConfig
from supervise.core.events import State
from supervise.core.story import signal_name
from supervise.daemon.listeners import Listener
from supervise.daemon.process import Exit, Process
from supervise.errors import CommandError, Fault

INT_MAX = 2**31 - 1  # XML-RPC integers are 32 bits wide; supervisord caps its times


class Result(NamedTuple):
    """How a verb went for one process. `description`: "OK", or supervisord's fault string."""

    action: str
    group: str
    name: str
    status: Fault
    description: str

    @property
    def namespec(self) -> str:
        return self.name if self.name == self.group else f"{self.group}:{self.name}"

    @property
    def ok(self) -> bool:
        return self.status is Fault.SUCCESS


def result(action: str, process: Process, fault: Fault = Fault.SUCCESS, detail: str | None = None) -> Result:
    """The Result for one process; the detail defaults to its namespec, as in supervisord's faults."""
    text = "OK" if fault is Fault.SUCCESS else str(CommandError(fault, process.namespec if detail is None else detail))
    return Result(action, process.group, process.name, fault, text)


class LastExit(NamedTuple):
    code: int | None
    signal: str | None
    expected: bool
    at: int
    reason: str


class ListenerInfo(NamedTuple):
    """An event listener's own state (supervisord's names), and what waits for it and the others of its pool."""

    state: str
    event: str | None  # the type of the event that it has in hands
    waiting: int
    dropped: int  # since the pool was added, because too many waited


class ProcessInfo(NamedTuple):
    """supervisord's process struct (first line of fields), and what it does not tell.

    `start`, `stop`, `now`: wall-clock seconds; `uptime`, `next_retry`: seconds, from the monotonic clock.
    """

    name: str
    group: str
    namespec: str
    kind: str
    state: int
    statename: str
    pid: int
    description: str
    spawnerr: str
    exitstatus: int
    start: int
    stop: int
    now: int
    logfile: str
    stdout_logfile: str
    stderr_logfile: str
    uptime: float
    restarts: int
    tries: int
    wanted: bool
    reason: str
    next_retry: float | None
    last_exit: LastExit | None
    log_dropped: int
    log_problem: str
    leftovers: tuple[int, ...]
    autostart: bool
    priority: int
    group_priority: int
    listener: ListenerInfo | None


class ConfigInfo(NamedTuple):
    """One configured process, whether its group is active or only known from the last reread."""

    config: ProgramConfig
    group: str
    group_priority: int
    inuse: bool


class DaemonInfo(NamedTuple):
    version: str
    supervisor_version: str
    api_version: str
    identification: str
    statecode: int
    statename: str
    pid: int
    started: int
    uptime: float
    config_file: str
    counts: dict[str, int]
    problems: tuple[str, ...]


class Moment(NamedTuple):
    """A time on two clocks: seconds since the epoch, and on the loop's clock."""

    wall: float
    monotonic: float


EPOCH = Moment(0.0, 0.0)  # for whoever wants only what does not depend on it

LogFacts = tuple[str | None, int, str]  # the path, bytes that were dropped, the problem or ""


class Facts(NamedTuple):
    """Everything that is told about a process, but for the time. Named as in its machine and in `Process`."""

    config: ProgramConfig
    group: str
    state: State
    pid: int | None
    status: int | None
    since: float
    deadline: float | None
    wanted: bool
    reason: str
    attempts: int
    started: float
    stopped: float
    restarts: int
    exits: tuple[Exit, ...]
    leftovers: tuple[int, ...]
    group_priority: int
    stdout: LogFacts
    stderr: LogFacts | None
    listener: ListenerInfo | None

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def ticking(self) -> bool:
        """Whether the description ends with the time that it has been up."""
        return self.state is State.RUNNING and self.pid is not None

    @property
    def retry_at(self) -> float | None:
        """When it is started again, on the loop's clock."""
        return self.deadline if self.state in (State.BACKOFF, State.EXITED) else None


_ATTRIBUTES = attrgetter(
    *("machine.config", "group", "machine.state", "machine.pid", "machine.status", "machine.since"),
    *("machine.deadline", "machine.wanted", "machine.reason", "machine.attempts"),
    *("started", "stopped", "restarts", "exits", "leftovers"),
)


def facts(process: Process, group_priority: int) -> Facts:
    """The facts as they are: the same object as the last time, if they are the same."""
    out, err, wiring = process.logs.stdout, process.logs.stderr, process.wiring
    found = (
        *_ATTRIBUTES(process),
        group_priority,
        (out.path, out.dropped, out.problem),
        None if err is None else (err.path, err.dropped, err.problem),
        listener_info(wiring) if isinstance(wiring, Listener) else None,
    )
    if found != process.told:
        process.told = Facts._make(found)
    return cast("Facts", process.told)


def describe(known: Facts, at: Moment) -> ProcessInfo:
    """Describe a process as it is at a moment."""
    config, channels = known.config, [known.stdout, known.stderr] if known.stderr else [known.stdout]
    stdout, stderr = known.stdout[0] or "", (known.stderr and known.stderr[0]) or ""
    return ProcessInfo(
        name=config.name,
        group=known.group,
        namespec=config.name if config.name == known.group else f"{known.group}:{config.name}",
        kind=config.kind,
        state=int(known.state),
        statename=known.state.name,
        pid=known.pid or 0,
        description=lasting_description(known) + (uptime(at.monotonic - known.since) if known.ticking else ""),
        spawnerr=known.reason,
        exitstatus=exit_status(known),
        start=cap(known.started),
        stop=cap(known.stopped),
        now=cap(at.wall),
        logfile=stdout,
        stdout_logfile=stdout,
        stderr_logfile=stderr,
        uptime=round(max(0.0, at.monotonic - known.since), 3) if known.pid is not None else 0.0,
        restarts=known.restarts,
        tries=known.attempts,
        wanted=known.wanted,
        reason=known.reason,
        next_retry=None if known.retry_at is None else round(max(0.0, known.retry_at - at.monotonic), 3),
        last_exit=last_exit(known.exits[-1]) if known.exits else None,
        log_dropped=sum(dropped for _, dropped, _ in channels),
        log_problem="; ".join(problem for _, _, problem in channels if problem),
        leftovers=known.leftovers,
        autostart=config.autostart,
        priority=config.priority,
        group_priority=known.group_priority,
        listener=known.listener,
    )


def listener_info(listener: Listener) -> ListenerInfo:
    """Describe an event listener as it is now."""
    item, backlog = listener.item, listener.pool.backlog
    return ListenerInfo(listener.state.name, item.event.type if item else None, len(backlog), backlog.dropped)


def lasting_description(known: Facts) -> str:
    """supervisord's `description` member, which `status` shows (rpcinterface._interpretProcessInfo), without the uptime
    in which it ends if it is `ticking`."""
    match known.state:
        case State.RUNNING:
            return f"pid {known.pid}, uptime "
        case State.FATAL | State.BACKOFF | State.UNKNOWN:
            return known.reason or f'unknown error (try "tail {known.name}")'
        case State.STOPPED | State.EXITED:
            if not known.started:
                return "Not started"
            ended = known.stopped or known.started
            return datetime.datetime.fromtimestamp(ended).strftime("%b %d %I:%M %p")
        case _:
            return ""


def uptime(seconds: float) -> str:
    """As supervisord writes it: 0:00:07, 1 day, 1:01:01."""
    return str(datetime.timedelta(seconds=int(max(0.0, seconds))))


def exit_status(known: Facts) -> int:
    """supervisord's `exitstatus`: 0 when there is none, and after failed starts; -1 for a death by signal."""
    failed = known.state in (State.BACKOFF, State.FATAL)
    return 0 if failed or known.status is None else max(known.status, -1)


def last_exit(last: Exit) -> LastExit:
    """The JSON form of an end."""
    status = last.status
    return LastExit(
        code=status if status is not None and status >= 0 else None,
        signal=signal_name(-status) if status is not None and status < 0 else None,
        expected=last.expected,
        at=int(last.at),
        reason=last.text,
    )


def cap(seconds: float) -> int:
    """A wall-clock time as the 32-bit integer that XML-RPC can carry."""
    return min(int(seconds), INT_MAX)
