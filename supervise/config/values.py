"""From the text of an option to its value: one `Type` for each kind of option.

A converter raises ValueError with supervisord 4.3's text where supervisord has one. A `Type` also says what a TOML file
may write instead of that text, and what this machine must have for the value to work (`locate`).
"""

import enum
import math
import re
import shlex
import signal
from collections.abc import Callable
from typing import Any, NamedTuple

from supervise.config import environment, secrets
from supervise.config.machine import STOCK_INTERFACE, Machine
from supervise.config.problems import NotHere

AUTO = "AUTO"  # a log file that the daemon names, and deletes at its next start
SYSLOG = "syslog"
LOG_LEVELS = {"critical": 50, "error": 40, "warn": 30, "info": 20, "debug": 10, "trace": 5, "blather": 3}
EVENT_TYPES = (
    "EVENT",
    "PROCESS_STATE",
    *(
        f"PROCESS_STATE_{state}"
        for state in ("STOPPED", "EXITED", "STARTING", "STOPPING", "BACKOFF", "FATAL", "RUNNING", "UNKNOWN")
    ),
    *("PROCESS_COMMUNICATION", "PROCESS_COMMUNICATION_STDOUT", "PROCESS_COMMUNICATION_STDERR"),
    *("PROCESS_LOG", "PROCESS_LOG_STDOUT", "PROCESS_LOG_STDERR"),
    "REMOTE_COMMUNICATION",
    *("SUPERVISOR_STATE_CHANGE", "SUPERVISOR_STATE_CHANGE_RUNNING", "SUPERVISOR_STATE_CHANGE_STOPPING"),
    *("TICK", "TICK_5", "TICK_60", "TICK_3600"),
    *("PROCESS_GROUP", "PROCESS_GROUP_ADDED", "PROCESS_GROUP_REMOVED"),
)
_TRUE, _FALSE = ("yes", "true", "on", "1"), ("no", "false", "off", "0")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)\s*(h|ms|m|s)\s*)+", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(h|ms|m|s)", re.ASCII)


class AutoRestart(enum.Enum):
    """When an exited process is started again."""

    NEVER = "false"
    UNEXPECTED = "unexpected"
    ALWAYS = "true"


class StopScope(enum.Enum):
    """What must be gone before a process counts as stopped."""

    PROCESS = "process"
    GROUP = "group"
    TREE = "tree"


class RunType(enum.Enum):
    """Whether a program is meant to stay, or to do its work and end."""

    SIMPLE = "simple"
    ONESHOT = "oneshot"


class OnLeftover(enum.Enum):
    """What a starting daemon does with programs that one before it left running."""

    ADOPT = "adopt"
    STOP = "stop"
    IGNORE = "ignore"


class UserEnv(enum.Enum):
    """What `user=` does to HOME, USER, LOGNAME and SHELL."""

    KEEP = "keep"
    SET = "set"
    CLEAN = "clean"


def boolean(text: str) -> bool:
    """yes, true, on, 1 or no, false, off, 0 in any case."""
    word = text.lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError(f"not a valid boolean value: {text!r}")


def integer(text: str) -> int:
    """Whatever Python's int() takes."""
    return int(text)


def octal(text: str) -> int:
    """A number in base eight, such as 0700."""
    try:
        return int(text, 8)
    except ValueError:
        raise ValueError(f"{text} can not be converted to an octal type") from None


def seconds(text: str) -> float:
    """A whole number of seconds (any sign, as supervisord), a decimal one, or units: `1h`, `1m30s`, `500ms`."""
    try:
        number: float = int(text)
    except ValueError as why:
        words = text.strip()
        try:
            amount = math.fsum(float(n) * _UNITS[unit] for n, unit in _parts(words))
        except ValueError:
            raise ValueError(f'{why}; write seconds, or a duration such as "1m30s"') from None
        number = int(amount) if amount == int(amount) else amount
    if abs(number) > 10**12:
        raise ValueError(f"{text} is too long a time")
    return number


def _parts(words: str) -> list[tuple[str, str]]:
    if re.fullmatch(r"\d+\.\d+", words, re.ASCII):
        return [(words, "s")]
    if not _DURATION.fullmatch(words):
        raise ValueError
    return _DURATION_PART.findall(words)


def byte_size(text: str) -> int:
    """A whole number of bytes, or with KB, MB or GB of 1024s in any case. One-letter suffixes are an error."""
    lowered = text.lower()
    factor = {"kb": 1024, "mb": 1024**2, "gb": 1024**3}.get(lowered[-2:], 1)
    try:
        return int(lowered if factor == 1 else lowered[:-2]) * factor
    except ValueError as why:
        letter = lowered[-1:]
        hint = f"; did you mean {text.strip()}B?" if letter in ("k", "m", "g") else ""
        raise ValueError(f"{why}{hint}") from None


