"""Who asks: HTTP Basic credentials, the peer of a unix socket, and the origin of a browser's request."""

import base64
import binascii
import ctypes
import errno
import ipaddress
import os
import socket
import struct
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from supervise.api.problem import Problem
from supervise.config.model import Role, ServerConfig
from supervise.errors import CommandError, Fault

CHALLENGE = {"WWW-Authenticate": 'Basic realm="default"', "Connection": "close"}
SO_PEERGROUPS = 59  # asm-generic/socket.h, Linux 4.13; not in Python's socket module
MAX_GROUPS = 256  # what Python lets getsockopt return
NGROUPS_MAX = 65536  # linux/limits.h

_UCRED = struct.Struct("3i")  # struct ucred of unix(7): pid, uid, gid


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is at the other end, and what that one may do. uid and pid are known on unix sockets only."""

    user: str = ""
    address: str = ""
    uid: int | None = None
    pid: int | None = None
    role: Role = Role.READ

    def __str__(self) -> str:
        return f"user {self.user!a} at {self.place}" if self.user else self.place

    @property
    def place(self) -> str:
        """Where it is, in words."""
        return self.address or "an unknown address" if self.uid is None else f"uid {self.uid} (pid {self.pid})"

    @property
    def source(self) -> str:
        """What failed logins are counted by: a user of this machine, an IPv4 address, or a network of IPv6."""
        if self.uid is not None:
            return f"uid {self.uid}"
        try:
            address = ipaddress.ip_address(self.address.partition("%")[0])
        except ValueError:
            return self.address
        # The smallest network that is given to anybody has 2**64 addresses.
        return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else self.address

    def lacks(self, needed: Role) -> CommandError | None:
        """The refusal, if the role is too small; says nothing of what there is or is not."""
        if self.role >= needed:
            return None
        return CommandError(Fault.FAILED, f"refused: this needs the role {needed}, and {self} has {self.role}")


def peer(sock: Any, address: object, user: str = "") -> Caller:
    """The caller as the kernel knows it: SO_PEERCRED at connect time (unix(7)), or the network address."""
    if sock is not None and sock.family == socket.AF_UNIX:
        pid, uid, _ = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
        return Caller(user, uid=uid, pid=pid)
    return Caller(user, address=str(address[0]) if isinstance(address, tuple) and address else "")


def peer_groups(sock: Any) -> frozenset[int]:
    """All groups of the process that connected, as they were then (SO_PEERCRED, SO_PEERGROUPS): no look into /proc,
    where another process may have taken the pid. Raises OSError."""
    _, _, gid = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    try:
        groups: Iterable[int] = array("I", sock.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, MAX_GROUPS * 4))
    except OSError as error:
        if error.errno != errno.ERANGE:
            raise
        groups = _many_groups(sock.fileno())
    return frozenset({gid, *groups})


def _many_groups(fd: int) -> list[int]:
    """More groups than Python's getsockopt returns, up to the kernel's NGROUPS_MAX. Raises OSError."""
    found = (ctypes.c_uint32 * NGROUPS_MAX)()
    size = ctypes.c_uint32(ctypes.sizeof(found))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.getsockopt(fd, socket.SOL_SOCKET, SO_PEERGROUPS, ctypes.byref(found), ctypes.byref(size)) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return list(found[: size.value // 4])


def credentials(header: str) -> tuple[str, bytes] | None:
    """Name and password of a Basic Authorization header; None if it is none."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        return (user.decode(), password) if user and colon else None
    except (binascii.Error, ValueError):
        return None


def check_origin(config: ServerConfig, headers: Mapping[str, str], *, is_open: bool) -> None:
    """Refuse a state change that another site makes a browser ask for. Raises Problem 403.

    Browsers send Origin with every POST, PUT and DELETE; other clients do not send it. The Origin must be the Host
    that was asked. Where no password is needed that is not enough, for a name under an attacker's control can be made
    to point here (DNS rebinding): then the Host must be a name that no stranger can own.
    """
    if headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        raise Problem(403, "refused: the request comes from another site")
    origin = headers.get("Origin")
    if origin is None:
        return
    host = headers.get("Host", "")
    if not host or _netloc(origin) != host.lower():
        raise Problem(403, "refused: the request comes from another site (Origin and Host differ)")
    if config.kind == "inet" and is_open and not is_ours(host_name(host), config):
        raise Problem(403, "refused: without a password, a browser must use this host's address or its own name")


def _netloc(url: str) -> str:
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:  # an unclosed bracket
        return ""


def host_name(host: str) -> str:
    """The name or address in a Host header, without the port."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    return name.strip("[]").rstrip(".").lower()


def is_ours(name: str, config: ServerConfig) -> bool:
    """Whether it is an address, or a name that no stranger can own."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        own = {config.host.lower(), socket.gethostname().lower()}
        return name in own or "." not in name or name.endswith((".localhost", ".local", ".internal"))
    return True
