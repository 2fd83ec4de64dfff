"""What can be configured about controlling the daemon: its servers and users, the client, plugins. See `model`."""

from dataclasses import dataclass
from typing import Any, Literal

from supervise.config import access, values
from supervise.config.access import Role
from supervise.config.declare import Names, option

ANY_SERVER = ("unix_http_server", "inet_http_server")
INET = ("inet_http_server",)
LOCALS = tuple(f"{role}_{kind}" for kind in ("users", "groups") for role in ("admin", "control", "read"))
_FILE: dict[str, Any] = {"type": values.FILE, "default": None, "names": Names.HERE}


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
        where=INET,
    )
    username: str | None = option(
        "Who may connect, as an admin, beside those in [user:x]; with password.", values.TEXT, None
    )
    password: str | None = option("Clear text, {SHA} and a SHA-1, or from `supervise passwd`.", access.PASSWORD, None)
    admin_users: tuple[int, ...] = option(
        "Users of this machine who are admins; root and the daemon's own user always are. On a unix socket the kernel"
        " says who connects; with pam_service a password does.",
        access.USERS,
        (),
    )
    control_users: tuple[int, ...] = option("Users of this machine who may control programs.", access.USERS, ())
    read_users: tuple[int, ...] = option("Users of this machine who may look.", access.USERS, ())
    admin_groups: tuple[int, ...] = option(
        "Groups whose members are admins, known in the same way.",
        access.GROUPS,
        (),
    )
    control_groups: tuple[int, ...] = option("Groups whose members may control programs.", access.GROUPS, ())
    read_groups: tuple[int, ...] = option("Groups whose members may look.", access.GROUPS, ())
    pam_service: str | None = option(
        "Check users that are no [user:x] as local users, by this service of PAM (/etc/pam.d); *_users and *_groups"
        " give them their roles. Needs root, and `pip install supervise[pam]`.",
        values.TEXT,
        None,
    )
    get_actions: bool = option(
        "Let links to the web page act as supervisord's do (index.html?action=stop&processname=x), for scripts that"
        " fetch them: then whatever makes a browser follow such a link can stop programs. Without it only buttons act.",
        values.BOOLEAN,
        False,
    )
    certfile: str | None = option("The server's certificate and its chain (PEM): speak TLS.", where=INET, **_FILE)
    keyfile: str | None = option("Its private key, if that is not in certfile.", where=INET, **_FILE)
    client_ca: str | None = option(
        "Admit only clients with a certificate of these authorities (PEM).", where=INET, **_FILE
    )

    @property
    def knows_locals(self) -> bool:
        """Whether users of this machine have roles, each or by groups."""
        return any((*self._users, *self._groups))

    @property
    def _users(self) -> tuple[tuple[int, ...], ...]:
        return self.admin_users, self.control_users, self.read_users

    @property
    def _groups(self) -> tuple[tuple[int, ...], ...]:
        return self.admin_groups, self.control_groups, self.read_groups

    def role_of(self, uid: int | None, gids: frozenset[int]) -> Role | None:
        """The greatest role of a user of this machine who is in these groups."""
        for role, users, groups in zip(reversed(Role), self._users, self._groups, strict=True):
            if uid in users or not gids.isdisjoint(groups):
                return role
        return None

    @property
    def url(self) -> str:
        """What a client on this machine connects to."""
        host = self.host or "localhost"
        return (
            f"unix://{self.file}"
            if self.kind == "unix"
            else f"http{'s' if self.certfile else ''}://{f'[{host}]' if ':' in host else host}:{self.port}"
        )


@dataclass(frozen=True, kw_only=True)
class UserConfig:
    """[user:x]: somebody whom every server asks for a password."""

    IN = ("user",)
    NAMES = Names.ENV

    name: str
    password: str = option("Clear text, {SHA} and a SHA-1, or what `supervise passwd` prints.", access.PASSWORD)
    role: Role = option(
        "read: look. control: also start, stop, signal programs. admin: also the daemon itself.", access.ROLE
    )


@dataclass(frozen=True, kw_only=True)
class CtlConfig:
    """[supervisorctl]: what the client needs to know."""

    IN = ("supervisorctl",)
    NAMES = Names.ENV

    serverurl: str = option("Where the daemon listens.", default="http://localhost:9001", names=Names.HERE)
    username: str | None = option("For a daemon that asks.", values.TEXT, None)
    password: str | None = option("For a daemon that asks; clear text.", values.SECRET, None)
    ca: str | None = option(
        "For https: the authorities to trust (PEM), if not the system's.", values.FILE, None, names=Names.HERE
    )
    certfile: str | None = option(
        "For https: our certificate (PEM), for a daemon with client_ca.", values.FILE, None, names=Names.HERE
    )
    keyfile: str | None = option("For https: its private key, if apart.", values.FILE, None, names=Names.HERE)
    prompt: str = option("The prompt of the interactive shell.", default="supervisor")
    history_file: str | None = option("Where the shell keeps its history.", values.TEXT, None, names=Names.HERE)


@dataclass(frozen=True, kw_only=True)
class PluginConfig:
    """[rpcinterface:x] or [ctlplugin:x]: a factory as module:name, and what else the section says.

    `event_types`: the event types that the factory declares, each with the types above it.
    """

    IN = ()
    NAMES = Names.ENV

    name: str
    factory: str
    options: tuple[tuple[str, str], ...] = ()
    event_types: tuple[tuple[str, tuple[str, ...]], ...] = ()