def words(text: str) -> tuple[str, ...]:
    """A comma-separated list; nothing at all is an empty list."""
    return tuple(word.strip() for word in text.split(",")) if text else ()


def exit_codes(text: str) -> tuple[int, ...]:
    """Comma-separated numbers from 0 to 255; may be empty."""
    try:
        codes = tuple(int(word) for word in text.split(",")) if text else ()
    except ValueError:
        codes = (-1,)
    if any(not 0 <= code <= 255 for code in codes):
        raise ValueError(f"not a valid list of exit codes: {text!r}")
    return codes


def signal_number(text: str) -> int:
    """A signal by name, with or without SIG, or by number; 0 is let through, as by supervisord."""
    try:
        number = int(text)
    except ValueError:
        name = text.strip().upper().removeprefix("SIG")
        found = getattr(signal, "SIG" + name, None)
        if not isinstance(found, signal.Signals):
            raise ValueError(f"value {text!r} is not a valid signal name") from None
        return int(found)
    if number != 0 and number not in signal.valid_signals():
        raise ValueError(f"value {text!r} is not a valid signal number")
    return number


def auto_restart(text: str) -> AutoRestart:
    """A true or false word, or `unexpected`."""
    word = text.lower()
    if word in _TRUE:
        return AutoRestart.ALWAYS
    if word in _FALSE:
        return AutoRestart.NEVER
    if word == "unexpected":
        return AutoRestart.UNEXPECTED
    raise ValueError(f"invalid 'autorestart' value {word!r}")


def log_level(text: str) -> int:
    """The number of critical, error, warn, info, debug, trace or blather."""
    try:
        return LOG_LEVELS[text.lower()]
    except KeyError:
        raise ValueError(f"bad logging level name {text!r}; expected {', '.join(LOG_LEVELS)}") from None


def child_log(text: str) -> str | None:
    """A path, AUTO, the word `syslog`, or None for `none` and `off`."""
    word = text.lower()
    if word in ("none", "off"):
        return None
    return {"auto": AUTO, SYSLOG: SYSLOG}.get(word, text)


def address(text: str) -> tuple[str, int]:
    """(host, port) of `host:port`, `[v6]:port`, `:port`, `*:port` or `port`; host "" is all interfaces."""
    host, colon, port_text = text.rpartition(":")
    if colon and not port_text:
        raise ValueError(f"no port number specified in {text!r}")
    try:
        port = port_number(port_text)
    except ValueError as why:
        raise ValueError(str(why) if colon else f"not a valid port number: {text!r} ") from None
    host = host.lower().removeprefix("[").removesuffix("]")
    return ("" if host == "*" else host), port


def port_number(text: str) -> int:
    """1 to 65535."""
    try:
        port = int(text)
    except ValueError as why:
        raise ValueError(f"{why}; expected a port from 1 to 65535, as in localhost:9001 or *:9001") from None
    if not 1 <= port <= 65535:
        side, bound = ("below lower", 1) if port < 1 else ("above upper", 65535)
        raise ValueError(f"{port} is {side} bound ({bound})")
    return port


def server_url(text: str) -> str | None:
    """The text, or None for AUTO; nothing at all is no URL."""
    return None if text.strip().upper() == AUTO else text


def factory(text: str) -> str:
    """`module:name`, in one spelling: without blanks, and with one of supervisord's two names for its own interface."""
    spec = ":".join(part.strip() for part in text.split(":"))
    return STOCK_INTERFACE if spec == "supervisor.rpcinterface:SupervisorNamespaceRPCInterface" else spec


def event_names(text: str) -> tuple[str, ...]:
    """Event types in upper case, sorted, each once."""
    return tuple(sorted({word.upper() for word in words(text)}))


def shutdown_time(text: str) -> float | None:
    """Seconds, or None for `none`."""
    return None if text.strip().lower() == "none" else seconds(text)


def choice(kind: type[enum.Enum]) -> Callable[[str], enum.Enum]:
    """A converter to a member of `kind` by its value."""

    def convert(text: str) -> enum.Enum:
        try:
            return kind(text.strip().lower())
        except ValueError:
            raise ValueError(f"expected {', '.join(str(m.value) for m in kind)}, not {text!r}") from None

    return convert


