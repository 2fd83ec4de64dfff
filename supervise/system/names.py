"""Names of hosts, which somebody far away may know, or not answer for."""

import errno
import socket
from typing import Any

from supervise.system.threads import within

RESOLVING = 3.0  # seconds


def addresses(host: str | None, port: int) -> list[Any]:
    """What to bind for a host and a port, as getaddrinfo(3) has it; a number is not asked for.

    Blocks for RESOLVING at most. Raises OSError.
    """
    try:
        return _ask(host, port, socket.AI_NUMERICHOST)
    except OSError:
        pass
    try:
        return within(RESOLVING, lambda: _ask(host, port, 0), "names")
    except TimeoutError as why:
        raise OSError(errno.EADDRNOTAVAIL, why.strerror) from None


def _ask(host: str | None, port: int, flags: int) -> list[Any]:
    flags |= socket.AI_PASSIVE | socket.AI_NUMERICSERV
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    except UnicodeError as error:  # no possible name
        raise OSError(errno.EINVAL, str(error)) from None
