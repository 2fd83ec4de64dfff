"""Who asks, and may they: HTTP Basic credentials, the peer of a unix socket, and the origin of a browser's request."""

import base64
import binascii
import enum
import hashlib
import hmac
import ipaddress
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from supervise.api.problem import Problem
from supervise.config.model import ServerConfig

CHALLENGE = {"WWW-Authenticate": 'Basic realm="default"', "Connection": "close"}

_UCRED = struct.Struct("3i")  # struct ucred of unix(7): pid, uid, gid


class Role(enum.IntEnum):
    """What a call needs. Every route and method states one; whoever passes `authenticate` has them all so far."""

    READ = 1
    CONTROL = 2
    ADMIN = 3


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is at the other end; for the audit trail. uid and pid are known on unix sockets only."""

    user: str = ""
    address: str = ""
    uid: int | None = None
    pid: int | None = None

    def __str__(self) -> str:
        place = self.address or "an unknown address" if self.uid is None else f"uid {self.uid} (pid {self.pid})"
        return f"user {self.user!a} at {place}" if self.user else place


def peer(sock: Any, address: object, user: str) -> Caller:
    """The caller as the kernel knows it: SO_PEERCRED at connect time (unix(7)), or the network address."""
    if sock is not None and sock.family == socket.AF_UNIX:
        pid, uid, _ = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
        return Caller(user, uid=uid, pid=pid)
    return Caller(user, address=str(address[0]) if isinstance(address, tuple) and address else "")


def authenticate(config: ServerConfig, headers: Mapping[str, str]) -> str:
    """The name of the user, or "" where the server asks for none. Raises Problem 401.

    Constant time in both name and password. supervisord: `{SHA}` and the hexadecimal SHA-1 of the password, or the
    password itself (http.py, encrypted_dictionary_authorizer).
    """
    if not config.username:
        return ""
    user, password = _credentials(headers.get("Authorization", ""))
    stored = config.password or ""
    if stored.startswith("{SHA}"):
        stored, password = stored[5:].lower(), hashlib.sha1(password).hexdigest().encode()
    known = _same(config.username.encode(), user)
    right = _same(stored.encode(), password)
    if not (known and right):
        raise Problem(401, "user name and password are required", headers=CHALLENGE)
    return config.username


def _credentials(header: str) -> tuple[bytes, bytes]:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return b"", b""
    try:
        user, _, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return b"", b""
    return user, password


def _same(one: bytes, other: bytes) -> bool:
    # Digests have equal lengths, so the comparison does not tell how long the right one is.
    return hmac.compare_digest(hashlib.sha256(one).digest(), hashlib.sha256(other).digest())


def check_origin(config: ServerConfig, headers: Mapping[str, str]) -> None:
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
    if config.kind == "inet" and not config.username and not _is_ours(host, config):
        raise Problem(403, "refused: without a password, a browser must use this host's address or its own name")


def _netloc(url: str) -> str:
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:  # an unclosed bracket
        return ""


def _is_ours(host: str, config: ServerConfig) -> bool:
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    name = name.strip("[]").rstrip(".").lower()
    try:
        ipaddress.ip_address(name)
    except ValueError:
        own = {config.host.lower(), socket.gethostname().lower()}
        return name in own or "." not in name or name.endswith((".localhost", ".local", ".internal"))
    return True
