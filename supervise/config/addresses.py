"""Where programs' sockets listen, and where log lines are sent: the texts that name such places."""

import enum
from typing import NamedTuple

from supervise.config import values
from supervise.config.machine import Machine
from supervise.config.values import Type, choice, port_number

FACILITIES = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"),
    *("ntp", "security", "console", "solaris-cron"),
    *(f"local{number}" for number in range(8)),
)
SEVERITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
_ALIASES = {"panic": "emerg", "critical": "crit", "error": "err", "warn": "warning", "information": "info"}
DEV_LOG = "unix:/dev/log"
JOURNAL = "/run/systemd/journal/socket"


class SyslogFormat(enum.Enum):
    """How a line is wrapped."""

    RFC3164 = "rfc3164"
    RFC5424 = "rfc5424"


class Address(NamedTuple):
    """Either a path or a port; `host` "" is every IPv4 address of the machine."""

    path: str = ""
    host: str = ""
    port: int = 0


def listen_address(text: str) -> Address:
    """`host:port`, `[v6]:port`, `:port`, `*:port` or `port`, also after `tcp://`; `/path`, also after `unix:`."""
    text = text.strip()
    if text.startswith(("unix:", "/")):
        return Address(path=_path(text.removeprefix("unix:").removeprefix("//"), text))
    host, port = _host_and_port(text.removeprefix("tcp://"), text, None)
    return Address(host="" if host == "*" else host, port=port)


def syslog_target(text: str) -> str:
    """`unix:/path`, `udp://host:port`, `tcp://host:port` or `journald:/path`, with what was left out filled in.

    Accepts a bare path, `unix:///path`, `journald` alone, and no port for 514.
    """
    text = text.strip()
    scheme, colon, rest = text.partition(":")
    match scheme.lower():
        case "journald" | "journal":
            return f"journald:{_path(rest.removeprefix('//'), text) if colon else JOURNAL}"
        case "unix" if colon:
            return f"unix:{_path(rest.removeprefix('//'), text)}"
        case "udp" | "tcp" if rest.startswith("//"):
            host, port = _host_and_port(rest[2:], text, 514)
            if not host:
                raise ValueError(f"no host in {text!r}")
            return f"{scheme.lower()}://{f'[{host}]' if ':' in host else host}:{port}"
        case _ if text.startswith("/"):
            return f"unix:{text}"
        case _:
            expected = "journald, /dev/log, unix:/path, udp://host:port or tcp://host:port"
            raise ValueError(f"expected {expected}, not {text!r}")


def _path(path: str, text: str) -> str:
    if not path.startswith("/"):
        raise ValueError(f"{text!r} does not name an absolute path")
    return path


def _host_and_port(text: str, whole: str, default: int | None) -> tuple[str, int]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"expected [IPv6 address]:port, not {whole!r}")
        colon, port = bool(rest), rest[1:]
    elif text.count(":") > 1:
        raise ValueError(f"an IPv6 address must be in brackets, as in [::1]:8000, not {whole!r}")
    else:
        host, separator, port = text.rpartition(":")
        colon = bool(separator)
        if not colon and (default is not None or not port.isdecimal()):
            host, port = port, ""
    if not port and not colon and default is not None:
        return host.lower(), default
    if not port:
        raise ValueError(f"no port number specified in {whole!r}")
    if any(not character.isprintable() or character in " /" for character in host):
        raise ValueError(f"{host!r} is not a host")
    return host.lower(), port_number(port)


def priority(text: str) -> str:
    """`facility.severity` of `facility.severity`, a severity alone (of user) or a facility alone (info)."""
    first, dot, second = text.strip().lower().partition(".")
    severity = _ALIASES.get(second or first, second or first)
    if dot:
        return f"{facility(first)}.{_known(severity, SEVERITIES, 'severity')}"
    if severity in SEVERITIES:
        return f"user.{severity}"
    if first in FACILITIES:
        return f"{first}.info"
    raise ValueError(f"unknown priority {text!r}; write facility.severity, such as daemon.notice")


def facility(text: str) -> str:
    """The name of a syslog facility, in lower case."""
    return _known(text.strip().lower(), FACILITIES, "facility")


def _known(word: str, known: tuple[str, ...], what: str) -> str:
    if word not in known:
        raise ValueError(f"unknown {what} {word!r}; expected {', '.join(known)}")
    return word


def priority_number(text: str) -> int:
    """The PRI of RFC 5424, 6.2.1, for a normalised `facility.severity`."""
    where, _, severity = text.partition(".")
    return FACILITIES.index(where) * 8 + SEVERITIES.index(severity)


def _normal(machine: Machine, address: Address) -> Address:
    return address._replace(path=machine.absolute(address.path)) if address.path else address


LISTEN = Type(
    "host:port, [IPv6 address]:port, *:port, or the absolute path of a unix socket",
    listen_address,
    ("integer",),
    locate=_normal,
)
SYSLOG_TARGET = Type("/dev/log, unix:/path, udp://host:port, tcp://host:port or journald", syslog_target)
PRIORITY = Type("facility.severity, such as daemon.notice", priority)
OWNER = Type(values.CHOWN.wanted, str, locate=Machine.owner_of)
MODE = Type(values.OCTAL.wanted, values.octal)
FACILITY = Type("a syslog facility, such as daemon", facility)
SYSLOG_FORMAT = Type("rfc3164 or rfc5424", choice(SyslogFormat), enum=tuple(m.value for m in SyslogFormat))
