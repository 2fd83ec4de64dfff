"""What can be configured about controlling the daemon: its servers, the client, and plugins of both. See `model`."""

from dataclasses import dataclass
from typing import Literal

from supervise.config import values
from supervise.config.declare import Names, option

ANY_SERVER = ("unix_http_server", "inet_http_server")


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """A listening control socket. `host` "" is all interfaces."""

    IN = ANY_SERVER
    NAMES = Names.ENV

    kind: Literal["unix", "inet"]
    section: str
    file: str = option(
        "The path of the socket.", values.FILE, "", required=True, where=("unix_http_server",), names=Names.HERE
    )
    chmod: int = option("Its mode.", values.CHMOD, 0o700, where=("unix_http_server",))
    chown: tuple[int, int] | None = option("Its owner; -1: no change.", values.CHOWN, None, where=("unix_http_server",))
    host: str = ""
    port: int = option(
        "Where to listen; * or nothing before the colon: on all interfaces.",
        values.ADDRESS,
        0,
        required=True,
        where=("inet_http_server",),
    )
    username: str | None = option("Who may connect; with password.", values.TEXT, None)
    password: str | None = option("Clear text, or {SHA} and a SHA-1 in hexadecimal.", values.TEXT, None)

    @property
    def url(self) -> str:
        """What a client on this machine connects to."""
        host = self.host or "localhost"
        return (
            f"unix://{self.file}"
            if self.kind == "unix"
            else f"http://{f'[{host}]' if ':' in host else host}:{self.port}"
        )


@dataclass(frozen=True, kw_only=True)
class CtlConfig:
    """[supervisorctl]: what the client needs to know."""

    IN = ("supervisorctl",)
    NAMES = Names.ENV

    serverurl: str = option("Where the daemon listens.", default="http://localhost:9001", names=Names.HERE)
    username: str | None = option("For a daemon that asks.", values.TEXT, None)
    password: str | None = option("For a daemon that asks; clear text.", values.TEXT, None)
    prompt: str = option("The prompt of the interactive shell.", default="supervisor")
    history_file: str | None = option("Where the shell keeps its history.", values.TEXT, None, names=Names.HERE)


@dataclass(frozen=True, kw_only=True)
class PluginConfig:
    """[rpcinterface:x] or [ctlplugin:x]: a factory as module:name, and what else the section says."""

    IN = ()
    NAMES = Names.ENV

    name: str
    factory: str
    options: tuple[tuple[str, str], ...] = ()
