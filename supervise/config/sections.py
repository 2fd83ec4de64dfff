"""All kinds of sections and their options; here are declared those that are used up while a configuration is read.

Nothing is ever made of these classes, so they have none of the methods that take a dataclass most of its time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from supervise.config import addresses, values
from supervise.config.declare import Names, Option, declared, option
from supervise.config.model import (
    ANY_PROGRAM,
    CtlConfig,
    DaemonConfig,
    GroupConfig,
    ProgramConfig,
    ServerConfig,
    UserConfig,
)


@dataclass(init=False, repr=False, eq=False)
class Inclusion:
    """The option that `source` follows while it reads."""

    IN = ("include",)
    NAMES = Names.HERE

    files: tuple[str, ...] = option(
        "Patterns of further files, relative to this file; host_node_name may be used. TOML and INI may be mixed.",
        values.GLOBS,
    )


@dataclass(init=False, repr=False, eq=False)
class Replication:
    """Options that say how many processes a section makes and how they are called; nothing of them is kept."""

    IN = ANY_PROGRAM
    NAMES = Names.PROGRAM

    process_name: str = option(
        "The name of the process; needs %(process_num) with numprocs above 1.",
        default="%(program_name)s",
        names=Names.PROCESS,
    )
    numprocs: int = option("How many processes to run.", values.INTEGER, 1)
    numprocs_start: int = option("The process_num of the first one.", values.INTEGER, 0)


@dataclass(init=False, repr=False, eq=False)
class Members:
    """The option that a [group:x] turns into its processes."""

    IN = ("group",)
    NAMES = Names.HERE

    programs: tuple[str, ...] = option("The programs and fcgi-programs in it.", values.NAMES, ())


@dataclass(init=False, repr=False, eq=False)
class FcgiSocket:
    """The options that become the socket of an fcgi-program."""

    IN = ("fcgi-program",)
    NAMES = Names.HERE

    socket: str = option(
        "The listening socket it gets as descriptor 0, shared by its processes: tcp://host:port or unix:///path.",
        names=Names.PROGRAM,
    )
    socket_backlog: int | None = option("Its backlog, 1 to 65535. Unset: the system's.", values.INTEGER, None)
    socket_owner: tuple[int, int] | None = option(
        "Who owns a unix socket. Unset: the program's user.", values.SOCKET_OWNER, None
    )
    socket_mode: int | None = option("The mode of a unix socket. Unset: 0700.", values.SOCKET_MODE, None)


@dataclass(init=False, repr=False, eq=False)
class NamedSocket:
    """The options that become a socket for the programs that name it."""

    IN = ("socket",)
    NAMES = Names.HERE

    address: addresses.Address = option(
        "Where it listens. *:port is every IPv4 address, [::]:port every address of both families.", addresses.LISTEN
    )
    backlog: int | None = option("Its backlog, 1 to 65535. Unset: the system's.", values.INTEGER, None)
    owner: tuple[int, int] | None = option("Who owns a unix socket. Unset: the daemon's user.", addresses.OWNER, None)
    mode: int | None = option("The mode of a unix socket. Unset: 0700.", addresses.MODE, None)
    reuse_port: bool = option(
        "Let sockets of other programs listen at the same port (SO_REUSEPORT).", values.BOOLEAN, False
    )


@dataclass(init=False, repr=False, eq=False)
class PluginFactory:
    """The options that every plugin section has."""

    IN = ()
    NAMES = Names.ENV

    rpcinterface_factory: str = option(
        "The function that makes it. supervisord's own line switches the XML-RPC interface on.",
        values.FACTORY,
        key="supervisor.rpcinterface_factory",
        where=("rpcinterface",),
    )
    ctl_factory: str = option(
        "The function that makes it.", values.FACTORY, key="supervisor.ctl_factory", where=("ctlplugin",)
    )


DECLARATIONS = (
    *(DaemonConfig, ServerConfig, UserConfig, CtlConfig, Inclusion, Replication, ProgramConfig),
    *(Members, GroupConfig, FcgiSocket, NamedSocket, PluginFactory),
)


@cache
def options_of(kind: str) -> Mapping[str, Option]:
    """The options that a section of `kind` (the part before a colon) has, by name, in the order of declaration."""
    found = [option for declaration in DECLARATIONS for option in declared(declaration) if kind in option.where]
    return MappingProxyType({option.key: option for option in sorted(found, key=lambda option: not option.required)})
