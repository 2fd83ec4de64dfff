"""[socket:x] and the socket of an fcgi-program: what the daemon listens on for others."""

import re
from collections.abc import Sequence
from typing import Any

from supervise.config.addresses import Address
from supervise.config.convert import Converter
from supervise.config.declare import declared
from supervise.config.document import Section
from supervise.config.model import MAX_SOCKETS, ProgramConfig, SocketConfig
from supervise.config.problems import did_you_mean
from supervise.config.sections import FcgiSocket, options_of
from supervise.config.values import port_number

MAX_BACKLOG = 65535  # supervisord's
LONGEST_NAME = 255  # sd_listen_fds(3)
_TCP = re.compile(r"tcp://([^\s:\[\]]+|\[[^\s\[\]]+\]):(\d+)$")


def fcgi(converter: Converter, section: Section, processes: Sequence[ProgramConfig]) -> SocketConfig | None:
    """The socket of an [fcgi-program:x]; None after a problem. It belongs to the user of its processes."""
    problems, machine = converter.problems, converter.machine
    names = {"program_name": section.label.strip()}
    values = {option.key: converter.get(section, option, names) for option in declared(FcgiSocket)}
    url, backlog = values["socket"], values["socket_backlog"]
    owner, mode = values["socket_owner"], values["socket_mode"]
    if not url:
        problems.error(section.place("socket"), f'[{section.name}] section requires a "socket" line')
        return None
    if backlog is not None and not 1 <= backlog <= MAX_BACKLOG:
        problems.error(section.place("socket_backlog"), f"Invalid socket_backlog value {backlog}")
    try:
        address = _fcgi_address(url)
        if not address.path and (owner, mode) != (None, None):
            raise ValueError("socket_owner and socket_mode params should only be used with a Unix domain socket")
    except ValueError as why:
        problems.error(section.place("socket"), f"{why} in [{section.name}] socket")
        return None
    if not address.path:
        return SocketConfig(host=address.host, port=address.port, backlog=backlog)
    user = next(((p.uid, p.gid) for p in processes if p.uid not in (None, machine.uid)), None)
    owner = owner or (user and (user[0], -1 if user[1] is None else user[1]))
    mode = 0o700 if mode is None else mode
    return SocketConfig(path=machine.absolute(address.path), backlog=backlog, owner=owner, mode=mode)


def _fcgi_address(url: str) -> Address:
    """supervisord's two forms of URL, and IPv6 in brackets. Raises ValueError with its texts."""
    if url.startswith("unix://"):
        path = url.removeprefix("unix://")
        if not path.startswith("/"):
            raise ValueError(f"Unix socket path {path} is not an absolute path")
        return Address(path=path)
    if match := _TCP.match(url):
        return Address(host=match[1].lower().strip("[]"), port=port_number(match[2]))
    raise ValueError(f"Bad socket format {url}")


def named(converter: Converter) -> dict[str, SocketConfig]:
    """The sockets of all [socket:x] sections by name, in order; those with a problem are left out."""
    found: dict[str, SocketConfig] = {}
    places: dict[Address, str] = {}
    for section in converter.document.of_kind("socket"):
        values = {key: converter.get(section, option) for key, option in options_of("socket").items()}
        name, address = section.label.strip(), values.pop("address")
        if bad := _bad_name(name):
            converter.problems.error(section.place(), bad)
        elif not section.get("address"):
            converter.problems.error(section.place(), f"section [{section.name}] has no address value")
        elif address is not None and _fits(converter, section, address, values):
            if address in places:
                converter.problems.warn(section.place("address"), f"[socket:{places[address]}] is at the same address")
            places.setdefault(address, name)
            mode = 0o700 if values["mode"] is None else values["mode"]
            found[name] = SocketConfig(name=name, **address._asdict(), **(values | {"mode": mode}))
    return found


def _bad_name(name: str) -> str:
    if not name or not name.isascii() or not name.isprintable() or set(" :/,") & set(name) or len(name) > LONGEST_NAME:
        return f"Invalid name: {name!r}; the name of a socket is ASCII without blanks, commas, colons and slashes"
    return ""


def _fits(converter: Converter, section: Section, address: Address, values: dict[str, Any]) -> bool:
    """Whether the other options can be had at the address; tells what cannot."""
    backlog = values["backlog"]
    if backlog is not None and not 1 <= backlog <= MAX_BACKLOG:
        converter.problems.error(section.place("backlog"), f"{backlog} is not between 1 and {MAX_BACKLOG}")
        return False
    for option in ("reuse_port",) if address.path else ("owner", "mode"):
        if values[option] not in (None, False):
            kind = "at a port" if address.path else "with a path"
            converter.problems.error(section.place(option), f"only a socket {kind} has this option")
            return False
    return True


def chosen(
    converter: Converter, section: Section, names: Sequence[str], known: dict[str, SocketConfig]
) -> tuple[SocketConfig, ...]:
    """What the option `sockets` of a program names. Unknown ones are told, if they are not merely wrong themselves."""
    place, problems = section.place("sockets"), converter.problems
    if len(names) > MAX_SOCKETS:
        problems.error(place, f"{len(names)} sockets are more than {MAX_SOCKETS}")
    for name in sorted({name for name in names if names.count(name) > 1}):
        problems.error(place, f"socket {name} is named twice")
    written = [each.label.strip() for each in converter.document.of_kind("socket")]
    for name in names:
        if name not in written:
            hint = did_you_mean(name, written) or f"; there is no [socket:{name}]"
            problems.error(place, f"unknown socket {name!r}{hint}")
    return tuple(known[name] for name in names if name in known)
