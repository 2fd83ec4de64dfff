"""How an option is declared: a dataclass field whose metadata says everything about it."""

import dataclasses
import enum
from dataclasses import dataclass
from functools import cache
from typing import Any

from supervise.config import values
from supervise.config.values import Type


class Change(enum.IntEnum):
    """What `update` does about a changed option of a process that runs; the greatest of several counts."""

    NOTHING = 0
    LIVE = 1  # it applies at once
    NEXT_START = 2  # it applies when the process is next started, by whatever starts it
    RESTART = 3  # the process is restarted, because it can only be given at its start


class Names(enum.IntEnum):
    """Which `%(name)s` an option may use; each includes the ones before it."""

    ENV = 1  # ENV_X: X of the daemon's environment, or of [supervisord] environment
    HERE = 2  # here: the directory of the file
    PROGRAM = 3  # program_name, group_name, host_node_name
    PROCESS = 4  # process_num, numprocs, and ENV_X of the program's own environment


@dataclass(frozen=True, kw_only=True, eq=False)
class Option:
    """The declaration of one option. `where`: the kinds of section that have it; `changed`: see Change."""

    key: str
    doc: str
    type: Type
    default: Any
    where: tuple[str, ...]
    names: Names
    changed: Change
    required: bool


def option(
    doc: str,
    type: Type = values.TEXT,
    default: Any = dataclasses.MISSING,
    *,
    changed: Change = Change.LIVE,
    names: Names | None = None,
    where: tuple[str, ...] = (),
    key: str = "",
    required: bool = False,
    compare: bool = True,
) -> Any:
    """A field that the readers can see. `where` and `names` default to those of the class (`IN`, `NAMES`).

    Without a default an option is required; `required` is for one that only some of the kinds in a class have.
    """
    declared = {"doc": doc, "type": type, "changed": changed, "names": names, "where": where, "key": key}
    declared["required"] = required or default is dataclasses.MISSING
    return dataclasses.field(default=default, compare=compare, metadata={"option": declared})


def derived(changed: Change, default: Any = None) -> Any:
    """A field that follows from options, and counts as changed when its value does."""
    return dataclasses.field(default=default, metadata={"changed": changed})


@cache
def declared(declaration: Any) -> tuple[Option, ...]:
    """The options that a dataclass declares, in its order."""
    return tuple(
        Option(
            default=field.default,
            **said
            | {
                "key": said["key"] or field.name,
                "where": said["where"] or declaration.IN,
                "names": said["names"] or declaration.NAMES,
            },
        )
        for field in dataclasses.fields(declaration)
        if (said := field.metadata.get("option"))
    )
