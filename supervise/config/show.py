"""A configuration as plain JSON values, under supervisord's names: for `check --json` and the control API."""

import enum
import signal
from typing import Any

from supervise.config.control import LOCALS
from supervise.config.declare import declared
from supervise.config.model import Config, GroupConfig, ProgramConfig, ServerConfig, SocketConfig, UserConfig
from supervise.config.secrets import HIDDEN, is_secret
from supervise.config.values import AutoRestart

GROUP_CLASSES = {"group": "ProcessGroupConfig", "pool": "EventListenerPoolConfig", "fcgi": "FastCGIGroupConfig"}
PROCESS_CLASSES = {
    "program": "ProcessConfig",
    "eventlistener": "EventListenerConfig",
    "fcgi-program": "FastCGIProcessConfig",
}
RESTARTS = {AutoRestart.NEVER: False, AutoRestart.UNEXPECTED: "unexpected", AutoRestart.ALWAYS: "always"}


def as_json(config: Config) -> dict[str, Any]:
    """Everything in force, with the file and line of each value that was set. Passwords are hidden."""
    return {
        "file": config.file,
        "files": list(config.files),
        "supervisord": _values(config.daemon) | {"uid": config.daemon.uid, "gid": config.daemon.gid},
        "servers": [server_values(server) for server in config.servers],
        "users": [user_values(user) for user in config.users],
        "supervisorctl": _values(config.ctl) if config.ctl else None,
        "rpcinterfaces": [_plugin(plugin) for plugin in config.rpcinterfaces],
        "ctlplugins": [_plugin(plugin) for plugin in config.ctlplugins],
        "groups": [group_values(group) for group in config.groups],
        "sockets": [{"name": socket.name, **_socket(socket)} for socket in config.sockets],
        "origins": _origins(config),
    }


def group_values(group: GroupConfig) -> dict[str, Any]:
    """A group with its processes; a pool has its events, an fcgi group its socket."""
    shown: dict[str, Any] = {"class": GROUP_CLASSES[group.kind], "name": group.name, "priority": group.priority}
    if group.kind == "pool":
        shown["buffer_size"] = 10 if group.buffer_size is None else group.buffer_size  # supervisord's value
        shown["buffer_limit"] = group.buffer_limit
        shown["pool_events"] = list(group.events)
        shown["result_handler"] = group.result_handler
        shown["on_protocol_error"] = group.on_protocol_error.value
        shown["event_length"] = group.event_length.value
    if group.socket:
        shown["socket"] = _socket(group.socket)
    return shown | {"processes": [program_values(process) for process in group.processes]}


def program_values(process: ProgramConfig) -> dict[str, Any]:
    """A process; `argv` is None if its command cannot be split."""
    try:
        argv: list[str] | None = process.argv
    except ValueError:
        argv = None
    return {
        "name": process.name,
        "namespec": process.namespec,
        "class": PROCESS_CLASSES[process.kind],
        **_values(process),
        "argv": argv,
        "uid": process.uid,
        "gid": process.gid,
        "stopsignal_name": _signal_name(process.stopsignal),
    }


def server_values(server: ServerConfig) -> dict[str, Any]:
    """A control socket; the password is hidden, an owner of -1 means no change."""
    shown: dict[str, Any] = {"section": server.section, "name": server.section.partition(":")[2] or None}
    if server.kind == "unix":
        owner = list(server.chown or (-1, -1))
        shown |= {"family": "AF_UNIX", "file": server.file, "chmod": server.chmod, "chown": owner}
    else:
        shown |= {"family": "AF_INET", "host": server.host, "port": server.port}
    shown |= {"username": server.username, "password": HIDDEN if server.password else server.password}
    # supervisord has none of these: they are shown where they are set
    for key in (*LOCALS, "pam_service", "certfile", "keyfile", "client_ca"):
        if value := getattr(server, key, None):
            shown[key] = list(value) if isinstance(value, tuple) else value
    return shown


def user_values(user: UserConfig) -> dict[str, Any]:
    """A user; the password is hidden."""
    return {"name": user.name, "role": str(user.role), "password": HIDDEN}


def _socket(socket: SocketConfig) -> dict[str, Any]:
    shown: dict[str, Any] = {"url": socket.url, "backlog": socket.backlog}
    if socket.path:
        return shown | {"path": socket.path, "mode": socket.mode, "owner": _plain(socket.owner)}
    return shown | {"host": socket.host, "port": socket.port} | ({"reuse_port": True} if socket.reuse_port else {})


def _plugin(plugin: Any) -> dict[str, Any]:
    return {
        "name": plugin.name,
        "factory": plugin.factory,
        "options": {key: HIDDEN if is_secret(key) else text for key, text in plugin.options},
    }


def _values(section: Any) -> dict[str, Any]:
    """The options of a section by name."""
    shown = {option.key: _plain(getattr(section, option.key)) for option in declared(section.__class__)}
    if "environment" in shown:
        shown["environment"] = dict(section.environment)
    if shown.get("password"):
        shown["password"] = HIDDEN
    return shown


def _plain(value: Any) -> Any:
    match value:
        case AutoRestart():
            return RESTARTS[value]
        case enum.Enum():
            return value.value
        case tuple():
            return list(value)
        case _:
            return value


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _origins(config: Config) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for (section, option), origin in config.origins.items():
        found.setdefault(section, {})[option] = origin
    return found
