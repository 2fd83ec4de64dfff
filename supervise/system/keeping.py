"""Who keeps our descriptors while no daemon runs, as seen from the daemon: the keeper, or systemd's store.

Both take a descriptor with a message (SCM_RIGHTS) and never answer. A message that finds the queue full is sent a
little later, with a duplicate of its descriptor: until then the descriptor is as safe as without a keeper, which is to
say that a pipe is found again through /proc while its program runs. Of what waits about a name only the last counts.
"""

import array
import asyncio
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from supervise.system import keeper
from supervise.system.bequest import bequeathed, duplicate
from supervise.system.reap import become_subreaper

log = logging.getLogger("supervise")

AGAIN = 0.05  # seconds after which a full queue is tried again
WAITING = 10_000  # messages that wait, at most


class Outbox:
    """Messages with descriptors into a non-blocking socket. Any thread; never waits, never raises."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._lock = threading.Lock()
        self._waiting: dict[str, tuple[bytes, int]] = {}  # by name
        self._loop: asyncio.AbstractEventLoop | None = None

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on there is a loop in which to try again."""
        self._loop = loop
        self._try_again()

    def send(self, name: str, message: bytes, fd: int = -1) -> None:
        """Send a message about a name. `fd` may be closed as soon as this returns."""
        with self._lock:
            if not self._waiting:
                if self._put(message, fd):
                    return
                self._arrange()
            self._drop(name)
            if len(self._waiting) < WAITING:
                with suppress(OSError):
                    self._waiting[name] = message, duplicate(fd) if fd >= 0 else -1

    def _drop(self, name: str) -> None:
        _, fd = self._waiting.pop(name, (b"", -1))
        if fd >= 0:
            os.close(fd)

    def _put(self, message: bytes, fd: int) -> bool:
        """False: not now."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))] if fd >= 0 else []
        try:
            self.sock.sendmsg([message], rights, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return False
        except OSError:  # nobody is there, or it is not to be had: then it is not kept
            return True
        return True

    def _arrange(self) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: the daemon ends
                self._loop.call_soon_threadsafe(self._loop.call_later, AGAIN, self._try_again)

    def _try_again(self) -> None:
        with self._lock:
            for name, waiting in list(self._waiting.items()):
                if not self._put(*waiting):
                    self._arrange()
                    return
                self._drop(name)


class Keeper:
    """Our end of the socket to the keeper: a `Safe`, and its voice."""

    reaps = True

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._outbox = Outbox(sock)
        self._loop: asyncio.AbstractEventLoop | None = None

    def hold(self, name: str, fd: int) -> None:
        """Have it kept, unless it is a pidfd: the keeper is the one who reaps, and tells."""
        if not name.startswith("process-"):
            self._outbox.send(name, b"hold " + name.encode(), fd)

    def release(self, name: str) -> None:
        """It need not be kept any more."""
        self._outbox.send(name, b"release " + name.encode())

    def say(self, word: str) -> None:
        """ "ready", "upgrading" or "ending"."""
        self._outbox.send(word, word.encode())

    def listen(self, ended: Callable[[int, int, int], None], lost: Callable[[], None]) -> None:
        """In the running loop, call `ended(pid, start, status)` for what the keeper reaps, and `lost` if it dies."""
        self._loop = asyncio.get_running_loop()
        self._outbox.attach(self._loop)
        self._loop.add_reader(self.sock, self._readable, ended, lost)

    def _readable(self, ended: Callable[[int, int, int], None], lost: Callable[[], None]) -> None:
        try:
            words = self.sock.recv(keeper.MESSAGE, socket.MSG_DONTWAIT).split()
        except BlockingIOError:
            return
        except OSError:
            words = []
        if not words:
            self.close()
            lost()
        elif words[0] == b"ended":
            ended(*map(int, words[1:4]))

    def close(self) -> None:
        """Stop listening to it. It need not be told that we end: it sees that."""
        if self._loop is not None:
            self._loop.remove_reader(self.sock)
            self._loop = None


class Store:
    """systemd's store of descriptors (sd_pid_notify_with_fds(3)): a `Safe`.

    FDPOLL=0, because a pipe whose writer has ended is not to be thrown away with what is still in it.
    """

    reaps = False

    def __init__(self, address: str) -> None:
        """Raises OSError where nobody listens."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            sock.connect("\0" + address[1:] if address.startswith("@") else address)
        except OSError:
            sock.close()
            raise
        self._outbox = Outbox(sock)

    def attach(self) -> None:
        """To be called in the running loop."""
        self._outbox.attach(asyncio.get_running_loop())

    def hold(self, name: str, fd: int) -> None:
        """Have it kept. What is in the store already (we got it from there) is not stored twice."""
        self._outbox.send(name, f"FDSTORE=1\nFDNAME={name}\nFDPOLL=0".encode(), fd)

    def release(self, name: str) -> None:
        """It need not be kept any more."""
        self._outbox.send(name, f"FDSTOREREMOVE=1\nFDNAME={name}".encode())


def start_keeper(command: Sequence[str], facts: Mapping[str, Any]) -> Keeper | None:
    """Fork: returns in a child of ours, which is the daemon, while we become its keeper.

    `command` starts another daemon, `facts` are told to each of them. To be called without threads and event loop.
    None, in the same process, if there can be no keeper. Raises OSError.
    """
    if not (os.access(sys.executable, os.X_OK) and os.access(keeper.__file__, os.R_OK)):
        log.warning("nothing will start this daemon again if it dies: %s cannot be executed", keeper.__file__)
        return None
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [*keeper.FORWARDED, signal.SIGCHLD])
    try:
        pid = os.fork()
    except OSError:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        raise
    if pid == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        ours.close()
        return Keeper(its)
    try:
        become_subreaper()
        os.set_inheritable(ours.fileno(), True)
        page = {"daemon": pid, "link": ours.fileno(), "command": list(command), "facts": dict(facts)}
        with bequeathed({}, page) as variables:
            number = variables.popitem()[1]
            title = " ".join(["keeper of", *command[1:]])
            os.execv(sys.executable, [sys.executable, "-I", "-S", keeper.__file__, number, title])
    finally:
        os._exit(1)  # the daemon goes on alone
