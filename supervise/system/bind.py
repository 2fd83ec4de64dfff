"""Binding and listening: the control interface's sockets and those of programs come into being here.

A unix socket comes into being under a private name, with its mode and owner, and is then renamed into place: nobody
can connect before it is protected, and file systems without hard links will do (supervisord uses link(2)).
"""

import errno
import logging
import os
import socket
import stat
from contextlib import suppress

LONGEST_PATH = 107  # unix(7): sun_path has 108 bytes, one of them for the null

logger = logging.getLogger("supervise")
Inode = tuple[int, int]  # device and number


class OwnerError(PermissionError):
    """We may not give the socket to the owner that was asked for."""


def bind_unix(path: str, *, mode: int, owner: tuple[int, int] | None, backlog: int) -> tuple[socket.socket, Inode]:
    """A listening, non-blocking stream socket at an absolute path, and its file.

    A file that is there is replaced if it is a socket that nobody listens on. Raises OSError and leaves nothing behind:
    EADDRINUSE if somebody listens there, ENOTSOCK if there is something else, ENAMETOOLONG, OwnerError.
    """
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise OSError(errno.ENAMETOOLONG, f"the path is longer than {LONGEST_PATH} bytes: no client could connect")
    _clear(path)
    directory = os.open(os.path.dirname(path) or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        place = f"{path}.{os.getpid()}"
        if len(os.fsencode(place)) > LONGEST_PATH:  # the directory is named by its descriptor, and the name shortened
            place = f"/proc/self/fd/{directory}/{os.path.basename(path)[:8]}.{os.getpid()}"
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            with suppress(FileNotFoundError):
                os.unlink(place)
            sock.bind(place)
            protect(place, mode, owner)
            sock.listen(backlog)
            found = os.lstat(place)
            os.rename(place, path)
        except BaseException:
            sock.close()
            with suppress(OSError):
                os.unlink(place)
            raise
    finally:
        os.close(directory)
    return sock, (found.st_dev, found.st_ino)


def protect(path: str, mode: int | None, owner: tuple[int, int] | None) -> None:
    """Give a socket's file a mode and an owner (-1 leaves the user or the group), but no other file that whoever may
    write to its directory has put in its place. Raises OwnerError, OSError."""
    place = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISSOCK(os.fstat(place).st_mode):
            raise OSError(errno.ENOTSOCK, "it is no socket any more", path)
        if mode is not None:
            os.chmod(f"/proc/self/fd/{place}", mode)
        if owner is not None:
            try:
                os.chown(f"/proc/self/fd/{place}", *owner)
            except PermissionError as error:
                raise OwnerError(error.errno, error.strerror) from None
    finally:
        os.close(place)


def is_at(path: str, inode: Inode) -> bool:
    """Whether the file at the path is still the one that was made."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == inode


def remove(path: str, inode: Inode) -> None:
    """Remove the file of a socket, if it is still the one that was made."""
    if is_at(path, inode):
        with suppress(OSError):
            os.unlink(path)


def _clear(path: str) -> None:
    """See that nobody listens at the path, and that there is nothing but an old socket. Raises OSError."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if stat.S_ISLNK(mode):
        return  # rename will replace the link, not what it points to
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.ENOTSOCK, "it exists and is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        code = probe.connect_ex(path)
    if code in {0, errno.EAGAIN, errno.EINPROGRESS, errno.EPROTOTYPE}:  # EAGAIN: it listens, and its queue is full
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    if code == errno.ECONNREFUSED:
        logger.warning("Unlinking stale socket %s", path)
    elif code != errno.ENOENT:
        raise OSError(code, os.strerror(code))


def bind_inet(
    family: int, address: tuple[object, ...], *, backlog: int, only_v6: bool = False, reuse_port: bool = False
) -> socket.socket:
    """A listening, non-blocking stream socket at a resolved address. Raises OSError."""
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if only_v6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock
