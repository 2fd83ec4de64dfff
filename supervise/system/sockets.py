"""The listening sockets of the control interface.

A unix socket comes into being under a private name, with its mode and owner, and is then renamed into place: nobody
can connect before it is protected, and file systems without hard links will do (supervisord uses link(2)).
"""

import errno
import logging
import os
import pwd
import socket
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from supervise.config.model import ServerConfig

BACKLOG = 1024
LONGEST_PATH = 107  # unix(7): sun_path has 108 bytes, one of them for the null
IN_USE = (
    "Another program is already listening on a port that one of our HTTP servers is configured to use.  "
    "Shut this program down first before starting supervisord."
)

logger = logging.getLogger("supervise")


class SocketError(Exception):
    """A server cannot be opened. `str()` is a sentence for the user that begins as supervisord's does."""


@dataclass(eq=False, slots=True)
class Listener:
    """One bound, listening, non-blocking socket, and the server it is for. Compared by identity."""

    config: ServerConfig
    sock: socket.socket
    inode: tuple[int, int] | None = None  # device and number of a unix socket's file

    @property
    def url(self) -> str:
        """Where clients find it: unix:///path or http://host:port."""
        if self.inode:
            return f"unix://{self.config.file}"
        host, port = self.sock.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def intact(self) -> bool:
        """The file of a unix socket is still ours; always true for other sockets."""
        if self.inode is None:
            return True
        try:
            found = os.lstat(self.config.file)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self.inode

    def close(self) -> None:
        """Stop listening, and remove the file if it is still ours. May be called again."""
        if self.inode and self.intact:
            with suppress(OSError):
                os.unlink(self.config.file)
        self.sock.close()


def listen(config: ServerConfig) -> list[Listener]:
    """Open one server: a unix socket, or every address that its host stands for. Raises SocketError, opening nothing.

    May ask the resolver, so it may block for a host that is no address.
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
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise SocketError(
            f"Cannot open an HTTP server: the socket's path is longer than {LONGEST_PATH} bytes, "
            f"and no client could connect to it: {path}"
        )
    try:
        _clear(path)
        directory = os.open(os.path.dirname(path) or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _error(error, path) from None
    # The private name is longer than the last one and might not fit: the directory is named by its descriptor.
    private = f"{os.path.basename(path)}.{os.getpid()}"
    place = f"/proc/self/fd/{directory}/{private}" if len(os.fsencode(path)) > 90 else f"{path}.{os.getpid()}"
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        with suppress(FileNotFoundError):
            os.unlink(place)
        try:
            sock.bind(place)
            os.chmod(place, config.chmod)
            if config.chown is not None:
                _chown(place, path, config.chown)
            sock.listen(BACKLOG)
            found = os.lstat(place)
            os.rename(place, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(place)
            raise
    except OSError as error:
        sock.close()
        raise _error(error, path) from None
    except BaseException:
        sock.close()
        raise
    finally:
        os.close(directory)
    return Listener(config, sock, (found.st_dev, found.st_ino))


def _clear(path: str) -> None:
    """See that nobody listens at the path, and that there is nothing but an old socket. Raises SocketError, OSError."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if stat.S_ISLNK(mode):
        return  # rename will replace the link, not what it points to
    if not stat.S_ISSOCK(mode):
        raise SocketError(f"Cannot open an HTTP server: {path} exists and is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        code = probe.connect_ex(path)
    if code in {0, errno.EAGAIN, errno.EINPROGRESS, errno.EPROTOTYPE}:  # EAGAIN: it listens, and its queue is full
        raise SocketError(f"{IN_USE}  ({path})")
    if code == errno.ECONNREFUSED:
        logger.warning("Unlinking stale socket %s", path)
    elif code != errno.ENOENT:
        raise OSError(code, os.strerror(code))


def _chown(place: str, path: str, owner: tuple[int, int]) -> None:
    try:
        os.chown(place, *owner)
    except PermissionError:
        try:
            user = pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:
            user = str(os.geteuid())
        raise SocketError(
            f'Not permitted to chown {path} to uid/gid {owner}; adjust "sockchown" value in config file or on '
            f"command line to values that the current user ({user}) can successfully chown"
        ) from None


def _listen_inet(config: ServerConfig) -> list[Listener]:
    """A host may have several addresses; those of a family that this machine lacks are left out while one works."""
    where = f"{config.host or '*'}:{config.port}"
    try:
        found = socket.getaddrinfo(
            config.host or None, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )
    except (OSError, UnicodeError) as error:
        raise SocketError(f"Cannot open an HTTP server: cannot resolve {where}: {error}") from None
    opened: list[Listener] = []
    problem: OSError | None = None
    for family, address in dict.fromkeys((entry[0], entry[4]) for entry in found):
        try:
            opened.append(Listener(config, _bind_inet(family, address)))
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


def _bind_inet(family: int, address: tuple[object, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # IPv4 has a socket of its own
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _error(error: OSError, where: str) -> SocketError:
    number = error.errno or 0
    if number == errno.EADDRINUSE:
        return SocketError(f"{IN_USE}  ({where})")
    name = f"errno.{errno.errorcode[number]} ({number})" if number in errno.errorcode else str(number)
    return SocketError(
        f"Cannot open an HTTP server: socket.error reported {name}: {where}: {os.strerror(number).lower()}"
    )
