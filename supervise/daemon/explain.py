"""Why a process is in its state: the answer for the person on call, as plain JSON values."""

import time

from supervise.core.events import State
from supervise.core.listener import ListenerState
from supervise.daemon.info import ListenerInfo, ProcessInfo, last_exit
from supervise.daemon.process import Process
from supervise.system.tree import describe


def explain(process: Process, info: ProcessInfo) -> dict[str, object]:
    """What is, why, what was before (latest end first), and what comes next. Loop thread only."""
    now = time.time()
    return {
        "process": info._asdict()
        | {"last_exit": info.last_exit and info.last_exit._asdict()}
        | {"listener": info.listener and info.listener._asdict()},
        "summary": _summary(process, info),
        "next": _next(process, info),
        "exits": [
            last_exit(end)._asdict()
            | {"ago": round(now - end.at, 3), "uptime": round(end.uptime, 3), "last_lines": list(end.last_lines)}
            for end in reversed(process.exits)
        ],
    }


def _summary(process: Process, info: ProcessInfo) -> str:
    machine, config = process.machine, process.config
    last = f"the last end was: {process.exits[-1].text}" if process.exits else "it has not ended since it was added"
    match machine.state:
        case State.STOPPED if not process.started:
            return "not started yet" if config.autostart else "not started: autostart is false, and nobody has asked"
        case State.STOPPED:
            return "stopped because it was told to"
        case State.STARTING if machine.pid is None:
            return "about to be spawned"
        case State.STARTING:
            return f"up for {info.uptime:.1f} s; counts as RUNNING after startsecs = {config.startsecs:g}"
        case State.RUNNING:
            return f"up with pid {machine.pid}; {last}{_listening(info.listener)}"
        case State.BACKOFF:
            return f"start {machine.attempts} of {config.startretries + 1} failed: {machine.reason}"
        case State.STOPPING if machine.sweeping is not None:
            return f"it has ended; what is left of its process tree is told to (session {machine.sweeping})"
        case State.STOPPING:
            return f"told to stop; pid {machine.pid} has not ended yet"
        case State.EXITED if machine.wanted:
            return f"{last}; it ends quickly every time, so restarts are held back to one a second"
        case State.EXITED:
            return f"it ended by itself ({last}), and autorestart = {config.autorestart.value} leaves it so"
        case State.FATAL:
            starts = f"{config.startretries + 1} failed starts" if config.startretries else "a failed start"
            return f"gave up after {starts}: {machine.reason}"
        case _:
            what = f"; pid {describe(machine.pid)}" if machine.pid is not None else ""
            return f"out of control: {machine.reason}{what}"


def _listening(listener: ListenerInfo | None) -> str:
    """What an event listener does, and what waits for it."""
    if listener is None:
        return ""
    doing = {
        ListenerState.ACKNOWLEDGED.name: "it has not said READY yet",
        ListenerState.READY.name: "it is ready for events",
        ListenerState.BUSY.name: f"it is busy with a {listener.event}",
        ListenerState.UNKNOWN.name: "it has broken the event listener protocol and gets no events",
    }[listener.state]
    dropped = f", {listener.dropped} were dropped" if listener.dropped else ""
    return f"; {doing}; {listener.waiting} events wait{dropped}"


def _next(process: Process, info: ProcessInfo) -> str:
    machine, config = process.machine, process.config
    match machine.state:
        case State.BACKOFF | State.EXITED if info.next_retry is not None:
            return f"it is started again in {info.next_retry:.1f} s"
        case State.STOPPING if machine.kills == 0:
            return f"SIGKILL, when stopwaitsecs = {config.stopwaitsecs:g} are over"
        case State.STOPPING:
            return "SIGKILL has been sent"
        case State.STARTING | State.RUNNING:
            codes = ",".join(map(str, config.exitcodes))
            return f"if it ends: autorestart = {config.autorestart.value}, exitcodes = {codes}"
        case State.UNKNOWN:
            return "stop it to send SIGKILL once more; it can be started only when it has ended"
        case _:
            return "nothing, until it is told to start"
