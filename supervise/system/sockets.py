"""The listening sockets of the control interface."""

import errno
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass

from supervise.config.model import ServerConfig
from supervise.system.accounts import Accounts
from supervise.system.bind import LONGEST_PATH, Inode, OwnerError, bind_inet, bind_unix, is_at, remove
from supervise.system.names import addresses

BACKLOG = 1024
IN_USE = (
    "Another program is already listening on a port that one of our HTTP servers is configured to use.  "
    "Shut this program down first before starting supervisord."
)


class SocketError(Exception):
    """A server cannot be opened. `str()` is a sentence for the user that begins as supervisord's does."""


@dataclass(eq=False, slots=True)
class Listener:
    """One bound, listening, non-blocking socket, and the server it is for. Compared by identity."""

    config: ServerConfig
    sock: socket.socket
    inode: Inode | None = None  # of a unix socket's file

    @property
    def url(self) -> str:
        """Where clients find it: unix:///path or http://host:port."""
        if self.inode:
            return f"unix://{self.config.file}"
        host, port = self.sock.getsockname()[:2]
        scheme = "https" if self.config.certfile else "http"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    @property
    def intact(self) -> bool:
        """The file of a unix socket is still ours; always true for other sockets."""
        return self.inode is None or is_at(self.config.file, self.inode)

    def close(self) -> None:
        """Stop listening, and remove the file if it is still ours. May be called again."""
        if self.inode:
            remove(self.config.file, self.inode)
        self.sock.close()


def listen(config: ServerConfig) -> list[Listener]:
    """Open one server: a unix socket, or every address that its host stands for. Raises SocketError, opening nothing.

    May ask the resolver, and so block for some seconds for a host that is no address.
    """
    if config.kind == "unix":
        return [_listen_unix(config)]
    return _listen_inet(config)


def listen_all(configs: Iterable[ServerConfig]) -> list[Listener]:
    """Open all of them, or raise SocketError and open none."""
    opened: list[Listener] = []
    try:
        for config in configs:
            opened += listen(config)
    except SocketError:
        for listener in opened:
            listener.close()
        raise
    return opened


def _listen_unix(config: ServerConfig) -> Listener:
    path = config.file
    try:
        sock, inode = bind_unix(path, mode=config.chmod, owner=config.chown, backlog=BACKLOG)
    except OwnerError:
        raise SocketError(_not_permitted(path, config.chown)) from None
    except OSError as error:
        match error.errno:
            case errno.ENAMETOOLONG:
                raise SocketError(
                    f"Cannot open an HTTP server: the socket's path is longer than {LONGEST_PATH} bytes, "
                    f"and no client could connect to it: {path}"
                ) from None
            case errno.ENOTSOCK:
                raise SocketError(f"Cannot open an HTTP server: {path} exists and is not a socket") from None
            case _:
                raise _error(error, path) from None
    return Listener(config, sock, inode)


def _not_permitted(path: str, owner: tuple[int, int] | None) -> str:
    try:
        user = Accounts().of(os.geteuid()).name
    except OSError:
        user = str(os.geteuid())
    return (
        f'Not permitted to chown {path} to uid/gid {owner}; adjust "sockchown" value in config file or on '
        f"command line to values that the current user ({user}) can successfully chown"
    )


def _listen_inet(config: ServerConfig) -> list[Listener]:
    """A host may have several addresses; those of a family that this machine lacks are left out while one works."""
    where = f"{config.host or '*'}:{config.port}"
    try:
        found = addresses(config.host or None, config.port)
    except OSError as error:
        raise SocketError(f"Cannot open an HTTP server: cannot resolve {where}: {error}") from None
    opened: list[Listener] = []
    problem: OSError | None = None
    for family, address in dict.fromkeys((entry[0], entry[4]) for entry in found):
        try:
            opened.append(Listener(config, _bind(family, address)))
        except OSError as error:
            problem = error
            if error.errno not in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}:
                break
    else:
        if opened:
            return opened
    for listener in opened:
        listener.close()
    raise _error(problem or OSError(errno.EADDRNOTAVAIL, "no address"), where)


def _bind(family: int, address: tuple[object, ...]) -> socket.socket:
    only_v6 = family == socket.AF_INET6  # IPv4 has a socket of its own
    return bind_inet(family, address, backlog=BACKLOG, only_v6=only_v6)


def _error(error: OSError, where: str) -> SocketError:
    number = error.errno or 0
    if number == errno.EADDRINUSE:
        return SocketError(f"{IN_USE}  ({where})")
    name = f"errno.{errno.errorcode[number]} ({number})" if number in errno.errorcode else str(number)
    return SocketError(
        f"Cannot open an HTTP server: socket.error reported {name}: {where}: {os.strerror(number).lower()}"
    )
