"""What the main log says of a step: supervisord's lines, byte for byte, from events and effects.

People and scripts grep for these texts (compatibility: supervisor/process.py), so they carry the bare
process name, never `group:name`.
"""

import signal
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from supervise.config.model import ProgramConfig
from supervise.core.events import (
    Changed,
    Effect,
    Event,
    Exited,
    Kill,
    Spawn,
    Spawned,
    SpawnFailed,
    State,
    Sweep,
    Timeout,
)
from supervise.core.process import ProcessMachine
from supervise.core.restart import is_expected

Line: TypeAlias = tuple[int, str]  # level and text
DEBUG, INFO, WARNING, CRITICAL = 10, 20, 30, 50  # the numbers of `logging`, which the core does not import


def story(
    machine: ProcessMachine, before: State, pid: int | None, event: Event, effects: Iterable[Effect]
) -> Iterator[Line]:
    """Yield the lines for one `step` of `machine`, which was in state `before`, with `pid`, until then."""
    config = machine.config
    if isinstance(event, Spawned):
        yield INFO, f"spawned: '{config.name}' with pid {event.pid}"
    if isinstance(event, Exited) and before in (State.STOPPING, State.UNKNOWN):
        level = INFO if event.status in config.exitcodes else WARNING
        yield level, f"stopped: {config.name} ({describe_exit(event)})"
    for effect in effects:
        match effect:
            case Changed():
                yield from _changed(config, event, effect, machine.reason)
            case Kill(signal=signal.SIGKILL):
                yield WARNING, f"killing '{config.name}' ({pid}) with SIGKILL"
            case Kill(signal=sig, group=group):
                whole = "process group " if group else ""
                yield DEBUG, f"killing {config.name} (pid {pid}) {whole}with signal {signal_name(sig)}"
            case Spawn():
                pass  # what comes of it is an event
            case Sweep(sid=sid, signal=sig):
                yield DEBUG, f"sweeping the tree of {config.name} (session {sid}) with signal {signal_name(sig)}"


def _changed(config: ProgramConfig, event: Event, change: Changed, reason: str) -> Iterator[Line]:
    name = config.name
    match change.new, event:
        case State.RUNNING, Timeout():
            yield (
                INFO,
                (
                    f"success: {name} entered RUNNING state, process has stayed up for > than "
                    f"{config.startsecs:g} seconds (startsecs)"
                ),
            )
        case State.BACKOFF, SpawnFailed(reason=why):
            yield INFO, f"spawnerr: {why}"
        case State.BACKOFF, Exited():
            yield WARNING, f"exited: {name} ({describe_exit(event)}; not expected)"
            if is_expected(config, event.status) and not event.failure:
                yield (
                    INFO,
                    (
                        f"{name} ended within startsecs ({config.startsecs:g}), which counts as a failed start "
                        f"whatever its exit status; set type=oneshot if it is meant to end"
                    ),
                )
        case State.EXITED, Exited():
            expected = "expected" if change.expected else "not expected"
            level = INFO if change.expected else WARNING
            yield level, f"exited: {name} ({describe_exit(event)}; {expected})"
        case State.FATAL, _:
            yield INFO, f"gave up: {name} entered FATAL state, too many start retries too quickly"
        case State.UNKNOWN, _:
            yield CRITICAL, f"{name} entered UNKNOWN state: {reason}"
        case _:
            pass


def describe_exit(event: Exited) -> str:
    """`exit status 3`, `terminated by SIGSEGV (core dumped)`."""
    if event.status is None:
        return "exit status unknown"
    if event.status >= 0:
        return f"exit status {event.status}"
    return f"terminated by {signal_name(-event.status)}" + (" (core dumped)" if event.core else "")


def signal_name(number: int) -> str:
    """`SIGTERM`; real-time signals and other nameless ones by number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
