"""What is in a record of the journal, and whether that is what it should be, before anybody is signalled for it.

Its checksum says that it was written whole, not by whom: another version, or somebody who tried to help. A field that
is not known here, or is not there, is no flaw, since other versions know more or less of a process.
"""

import dataclasses
import math
from collections.abc import Callable
from operator import attrgetter
from typing import Any, TypeAlias

from supervise.config.model import ProgramConfig, StopScope
from supervise.core.events import State
from supervise.core.process import ProcessMachine
from supervise.daemon.process import Process
from supervise.system.journal import Record, members

Check: TypeAlias = Callable[[Any], bool]

STATES = frozenset(map(int, State))
FIRST_PID = 2  # of what can be a program: less than 1 would mean a group, or everybody
MACHINE = [field.name for field in dataclasses.fields(ProcessMachine) if field.name not in ("config", "_effects")]
FACTS = ("started", "stopped", "restarts", "made_from", "owed", "start_time", "seen")
REASON = 300  # characters of a reason that are kept

_of_machine, _of_process = attrgetter(*MACHINE), attrgetter(*FACTS)


def to_record(process: Process) -> Record:
    """All of a process that the next daemon needs, as JSON values."""
    return {**_configured(process), **_ends(process), **passing(process)}


def passing(process: Process) -> Record:
    """The part of its record that any step may change."""
    machine, child = process.machine, process.child
    record: dict[str, Any] = dict(zip(MACHINE, _of_machine(machine), strict=True))
    record.update(zip(FACTS, _of_process(process), strict=True))
    record["reason"] = machine.reason[:REASON]
    record["stdin"] = child.stdin.inode if child is not None and child.stdin is not None else None
    record["pipes"] = process.logs.inodes()
    if process.wiring is not None:
        record["spoken"] = process.wiring.stdout
    if process.untold:
        untold = [(each.old, each.new, each.expected, each.tries, each.pid, each.at) for each in process.untold]
        record["untold"] = untold
    return record


def lasting(process: Process) -> str:
    """The rest of it, as `members` gives it: made anew where its configuration has changed, or it has ended again."""
    kept = process.recorded
    if kept.config is not process.config or kept.aimed != process.logs.aimed:
        kept.config, kept.aimed, kept.configured = process.config, process.logs.aimed, members(_configured(process))
    if kept.exits is not process.exits:
        kept.exits, kept.ends = process.exits, members(_ends(process))
    return f"{kept.configured},{kept.ends}"


def _configured(process: Process) -> Record:
    return {
        "group": process.group,
        "name": process.name,
        "files": process.logs.files(),
        "auto": process.logs.auto_paths(),
        "stop": how_to_stop(process.config),
    }


def _ends(process: Process) -> Record:
    return {"exits": [[end.at, end.status, end.text, end.expected, end.uptime] for end in process.exits]}


def flaw(record: Record) -> str:
    """What is wrong with it, as words for the log; "" if nothing is."""
    for name in ("group", "name"):
        if not _text(record.get(name)):
            return f"{name} is {record.get(name)!r:.40}"
    wrong = [name for name, check in SHAPES.items() if name in record and not check(record[name])]
    return ", ".join(f"{name} is {record[name]!r:.40}" for name in wrong)


def how_to_stop(config: ProgramConfig) -> tuple[int, float, bool, str]:
    """What a daemon wants to know that finds the program, and nothing of it in its configuration: its stopsignal, its
    stopwaitsecs, whether its group is signalled with it, and its stop_scope."""
    together = config.stopasgroup or config.stop_scope is StopScope.GROUP
    return int(config.stopsignal), config.stopwaitsecs, together, config.stop_scope.value


def shortened(record: Record) -> Record:
    """A record without what is only shown, and without pipes of earlier runs, and where channels have led."""
    pipes = {channel: inodes[:1] for channel, inodes in record["pipes"].items()}
    return {**record, "reason": "", "exits": [], "pipes": pipes, "files": {}}


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _whole(value: Any) -> bool:
    return isinstance(value, int)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _pid(value: Any) -> bool:
    return isinstance(value, int) and value >= FIRST_PID


def _state(value: Any) -> bool:
    return isinstance(value, int) and value in STATES


def _perhaps(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _row(*checks: Check) -> Check:
    def check(value: Any) -> bool:
        if not isinstance(value, list) or len(value) != len(checks):
            return False
        return all(one(item) for one, item in zip(checks, value, strict=True))

    return check


def _list(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _mapping(check: Check) -> Check:
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


SHAPES: dict[str, Check] = {
    "state": _state,
    "pid": _perhaps(_pid),
    "sweeping": _perhaps(_pid),
    "reason": _text,
    "deadline": _perhaps(_number),
    "status": _perhaps(_whole),
    "stop": _row(_whole, _number, _whole, _text),
    "pipes": _mapping(_list(_whole)),
    "auto": _mapping(_text),
    "files": _mapping(_row(_text, _whole, _whole)),
    "exits": _list(_row(_number, _perhaps(_whole), _text, _whole, _number)),
    "untold": _list(_row(_state, _state, _whole, _whole, _whole, _number)),
    **dict.fromkeys(("start_time", "stdin", "spoken"), _perhaps(_whole)),
    **dict.fromkeys(("since", "started", "stopped", "seen"), _number),
    **dict.fromkeys(("wanted", "owed", "attempts", "quick_exits", "kills", "restarts", "made_from"), _whole),
}
