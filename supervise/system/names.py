"""Names of hosts, which somebody far away may know, or not answer for."""

import errno
import socket
from typing import Any

from supervise.system.threads import begin

RESOLVING = 3.0  # seconds


def addresses(host: str | None, port: int) -> list[Any]:
    """What to bind for a host and a port, as getaddrinfo(3) has it; a number is not asked for.

    Blocks for RESOLVING at most. Raises OSError.
    """
    try:
        return _ask(host, port, socket.AI_NUMERICHOST)
    except OSError:
        pass
    answer, errors = list[Any](), list[OSError]()

    def ask() -> None:
        try:
            answer.extend(_ask(host, port, 0))
        except OSError as error:
            errors.append(error)

    asking = begin(ask, "names")
    asking.join(RESOLVING)
    if errors:
        raise errors[0]
    if asking.is_alive():
        raise OSError(errno.EADDRNOTAVAIL, f"no answer within {RESOLVING:g} seconds")
    return answer


def _ask(host: str | None, port: int, flags: int) -> list[Any]:
    flags |= socket.AI_PASSIVE | socket.AI_NUMERICSERV
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    except UnicodeError as error:  # no possible name
        raise OSError(errno.EINVAL, str(error)) from None
