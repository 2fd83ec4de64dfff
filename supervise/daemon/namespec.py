"""Which processes a name means.

web          the process `web` of the group `web`
app:web      one process of a group
app:*  app:  a whole group
all          everything
web-*        wildcards (fnmatch): names in any group; `app-*:web-[0-3]` matches both parts
"""

import fnmatch
import glob
from collections.abc import Iterable, Mapping

from supervise.daemon.process import Group, Process
from supervise.errors import CommandError, Fault

ALL = "all"
WILD = frozenset("*?[")


def literal(name: str) -> str:
    """Turn a name as XML-RPC means it (no wildcards, no `all`, but `group:*`) into a spec."""
    group, colon, process = name.partition(":")
    if not colon:
        group = process = name
    whole = colon and process in ("", "*")
    return f"{glob.escape(group)}:{'*' if whole else glob.escape(process)}"


def is_single(name: str) -> bool:
    """Whether a name, as XML-RPC means it, stands for one process rather than a group."""
    _, colon, process = name.partition(":")
    return not colon or process not in ("", "*")


def select(groups: Mapping[str, Group], spec: str) -> list[Process]:
    """The processes that `spec` means, in starting order. Raises CommandError(BAD_NAME)."""
    if spec == ALL:
        return in_starting_order(groups, _all(groups))
    group, colon, name = spec.partition(":")
    found = _exact(groups, group, name if colon else group)  # first, since a name may contain brackets
    if not found and WILD & set(spec):
        members = [p for p in _all(groups) if not colon or fnmatch.fnmatchcase(p.group, group)]
        found = [p for p in members if fnmatch.fnmatchcase(p.name, (name or "*") if colon else spec)]
    if not found:
        raise CommandError(Fault.BAD_NAME, spec)
    return in_starting_order(groups, found)


def _exact(groups: Mapping[str, Group], group_name: str, name: str) -> list[Process]:
    group = groups.get(group_name)
    if group is None:
        return []
    if name in ("", "*"):
        return list(group.processes.values())
    return [group.processes[name]] if name in group.processes else []


def _all(groups: Mapping[str, Group]) -> list[Process]:
    return [process for group in groups.values() for process in group.processes.values()]


def in_starting_order(groups: Mapping[str, Group], processes: Iterable[Process]) -> list[Process]:
    """Ascending priority of the group, then of the process; names decide between equals."""
    return sorted(processes, key=lambda p: (groups[p.group].config.priority, p.group, p.config.priority, p.name))
