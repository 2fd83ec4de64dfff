"""What differs between two configurations: supervisord's answer for groups, what to do about each process,
and what concerns the daemon itself."""

import dataclasses
from collections.abc import Iterable
from typing import NamedTuple

from supervise.config.declare import Change
from supervise.config.model import AUTO, Config, GroupConfig, ProgramConfig

LOG_FILES = ("stdout_logfile", "stderr_logfile")


class Diff(NamedTuple):
    """Names of groups: added and changed ones in the new order, removed ones in the old. False if nothing differs."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


def diff(old: Iterable[GroupConfig], new: Iterable[GroupConfig]) -> Diff:
    """What supervisord's reread says. Of groups with equal names the first counts, as when they are started."""
    before, after = _by_name(old), _by_name(new)
    return Diff(
        added=tuple(name for name in after if name not in before),
        changed=tuple(name for name in after if name in before and not same_group(before[name], after[name])),
        removed=tuple(name for name in before if name not in after),
    )


def _by_name(groups: Iterable[GroupConfig]) -> dict[str, GroupConfig]:
    found: dict[str, GroupConfig] = {}
    for group in groups:
        found.setdefault(group.name, group)
    return found


def same_group(old: GroupConfig, new: GroupConfig) -> bool:
    """Whether supervisord would see no change: everything is equal, and a log file is not compared to a new AUTO."""
    if old == new or len(old.processes) != len(new.processes):
        return old == new
    members = zip(old.processes, new.processes, strict=True)
    return dataclasses.replace(old, processes=()) == dataclasses.replace(new, processes=()) and all(
        a == _ignoring_auto(a, b) for a, b in members
    )


def _ignoring_auto(old: ProgramConfig, new: ProgramConfig) -> ProgramConfig:
    """`new` with the log files of `old` where it has AUTO: supervisord does not compare those. An AUTO of `old` is
    compared: it has long become the name of a file."""
    ignored = {name: getattr(old, name) for name in LOG_FILES if getattr(new, name) == AUTO}
    return dataclasses.replace(new, **ignored) if ignored else new


def same_frame(old: GroupConfig, new: GroupConfig) -> bool:
    """Whether members can be changed one by one; otherwise the group has to be removed and added anew.

    Priorities, and the events and buffer of a pool, apply at once and do not matter here.
    """
    return (old.name, old.kind, old.socket) == (new.name, new.kind, new.socket)


def classify(old: ProgramConfig, new: ProgramConfig) -> Change:
    """What is to be done about a process whose configuration was `old` and is to be `new`."""
    if old == new:  # at once, which most are
        return Change.NOTHING
    return max(change for _, change in changes(old, new))


def kinds_of_change() -> Iterable[tuple[str, Change]]:
    """The compared fields of a program, each with what a change of it asks for."""
    for field in dataclasses.fields(ProgramConfig):
        said = field.metadata.get("option") or field.metadata
        if field.compare and "changed" in said:
            yield field.name, said["changed"]


def changes(old: ProgramConfig, new: ProgramConfig) -> Iterable[tuple[str, Change]]:
    """The fields that differ, each with what it asks for."""
    return ((name, change) for name, change in kinds_of_change() if getattr(old, name) != getattr(new, name))


def of_the_daemon(old: Config, new: Config) -> list[str]:
    """Options of the daemon and its servers that differ, as "[section] option"; "[section]" if it came or went.

    Not `environment`: it is one of the programs, which an update lets have it.
    """
    before = {"supervisord": old.daemon} | {server.section: server for server in old.servers}
    after = {"supervisord": new.daemon} | {server.section: server for server in new.servers}
    found = [f"[{section}]" for section in sorted(before.keys() ^ after.keys())]
    for section in before.keys() & after.keys():
        was, will_be = before[section], after[section]
        names = [field.name for field in dataclasses.fields(was) if field.compare and field.name != "environment"]
        found += [f"[{section}] {name}" for name in names if getattr(was, name) != getattr(will_be, name, None)]
    return sorted(found)
