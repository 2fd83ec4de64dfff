"""journald's native protocol: fields instead of a formatted line (systemd.io/JOURNAL_NATIVE_PROTOCOL)."""

import socket
import struct
from collections.abc import Callable, Mapping

from supervise.system.sender import Connection, Datagram
from supervise.system.syslog import unix


def fields(values: Mapping[str, str | int]) -> bytes:
    """Fields as they go into a datagram. Values with a newline take the form with a length."""
    return b"".join(field(name, str(value).encode(errors="surrogateescape")) for name, value in values.items())


def field(name: str, value: bytes) -> bytes:
    """One field: a name in capitals, and any bytes."""
    if b"\n" in value:
        return name.encode() + b"\n" + struct.pack("<Q", len(value)) + value + b"\n"
    return name.encode() + b"=" + value + b"\n"


def entry(values: Mapping[str, str | int]) -> Callable[[float, bytes], bytes]:
    """A wrapper of lines: each becomes MESSAGE beside these fields. journald takes the time itself."""
    common = fields(values)

    def wrap(at: float, line: bytes) -> bytes:
        return field("MESSAGE", line) + common

    return wrap


def connect(path: str) -> Connection:
    """Open a way to journald's socket. Raises OSError."""
    return Datagram(unix(path, socket.SOCK_DGRAM))
