"""All kinds of sections and their options; here are declared those that are used up while a configuration is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from supervise.config import values
from supervise.config.declare import Names, Option, declared, option
from supervise.config.model import (
    ANY_PROGRAM,
    CtlConfig,
    DaemonConfig,
    GroupConfig,
    ProgramConfig,
    ServerConfig,
    SocketConfig,
)


@dataclass(frozen=True, kw_only=True)
class Inclusion:
    """The option that `source` follows while it reads."""

    IN = ("include",)
    NAMES = Names.HERE

    files: tuple[str, ...] = option(
        "Patterns of further files, relative to this file; host_node_name may be used. TOML and INI may be mixed.",
        values.GLOBS,
    )


@dataclass(frozen=True, kw_only=True)
class Replication:
    """Options that say how many processes a section makes and how they are called; nothing of them is kept."""

    IN = ANY_PROGRAM
    NAMES = Names.PROGRAM

    process_name: str = option(
        "The name of the process; needs %(process_num) with numprocs above 1.", default="%(program_name)s",
        names=Names.PROCESS,
    )  # fmt: skip
    numprocs: int = option("How many processes to run.", values.INTEGER, 1)
    numprocs_start: int = option("The process_num of the first one.", values.INTEGER, 0)


@dataclass(frozen=True, kw_only=True)
class Members:
    """The option that a [group:x] turns into its processes."""

    IN = ("group",)
    NAMES = Names.HERE

    programs: tuple[str, ...] = option("The programs and fcgi-programs in it.", values.NAMES, ())


@dataclass(frozen=True, kw_only=True)
class PluginFactory:
    """The options that every plugin section has."""

    IN = ()
    NAMES = Names.ENV

    rpcinterface_factory: str = option(
        "The function, as module:name, that makes it. supervisord's own line switches the XML-RPC interface on.",
        key="supervisor.rpcinterface_factory",
        where=("rpcinterface",),
    )
    ctl_factory: str = option(
        "The function, as module:name, that makes it.", key="supervisor.ctl_factory", where=("ctlplugin",)
    )


DECLARATIONS = (
    *(DaemonConfig, ServerConfig, CtlConfig, Inclusion, Replication, ProgramConfig),
    *(Members, GroupConfig, SocketConfig, PluginFactory),
)


@cache
def options_of(kind: str) -> Mapping[str, Option]:
    """The options that a section of `kind` (the part before a colon) has, by name, in the order of declaration."""
    found = [option for declaration in DECLARATIONS for option in declared(declaration) if kind in option.where]
    return MappingProxyType({option.key: option for option in sorted(found, key=lambda option: not option.required)})
