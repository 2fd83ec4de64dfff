"""Syslog: how lines are wrapped (RFC 3164 as glibc does it, RFC 5424), and how they travel (RFC 5426, RFC 6587)."""

import datetime
import errno
import re
import socket
import time
from collections.abc import Callable

from supervise.system.sender import Connection, Datagram, Stream

CONNECTING = 5.0  # seconds for each address of a server
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")  # whatever the locale
_NOT_IN_A_NAME = re.compile(rb"[^\x21-\x7e]")


def rfc3164(priority: int, tag: str, pid: int, hostname: str = "") -> Callable[[float, bytes], bytes]:
    """A wrapper of lines: `<PRI>Mmm dd hh:mm:ss [HOST ]TAG[PID]: line`. pid 0 and hostname "" are left out.

    Local daemons are sent no host name, as syslog(3) does it; over the network RFC 3164, 4.1.2 wants one.
    """
    host = _name(hostname, 255) + b" " if hostname else b""
    process = b"[%d]" % pid if pid else b""
    before, after = b"<%d>" % priority, b" " + host + _name(tag, 48) + process + b": "

    def wrap(at: float, line: bytes) -> bytes:
        when = time.localtime(at)
        stamp = f"{MONTHS[when.tm_mon - 1]} {when.tm_mday:2d} {when.tm_hour:02d}:{when.tm_min:02d}:{when.tm_sec:02d}"
        return before + stamp.encode() + after + line

    return wrap


def rfc5424(priority: int, tag: str, pid: int, hostname: str) -> Callable[[float, bytes], bytes]:
    """A wrapper of lines: `<PRI>1 TIMESTAMP HOST APP-NAME PROCID - - line`."""
    process = b"%d" % pid if pid else b"-"
    before = b"<%d>1 " % priority
    after = b" " + b" ".join([_name(hostname, 255) or b"-", _name(tag, 48) or b"-", process, b"-", b"-", b""])

    def wrap(at: float, line: bytes) -> bytes:
        stamp = datetime.datetime.fromtimestamp(at).astimezone().isoformat(timespec="microseconds")
        return before + stamp.encode() + after + line

    return wrap


def _name(text: str, limit: int) -> bytes:
    return _NOT_IN_A_NAME.sub(b"_", text.encode())[:limit]


def by_newline(message: bytes) -> bytes:
    """RFC 6587, 3.4.2: what every server takes."""
    return message + b"\n"


def by_length(message: bytes) -> bytes:
    """RFC 6587, 3.4.1: octet counting, which RFC 5424 goes with."""
    return b"%d %s" % (len(message), message)


def connect(target: str, framing: Callable[[bytes], bytes]) -> Connection:
    """Open a way to `unix:/path`, `udp://host:port` or `tcp://host:port`. May block for seconds. Raises OSError."""
    scheme, _, rest = target.partition(":")
    if scheme == "unix":
        try:
            return Datagram(unix(rest, socket.SOCK_DGRAM))
        except OSError as error:
            if error.errno != errno.EPROTOTYPE:
                raise
        return Stream(unix(rest, socket.SOCK_STREAM), framing)
    host, _, port = rest.removeprefix("//").rpartition(":")
    host = host.strip("[]")
    if scheme == "tcp":
        sock = socket.create_connection((host, int(port)), CONNECTING)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return Stream(sock, framing)
    family, kind, protocol, _, address = socket.getaddrinfo(host, int(port), type=socket.SOCK_DGRAM)[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.connect(address)
    except OSError:
        sock.close()
        raise
    return Datagram(sock)


def unix(path: str, kind: socket.SocketKind) -> socket.socket:
    """A unix socket connected to a path. Raises OSError."""
    sock = socket.socket(socket.AF_UNIX, kind)
    try:
        sock.setblocking(False)  # a stream's connect(2) would wait for room in the server's backlog
        sock.connect(path)
    except OSError:
        sock.close()
        raise
    return sock
