"""Noticing that a file of ours was deleted, as cleaners of /tmp do, and making a control socket anew."""

import asyncio
import ctypes
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from supervise.system.sockets import Listener, SocketError, listen
from supervise.system.threads import begin

logger = logging.getLogger("supervise")

# linux/inotify.h. Unlinking a file changes its link count, which is an attribute; so is its mode, hence `intact`.
IN_ATTRIB, IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE = 0x4, 0x40, 0x80, 0x100, 0x200
IN_DELETE_SELF, IN_MOVE_SELF, IN_ONLYDIR = 0x400, 0x800, 0x1000000
SOCKET_EVENTS = IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF
DIRECTORY_EVENTS = IN_CREATE | IN_DELETE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR


class FileGuard:
    """Calls `changed` in the loop when a file may have been removed or renamed (inotify(7)): see then what is there."""

    def __init__(self, loop: asyncio.AbstractEventLoop, path: str, changed: Callable[[], object]) -> None:
        self._loop, self._changed = loop, changed
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            logger.warning("%s is not watched: %s", path, os.strerror(ctypes.get_errno()))
            return
        libc.inotify_add_watch(self._fd, os.fsencode(path), SOCKET_EVENTS)
        loop.add_reader(self._fd, self._readable)

    def _readable(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._fd, 65536)
        self._changed()

    def close(self) -> None:
        """Stop watching."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            self._loop.remove_reader(fd)
            _close(fd)


class SocketGuard:
    """Watches the file of one unix socket by inotify(7), the file itself, so that a busy /tmp costs nothing.

    `replaced(old, new)` is called in the loop when the file was gone and has been made anew; `old` still has its
    connections, and is the callee's to close. If it cannot be made (its directory is gone, somebody else has the path)
    one ERROR line says why, and it is tried again when something changes there.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, listener: Listener, replaced: Callable[[Listener, Listener], None]
    ) -> None:
        self.listener = listener
        self._loop, self._replaced, self._problem = loop, replaced, ""
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = -1
        self._watch()

    def close(self) -> None:
        """Stop watching; the socket stays as it is."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            self._loop.remove_reader(fd)
            _close(fd)

    def _watch(self) -> None:
        """Watch what there is: the socket's file, or the nearest directory in which it could appear again."""
        self.close()
        fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if fd < 0:
            logger.warning("%s is not watched: %s", self.listener.config.file, os.strerror(ctypes.get_errno()))
            return
        self._fd = fd
        self._loop.add_reader(fd, self._changed)
        path = self.listener.config.file
        if self.listener.intact:
            self._add(path, SOCKET_EVENTS)
            self._add(os.path.dirname(path), IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)
            if not self.listener.intact:  # it went before we looked
                self._loop.call_soon(self._restore)
            return
        above = os.path.dirname(path)
        while not self._add(above, DIRECTORY_EVENTS) and above != "/":
            path, above = above, os.path.dirname(above)
        if above != os.path.dirname(self.listener.config.file) and os.path.isdir(path):
            self._loop.call_soon(self._restore)  # it came before we looked

    def _add(self, path: str, events: int) -> bool:
        return bool(self._libc.inotify_add_watch(self._fd, os.fsencode(path), events) >= 0)

    def _changed(self) -> None:
        with suppress(BlockingIOError):
            while os.read(self._fd, 65536):
                pass
        if not self.listener.intact:
            self._restore()

    def _restore(self) -> None:
        if self._fd < 0:
            return
        old = self.listener
        directory = os.path.dirname(old.config.file)
        missing = not os.path.isdir(directory)
        try:
            [self.listener] = listen(old.config)
        except SocketError as error:
            if str(error) != self._problem:
                self._problem = str(error)
                logger.error("control socket %s is gone and cannot be made anew: %s", old.config.file, error)
        else:
            self._problem = ""
            logger.warning("control socket %s was gone; made it anew", old.config.file)
            self._replaced(old, self.listener)
        self._watch()
        if missing and os.path.isdir(directory) and not self.listener.intact:
            self._loop.call_soon(self._restore)  # it came between the two


def _close(fd: int) -> None:
    """Close an inotify descriptor, soon: the kernel waits 5 to 15 ms before it lets go of what was watched."""
    try:
        begin(partial(os.close, fd), "closing")
    except OSError:  # there can be no more threads
        os.close(fd)
