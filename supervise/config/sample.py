"""A configuration to begin with: every section and option in INI, those with a default as comments.

supervisord has this as `echo_supervisord_conf`. What a line means and its default come from the declarations.
"""

import textwrap
from collections.abc import Iterator, Mapping

from supervise.config.declare import Option
from supervise.config.document import NAMED
from supervise.config.schema import SECTION_DOCS, default_text
from supervise.config.sections import options_of

WIDTH = 100
FACTORY = "supervisor.rpcinterface_factory"
SOCKET = "/run/supervise.sock"
# What is not a comment: enough to start, and to be controlled.
SET: Mapping[str, Mapping[str, str]] = {
    "unix_http_server": {"file": SOCKET},
    "supervisord": {"logfile": "/var/log/supervise.log", "pidfile": "/run/supervise.pid"},
    "rpcinterface:supervisor": {FACTORY: "supervisor.rpcinterface:make_main_rpcinterface"},
    "supervisorctl": {"serverurl": f"unix://{SOCKET}"},
}
# What the options that must be set might be, in the sections that are comments.
EXAMPLES: Mapping[str, Mapping[str, str]] = {
    "inet_http_server": {"port": "127.0.0.1:9001"},
    "program": {"command": "/usr/bin/example --option"},
    "eventlistener": {"command": "/usr/bin/listener", "events": "PROCESS_STATE_EXITED,TICK_60"},
    "fcgi-program": {"command": "/usr/bin/fcgi-app", "socket": "unix:///run/%(program_name)s.sock"},
    "group": {"programs": "one,two"},
    "socket": {"listen": "127.0.0.1:8000"},
    "user": {"password": "see: supervise passwd"},
    "include": {"files": "conf.d/*.conf"},
    "ctlplugin": {"supervisor.ctl_factory": "module:factory"},
}


def sample() -> str:
    """The text of a file that supervisord 4.3.0 reads as well."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield "; A comment begins with a semicolon: at the beginning of a line, or after a blank."
    yield "; Values may contain %(here)s, the directory of this file, and %(ENV_X)s, X of the environment.\n"
    for kind, doc in SECTION_DOCS.items():
        yield from _comment(doc)
        if kind == "rpcinterface":
            yield from _active("rpcinterface:supervisor", {})
        elif kind in SET:
            yield from _active(kind, options_of(kind))
        else:
            yield f";[{kind}:x]" if kind in NAMED else f";[{kind}]"
            for option in _options(kind):
                yield from _described(option, EXAMPLES.get(kind, {}))
        yield ""


def _options(kind: str) -> list[Option]:
    """The options to show: those of programs are not told again."""
    told = options_of("program") if kind in ("eventlistener", "fcgi-program") else {}
    needed = EXAMPLES.get(kind, {})
    return [option for key, option in options_of(kind).items() if key not in told or key in needed]


def _active(header: str, options: Mapping[str, Option]) -> Iterator[str]:
    yield f"[{header}]"
    given = SET[header]
    for key in given.keys() - options.keys():
        yield f"{key} = {given[key]}"
    for option in options.values():
        yield from _described(option, given, "" if option.key in given else ";")


def _described(option: Option, given: Mapping[str, str], mark: str = ";") -> Iterator[str]:
    yield from _comment(option.doc)
    yield f"{mark}{option.key} = {given.get(option.key, default_text(option))}".rstrip()


def _comment(text: str) -> Iterator[str]:
    yield from textwrap.wrap(text, WIDTH, initial_indent="; ", subsequent_indent="; ")
