"""What the daemon tells about itself and its processes: plain frozen values, made when asked for.

Those that a list has thousands of are named tuples, which cost a third of a frozen dataclass to make.
"""

import datetime
import time
from dataclasses import dataclass
from typing import NamedTuple

from supervise.config.model import ProgramConfig
from supervise.core.events import State
from supervise.core.process import ProcessMachine
from supervise.core.story import signal_name
from supervise.daemon.listeners import Listener
from supervise.daemon.process import Exit, Process
from supervise.errors import CommandError, Fault

INT_MAX = 2**31 - 1  # XML-RPC integers are 32 bits wide; supervisord caps its times


@dataclass(frozen=True, slots=True)
class Result:
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


@dataclass(frozen=True, slots=True)
class ConfigInfo:
    """One configured process, whether its group is active or only known from the last reread."""

    config: ProgramConfig
    group: str
    group_priority: int
    inuse: bool


@dataclass(frozen=True, slots=True)
class DaemonInfo:
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


def process_info(process: Process, group_priority: int, monotonic: float) -> ProcessInfo:
    """Describe a process as it is at `monotonic`, on the loop's clock."""
    machine, config, logs = process.machine, process.config, process.logs
    now = time.time()
    up = machine.pid is not None
    last = process.exits[-1] if process.exits else None
    channels = logs.channels
    stdout = logs.stdout.path or ""
    stderr = (logs.stderr.path if logs.stderr else None) or ""
    waits = machine.deadline is not None and machine.state in (State.BACKOFF, State.EXITED)
    return ProcessInfo(
        name=process.name,
        group=process.group,
        namespec=process.namespec,
        kind=config.kind,
        state=int(machine.state),
        statename=machine.state.name,
        pid=machine.pid or 0,
        description=describe(process, now, monotonic),
        spawnerr=machine.reason,
        exitstatus=exit_status(machine),
        start=cap(process.started),
        stop=cap(process.stopped),
        now=cap(now),
        logfile=stdout,
        stdout_logfile=stdout,
        stderr_logfile=stderr,
        uptime=round(max(0.0, monotonic - machine.since), 3) if up else 0.0,
        restarts=process.restarts,
        tries=machine.attempts,
        wanted=machine.wanted,
        reason=machine.reason,
        next_retry=round(max(0.0, (machine.deadline or 0.0) - monotonic), 3) if waits else None,
        last_exit=last_exit(last) if last else None,
        log_dropped=sum(channel.dropped for channel in channels),
        log_problem="; ".join(channel.problem for channel in channels if channel.problem),
        leftovers=process.leftovers,
        autostart=config.autostart,
        priority=config.priority,
        group_priority=group_priority,
        listener=listener_info(process.wiring) if isinstance(process.wiring, Listener) else None,
    )


def listener_info(listener: Listener) -> ListenerInfo:
    """Describe an event listener as it is now."""
    item, backlog = listener.item, listener.pool.backlog
    return ListenerInfo(listener.state.name, item.event.type if item else None, len(backlog), backlog.dropped)


def describe(process: Process, now: float, monotonic: float) -> str:
    """supervisord's `description` member, which `status` shows (rpcinterface._interpretProcessInfo)."""
    machine = process.machine
    match machine.state:
        case State.RUNNING:
            uptime = datetime.timedelta(seconds=int(max(0.0, monotonic - machine.since)))
            return f"pid {machine.pid}, uptime {uptime}"
        case State.FATAL | State.BACKOFF | State.UNKNOWN:
            return machine.reason or f'unknown error (try "tail {process.name}")'
        case State.STOPPED | State.EXITED:
            if not process.started:
                return "Not started"
            return datetime.datetime.fromtimestamp(process.stopped or now).strftime("%b %d %I:%M %p")
        case _:
            return ""


def exit_status(machine: ProcessMachine) -> int:
    """supervisord's `exitstatus`: 0 when there is none, and after failed starts; -1 for a death by signal."""
    failed = machine.state in (State.BACKOFF, State.FATAL)
    return 0 if failed or machine.status is None else max(machine.status, -1)


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
