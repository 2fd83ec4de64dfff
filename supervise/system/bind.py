"""Binding and listening: the control interface's sockets and those of programs come into being here.

A unix socket comes into being without any permissions, and gets its mode and owner before it listens: nobody can
connect before it is protected. It is bound to its own name, which getsockname(2) tells programs that are given it.
"""

import errno
import logging
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

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
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    bound = False
    try:
        os.fchmod(sock.fileno(), 0)  # the file has it from its birth
        with _cleared(path):
            sock.bind(path)
        bound = True
        protect(path, mode, owner)
        sock.listen(backlog)
        found = os.lstat(path)
    except BaseException:
        sock.close()
        if bound:
            with suppress(OSError):
                os.unlink(path)
        raise
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


@contextmanager
def _cleared(path: str) -> Iterator[None]:
    """See that nobody listens at the path, and remove an old socket, or a link. Its inode stays taken meanwhile, so
    that whoever made it does not mistake the new one for it. Raises OSError."""
    try:
        old = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        yield
        return
    try:
        _clear(path)
        yield
    finally:
        os.close(old)


def _clear(path: str) -> None:
    try:
        facts = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISLNK(facts.st_mode):
        if not stat.S_ISSOCK(facts.st_mode):
            raise OSError(errno.ENOTSOCK, "it exists and is not a socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
            code = probe.connect_ex(path)
        if code in {0, errno.EAGAIN, errno.EINPROGRESS, errno.EPROTOTYPE}:  # EAGAIN: it listens, and its queue is full
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        unfinished = code == errno.EACCES and not facts.st_mode & 0o777 and facts.st_uid == os.geteuid()
        if code == errno.ENOENT:
            return
        if code != errno.ECONNREFUSED and not unfinished:  # unfinished: whoever made it was killed before it listened
            raise OSError(code, os.strerror(code))
        logger.warning("Unlinking stale socket %s", path)
    os.unlink(path)


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