class Type(NamedTuple):
    """A kind of option: how its text is read, what TOML may write natively, what the machine must have.

    `native` names JSON Schema types; a TOML string is always allowed too, and is read as the text of an INI file.
    `shown` is what a message may show of what was written, which is logged and told to whoever may look.
    """

    wanted: str
    parse: Callable[[str], Any]
    native: tuple[str, ...] = ()
    locate: Callable[[Machine, Any], Any] | None = None
    enum: tuple[str, ...] = ()
    shown: Callable[[Any], object] = lambda written: written

    def text_of(self, raw: object) -> str:
        """The INI text of a TOML value. Raises ValueError if this option cannot have such a value."""
        match raw:
            case str():
                return raw
            case bool() if "boolean" in self.native:
                return "true" if raw else "false"
            case int() if not isinstance(raw, bool) and {"integer", "number"} & set(self.native):
                return str(raw)
            case float() if "number" in self.native and math.isfinite(raw):
                return f"{raw:f}" if raw != int(raw) else str(int(raw))
            case list() if "strings" in self.native and all(isinstance(item, str) for item in raw):
                return shlex.join(raw) if self is COMMAND else self._joined(raw)
            case list() if "integers" in self.native and all(type(item) is int for item in raw):
                return ",".join(map(str, raw))
            case dict() if "table" in self.native and all(type(v) in (str, int, float, bool) for v in raw.values()):
                return environment.text_of({key: _plain(value) for key, value in raw.items()})
        raise ValueError(f"expected {self.wanted}, not {self.shown(raw)!r}")

    def _joined(self, items: list[str]) -> str:
        return "\n".join(items) if self is GLOBS else ",".join(items)


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _named(name: str, convert: Callable[..., Any]) -> Callable[..., Any]:
    """`convert`, with supervisord's words about the option `name` before its own."""

    def named(*arguments: Any) -> Any:
        try:
            return convert(*arguments)
        except NotHere as why:
            raise NotHere(f"Invalid {name} value {arguments[-1]}: {why}") from None
        except ValueError as why:
            raise ValueError(f"Invalid {name} value {arguments[-1]}: {why}") from None

    return named


def _child_log_here(machine: Machine, path: str | None) -> str | None:
    return path if path in (None, AUTO, SYSLOG) else machine.existing_parent(path)


def _log_here(machine: Machine, path: str) -> str:
    return path if path == SYSLOG else machine.absolute(machine.existing_parent(path))


TEXT = Type("text", str)
SECRET = Type("text", str, shown=secrets.whole)
OPAQUE = Type("text, a number, true or false", str, ("boolean", "number"), shown=secrets.whole)
COMMAND = Type("a command line, or a list of its words", str, ("strings",), shown=secrets.in_command)
BOOLEAN = Type("true or false", boolean, ("boolean",))
INTEGER = Type("a whole number", integer, ("integer",))
OCTAL = Type('an octal number as a string, such as "0700"', octal)
SECONDS = Type('seconds, or a duration such as "1m30s"', seconds, ("number",))
SHUTDOWN = Type('seconds, a duration such as "1m30s", or none', shutdown_time, ("number",))
SIZE = Type('bytes, or a size such as "50MB"', byte_size, ("integer",))
NAMES = Type("a list of names", words, ("strings",))
GLOBS = Type("a list of file patterns", str.split, ("strings",))
EVENTS = Type("a list of event types", event_names, ("strings",))
EXIT_CODES = Type("a list of exit codes from 0 to 255", exit_codes, ("integer", "integers"))
SIGNAL = Type("a signal, such as TERM or 15", signal_number, ("integer",))
RESTART = Type("true, false or unexpected", auto_restart, ("boolean",), enum=("true", "false", "unexpected"))
LOG_LEVEL = Type("a log level", log_level, enum=tuple(LOG_LEVELS))
ENVIRONMENT = Type(
    'pairs such as KEY="value",OTHER="value"', environment.parse, ("table",), shown=environment.without_secrets
)
CHILD_LOG = Type("a path, AUTO or NONE", child_log, locate=_child_log_here)
LOG = Type("a path, or syslog", str, locate=_log_here)
PATH = Type("a path", str, locate=lambda machine, path: machine.absolute(machine.existing_parent(path)))
FILE = Type("a path", lambda text: text.strip(), locate=Machine.absolute)
DIRECTORY = Type("an existing directory", str, locate=Machine.existing_directory)
CHMOD = Type(OCTAL.wanted, _named("chmod", octal))
CHOWN = Type("user or user:group", str, locate=_named("sockchown", Machine.owner_of))
SOCKET_MODE = Type(OCTAL.wanted, _named("socket_mode", octal))
SOCKET_OWNER = Type("user or user:group", str, locate=_named("socket_owner", Machine.owner_of))
ADDRESS = Type("host:port, :port, *:port or a port", address, ("integer",))
URL = Type("a URL, or AUTO", server_url)
FACTORY = Type("module:name", factory)
STOP_SCOPE = Type("process, group or tree", choice(StopScope), enum=tuple(m.value for m in StopScope))
RUN_TYPE = Type("simple or oneshot", choice(RunType), enum=tuple(m.value for m in RunType))
ON_LEFTOVER = Type("adopt, stop or ignore", choice(OnLeftover), enum=tuple(m.value for m in OnLeftover))
USER_ENV = Type("keep, set or clean", choice(UserEnv), enum=tuple(m.value for m in UserEnv))
