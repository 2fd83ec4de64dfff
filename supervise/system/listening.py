"""The listening sockets that programs inherit."""

import ctypes
import errno
import os
import re
import socket
from dataclasses import dataclass

from supervise.config.model import SocketConfig
from supervise.system.bind import Inode, OwnerError, bind_inet, bind_unix, is_at, protect, remove
from supervise.system.names import addresses

PIDFD_GETFD = 438  # the same on every architecture


class ListenError(OSError):
    """A socket cannot be opened; `str()` is a sentence."""

    def __init__(self, number: int | None, text: str) -> None:
        super().__init__(number, text)
        self.text = text

    def __str__(self) -> str:
        return self.text


@dataclass(slots=True, eq=False)
class Listening:
    """One bound socket that listens. It blocks: that is what a program expects of a descriptor it is given."""

    config: SocketConfig
    sock: socket.socket
    inode: Inode | None = None  # of a unix socket's file

    @property
    def intact(self) -> bool:
        """The file of a unix socket is still ours; always true for other sockets."""
        return self.inode is None or is_at(self.config.path, self.inode)

    def adapt(self, config: SocketConfig) -> None:
        """Take over other options at the same address. Raises ListenError."""
        old, self.config = self.config, config
        try:
            if config.backlog != old.backlog:
                self.sock.listen(_backlog(config))
            if config.reuse_port != old.reuse_port:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, config.reuse_port)
            if self.inode is not None and self.intact and (config.mode, config.owner) != (old.mode, old.owner):
                protect(config.path, config.mode, config.owner)
        except OSError as error:
            raise _refused(config, error) from None

    def unblock(self) -> None:
        """Undo what programs did to the flags, which belong to the socket and not to their descriptors of it."""
        self.sock.setblocking(True)

    def close(self) -> None:
        """Stop listening, and remove the file if it is still ours. May be called again."""
        if self.inode is not None:
            remove(self.config.path, self.inode)
        self.sock.close()


def listen(config: SocketConfig) -> Listening:
    """Open a socket. Raises ListenError. A host's name holds us up for some seconds at most."""
    inode = None
    try:
        if config.path:
            sock, inode = bind_unix(config.path, mode=config.mode, owner=config.owner, backlog=_backlog(config))
        else:
            family, address = _resolve(config.host, config.port)
            sock = bind_inet(family, address, backlog=_backlog(config), reuse_port=config.reuse_port)
    except OSError as error:
        raise _refused(config, error) from None
    opened = Listening(config, sock, inode)
    opened.unblock()
    return opened


def recognise(fd: int, config: SocketConfig) -> Listening | None:
    """A descriptor that we were handed, if it is this very socket; it is then the result's to close."""
    try:
        sock = socket.socket(fileno=fd)
    except OSError:
        return None
    try:
        if sock.type == socket.SOCK_STREAM and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            if config.path:
                if sock.family == socket.AF_UNIX and bound_at(os.fsdecode(sock.getsockname()), config.path):
                    found = os.lstat(config.path)
                    return Listening(config, sock, (found.st_dev, found.st_ino))
            elif sock.family != socket.AF_UNIX:
                family, address = _resolve(config.host, config.port)
                if (sock.family, sock.getsockname()[:2]) == (family, address[:2]):
                    return Listening(config, sock)
    except OSError:
        pass
    sock.detach()
    return None


def bound_at(name: str, path: str) -> bool:
    """Whether a socket that says it was bound to `name` is the one at `path`: `bind` renames them."""
    private = re.compile(re.escape(os.path.basename(path)) + r"(?:\.\d+)?", re.ASCII)
    folder, base = os.path.split(name)
    known = folder == os.path.dirname(path) or folder.startswith("/proc/self/fd/")
    return known and private.fullmatch(base) is not None


def borrow(pid: int, config: SocketConfig) -> Listening | None:
    """The socket as one of a process's descriptors, if the process has it and we may look (pidfd_getfd(2))."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        numbers = [int(name) for name in os.listdir(f"/proc/{pid}/fd")]
        for number in sorted(numbers):
            if not os.readlink(f"/proc/{pid}/fd/{number}").startswith("socket:"):
                continue
            fd = libc.syscall(PIDFD_GETFD, pidfd, number, 0)
            if fd < 0:
                return None
            if found := recognise(fd, config):
                return found
            os.close(fd)
    except OSError:
        pass
    finally:
        os.close(pidfd)
    return None


def _backlog(config: SocketConfig) -> int:
    return config.backlog or socket.SOMAXCONN


def _refused(config: SocketConfig, error: OSError) -> ListenError:
    why = error.strerror or str(error)
    if isinstance(error, OwnerError):
        why = f"not permitted to give it to {config.owner}"
    return ListenError(error.errno, f"couldn't create socket {config.url}: {why}")


def _resolve(host: str, port: int) -> tuple[int, tuple[object, ...]]:
    """The family and address to bind: IPv4 where a name has both, as supervisord. Raises OSError."""
    if not host:
        return socket.AF_INET, ("0.0.0.0", port)
    try:
        found = addresses(host, port)
    except OSError as error:
        raise OSError(errno.EADDRNOTAVAIL, f"no address of {host}: {error.strerror}") from None
    family, *_, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    return family, address
