"""The options by which the end of a program is the end of the daemon."""

import enum
from dataclasses import dataclass

from supervise.config.declare import Names, option
from supervise.config.values import Type, choice


class OnEnd(enum.Enum):
    """What follows from the end of a program."""

    NONE = "none"
    SHUTDOWN = "shutdown"


ON_END = Type("none or shutdown", choice(OnEnd), enum=tuple(each.value for each in OnEnd))


@dataclass(frozen=True, kw_only=True, slots=True, repr=False, eq=False)
class EndOptions:
    """Options of every program."""

    NAMES = Names.PROGRAM

    on_exit: OnEnd = option(
        "shutdown: when it has ended by itself and is not restarted, the daemon stops everything and ends with its exit"
        " status (128 and the signal, if one killed it). For the main program of a container.",
        ON_END,
        OnEnd.NONE,
    )
    on_fatal: OnEnd = option(
        "shutdown: when it is FATAL, the daemon stops everything and ends with its exit status, or 1.",
        ON_END,
        OnEnd.NONE,
    )
