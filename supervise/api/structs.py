"""The structs of supervisord's XML-RPC interface (`getProcessInfo`, `getAllConfigInfo`, status arrays).

Exactly supervisord's members, because clients iterate over them; what we know beyond them is in the JSON API.
"""

from collections.abc import Mapping
from typing import Any

from supervise.api.wire import SPECIAL, Rendered, text
from supervise.config.model import AUTO, AutoRestart
from supervise.daemon.info import ConfigInfo, ProcessInfo, Result
from supervise.errors import Fault

_PROCESS = (
    "<value><struct>\n"
    "<member>\n<name>name</name>\n<value><string>%s</string></value>\n</member>\n"
    "<member>\n<name>group</name>\n<value><string>%s</string></value>\n</member>\n"
    "<member>\n<name>start</name>\n<value><int>%d</int></value>\n</member>\n"
    "<member>\n<name>stop</name>\n<value><int>%d</int></value>\n</member>\n"
    "<member>\n<name>now</name>\n<value><int>%d</int></value>\n</member>\n"
    "<member>\n<name>state</name>\n<value><int>%d</int></value>\n</member>\n"
    "<member>\n<name>statename</name>\n<value><string>%s</string></value>\n</member>\n"
    "<member>\n<name>spawnerr</name>\n<value><string>%s</string></value>\n</member>\n"
    "<member>\n<name>exitstatus</name>\n<value><int>%d</int></value>\n</member>\n"
    "<member>\n<name>logfile</name>\n<value><string>%s</string></value>\n</member>\n"
    "<member>\n<name>stdout_logfile</name>\n<value><string>%s</string></value>\n</member>\n"
    "<member>\n<name>stderr_logfile</name>\n<value><string>%s</string></value>\n</member>\n"
    "<member>\n<name>pid</name>\n<value><int>%d</int></value>\n</member>\n"
    "<member>\n<name>description</name>\n<value><string>%s</string></value>\n</member>\n"
    "</struct></value>\n"
)

_CONFIG_OPTIONS: tuple[str, ...] = (
    *(
        "autostart",
        "directory",
        "uid",
        "command",
        "killasgroup",
        "name",
        "redirect_stderr",
        "startretries",
        "startsecs",
    ),
    *("stdout_logfile", "stdout_logfile_backups", "stdout_logfile_maxbytes", "stdout_capture_maxbytes"),
    *("stdout_events_enabled", "stdout_syslog"),
    *("stderr_logfile", "stderr_logfile_backups", "stderr_logfile_maxbytes", "stderr_capture_maxbytes"),
    *("stderr_events_enabled", "stderr_syslog", "startretries", "startsecs", "stopwaitsecs", "serverurl"),
)


def process(info: ProcessInfo) -> Rendered:
    """The process struct, rendered: several times as fast as through a mapping, and lists of it are what is polled.

    The numbers of a ProcessInfo are within 32 bits.
    """
    texts = (info.name, info.group, info.spawnerr, info.stdout_logfile, info.stderr_logfile, info.description)
    if not SPECIAL.search("\n".join(texts)):  # one look instead of six: nearly always there is nothing to escape
        name, group, spawnerr, stdout, stderr, description = texts
    else:
        name, group, spawnerr, stdout, stderr, description = map(text, texts)
    return Rendered(
        _PROCESS
        % (
            *(name, group, info.start, info.stop, info.now, info.state, info.statename, spawnerr),
            *(info.exitstatus, stdout, stdout, stderr, info.pid, description),
        )
    )


def config(info: ConfigInfo, active: ProcessInfo | None) -> Mapping[str, Any]:
    """The config struct: supervisord 4.3.0's members, and 4.4's `autorestart`.

    A log file chosen by us (AUTO) is shown by its name once the process is `active`, before that as "auto".
    """
    program = info.config
    found: dict[str, Any] = {option: getattr(program, option) for option in _CONFIG_OPTIONS}
    found |= {
        "autorestart": _AUTORESTART[program.autorestart],
        "exitcodes": list(program.exitcodes),
        "group": info.group,
        "group_prio": info.group_priority,
        "inuse": info.inuse,
        "process_prio": program.priority,
        "stopsignal": int(program.stopsignal),
    }
    for option in ("stdout_logfile", "stderr_logfile"):
        if found[option] == AUTO:
            found[option] = (active and getattr(active, option)) or "auto"
    # XML-RPC has no null; supervisord says "none".
    return {name: "none" if value is None else value for name, value in found.items()}


def status(result: Result) -> Mapping[str, Any]:
    """An element of the arrays that calls on groups return."""
    return {
        "name": result.name,
        "group": result.group,
        "status": int(result.status),
        "description": "OK" if result.status is Fault.SUCCESS else result.description,
    }


_AUTORESTART: Mapping[AutoRestart, bool | str] = {
    AutoRestart.NEVER: False,
    AutoRestart.ALWAYS: True,
    AutoRestart.UNEXPECTED: "unexpected",
}
