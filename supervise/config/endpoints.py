"""[supervisord], the control servers, [supervisorctl] and plugins: what is neither a program nor a group."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from supervise.config import eventtypes, passwords
from supervise.config.control import LOCALS
from supervise.config.convert import Converter
from supervise.config.declare import Option
from supervise.config.document import Entry, Section
from supervise.config.model import CtlConfig, DaemonConfig, PluginConfig, ServerConfig, UserConfig
from supervise.config.problems import NotHere
from supervise.config.sections import options_of
from supervise.config.values import OPAQUE

FACTORY_KEYS = {"rpcinterface": "supervisor.rpcinterface_factory", "ctlplugin": "supervisor.ctl_factory"}


def daemon(converter: Converter, section: Section, overrides: Mapping[str, str]) -> tuple[DaemonConfig, dict[str, str]]:
    """[supervisord], and its environment, whose names every later section may use."""
    plain, section = section, Section(section.name, section.file, section.line, section.defaults)
    section.own |= plain.own
    for option, text in overrides.items():
        section.own[option] = Entry(text.replace("%", "%%"), "command line", 0)
    values = {key: converter.get(section, option) for key, option in options_of("supervisord").items()}
    environment: dict[str, str] = values["environment"]
    uid = gid = None
    if values["user"] is not None:
        uid, gid = _user(converter, section, values["user"])
    values |= {
        "environment": tuple(sorted(environment.items())),
        "childlogdir": values["childlogdir"] or converter.machine.tempdir(),
    }
    return DaemonConfig(**values, uid=uid, gid=gid), environment


def _user(converter: Converter, section: Section, user: str) -> tuple[int | None, int | None]:
    try:
        uid = converter.machine.uid_of(user)
        return uid, converter.machine.primary_group(uid)
    except NotHere as why:
        converter.problems.error(section.place("user"), why)
    except KeyError:
        converter.problems.error(section.place("user"), NotHere(f"Invalid user id {user}"))
    return None, None


def servers(converter: Converter) -> Iterator[ServerConfig]:
    """The inet servers, then the unix ones, each in the order of the files; not those without a valid address."""
    for section in converter.document.of_kind("inet_http_server"):
        values = _server_values(converter, section, "port")
        if address := values.pop("port"):
            host, port = address
            yield ServerConfig(kind="inet", section=section.name, host=host, port=port, **values)
    for section in converter.document.of_kind("unix_http_server"):
        values = _server_values(converter, section, "file")
        if values["file"]:
            yield ServerConfig(kind="unix", section=section.name, **values)


def _server_values(converter: Converter, section: Section, address: str) -> dict[str, Any]:
    values = {key: converter.get(section, option) for key, option in options_of(section.kind).items()}
    if not section.get(address):
        converter.problems.error(section.place(), f"section [{section.name}] has no {address} value")
    if bool(section.get("username")) != bool(section.get("password")):
        converter.problems.error(
            section.place("password" if values["username"] is None else "username"),
            f"Section [{section.name}] contains incomplete authentication: If a username or a password is specified,"
            " both the username and password must be specified",
        )
    _doubt_password(converter, section, values["password"])
    _check_access(converter, section, values)
    return values


def _check_access(converter: Converter, section: Section, values: dict[str, Any]) -> None:
    """What a server's options about users and certificates need of each other, and of this machine."""
    machine, problems = converter.machine, converter.problems
    locals_ = [key for key in LOCALS if values[key]]
    try:
        if values["pam_service"]:
            machine.require_pam(_daemon_user(converter))
            if not locals_:
                problems.error(section.place("pam_service"), "nobody would have a role: set admin_groups or others")
        elif locals_ and section.kind == "inet_http_server":
            problems.warn(section.place(locals_[0]), "means nothing here without pam_service")
    except NotHere as why:
        problems.error(section.place("pam_service"), why)
    certificate, key, authorities = values.get("certfile"), values.get("keyfile"), values.get("client_ca")
    if certificate is None and (key or authorities):
        problems.error(section.place("keyfile" if key else "client_ca"), "needs a certfile")
    elif certificate is not None:
        try:
            machine.require_certificate(certificate, key, authorities)
        except NotHere as why:
            problems.error(section.place("certfile"), why)


def _doubt_password(converter: Converter, section: Section, stored: str | None) -> None:
    if stored and (message := passwords.doubt(stored)):
        converter.problems.warn(section.place("password"), message)


def _daemon_user(converter: Converter) -> str | None:
    section = converter.document.sections.get("supervisord")
    found: str | None = converter.get(section, options_of("supervisord")["user"]) if section else None
    return found


def users(converter: Converter) -> Iterator[UserConfig]:
    """The users in the order of the files."""
    for section in converter.document.of_kind("user"):
        name, values = section.label, {}
        for key, option in options_of("user").items():
            values[key] = converter.get(section, option)
            if section.get(key) is None:
                converter.problems.error(section.place(), f"section [{section.name}] has no {key}")
        if values["password"] is not None and passwords.is_empty(values["password"]):
            message = "an empty password lets in whoever knows the name; write what `supervise passwd` prints"
            converter.problems.error(section.place("password"), message)
        _doubt_password(converter, section, values["password"])
        if not name or ":" in name or not name.isprintable():
            converter.problems.error(section.place(), f"{name!r} cannot be the name of a user")
        elif None not in values.values():
            yield UserConfig(name=name, **values)


def ctl(converter: Converter) -> CtlConfig | None:
    """[supervisorctl], if there is one; paths absolute."""
    section = converter.document.sections.get("supervisorctl")
    if section is None:
        return None
    values = {key: converter.get(section, option) for key, option in options_of("supervisorctl").items()}
    url, history = values["serverurl"], values["history_file"]
    if url.startswith("unix://"):
        values["serverurl"] = "unix://" + converter.machine.absolute(url.removeprefix("unix://"))
    values["history_file"] = converter.machine.absolute(history) if history else None
    return CtlConfig(**values)


def plugins(converter: Converter, kind: str) -> Iterator[PluginConfig]:
    """The plugins of a kind. [DEFAULT] does not reach into them: it would break the stock factory."""
    key = FACTORY_KEYS[kind]
    for section in converter.document.of_kind(kind):
        option = options_of(kind)[key]
        spec = converter.get(section, option)
        if spec is None:
            if not section.get(key):
                converter.problems.error(section.place(), f"section [{section.name}] does not specify a {key}")
            continue
        types: tuple[tuple[str, tuple[str, ...]], ...] = ()
        try:
            types = eventtypes.declared(converter.machine.require_factory(spec, section.name))
        except ValueError as why:
            converter.problems.error(section.place(key), why)
        extras = ((name, converter.get(section, _extra(name, option))) for name in section.own if name != key)
        yield PluginConfig(name=section.label, factory=spec, options=tuple(extras), event_types=types)


def _extra(name: str, factory: Option) -> Option:
    """The declaration of an option that only the plugin knows: any scalar, as text, and perhaps a secret."""
    return dataclasses.replace(factory, key=name, type=OPAQUE, default="")
