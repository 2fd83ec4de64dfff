"""Who may do what: the options about roles, users, groups and passwords."""

import enum

from supervise.config import passwords, secrets
from supervise.config.machine import Machine
from supervise.config.values import Type, words


class Role(enum.IntEnum):
    """What somebody may do; each includes the ones before it."""

    READ = 1  # look: states, logs, the configuration without secrets
    CONTROL = 2  # start, stop, restart and signal programs, clear logs, write to standard input
    ADMIN = 3  # the daemon itself and its configuration

    def __str__(self) -> str:
        return self.name.lower()


def role(text: str) -> Role:
    """The role of that name."""
    try:
        return Role[text.strip().upper()]
    except KeyError:
        raise ValueError(f"expected read, control or admin, not {text!r}") from None


def _gids(machine: Machine, names: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(machine.gid_of(name) for name in names)


def _uids(machine: Machine, names: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(machine.uid_of(name) for name in names)


ROLE = Type("read, control or admin", role, enum=tuple(map(str, Role)))
PASSWORD = Type("a password, or what `supervise passwd` prints", passwords.checked, shown=secrets.whole)
GROUPS = Type("a list of groups, by name or number", words, ("strings",), locate=_gids)
USERS = Type("a list of users, by name or number", words, ("strings",), locate=_uids)
