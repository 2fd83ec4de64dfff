"""Going into the background, while the process that was started waits to hear how it went."""

import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

READY = b"\0"


@dataclass(slots=True)
class Starter:
    """The process that started the daemon and waits for it; without one (in the foreground) nothing happens."""

    fd: int = -1

    def ready(self) -> None:
        """We serve: the starting process ends with status 0. Only the first call says anything."""
        self._tell(READY)

    def failed(self, text: str) -> bool:
        """We cannot serve: the starting process prints `text` on stderr and ends with status 2.

        False: it does not wait (any more), so `text` has to be said elsewhere.
        """
        return self._tell(text.encode(errors="surrogateescape"))

    def _tell(self, message: bytes) -> bool:
        fd, self.fd = self.fd, -1
        if fd < 0:
            return False
        try:
            with open(fd, "wb", buffering=0) as pipe:
                pipe.write(message)
        except BrokenPipeError:
            return False
        return True


def daemonize(*, umask: int, directory: str | None) -> Starter:
    """Continue in the background: a session without a terminal, /dev/null on descriptors 0 to 2, umask and directory.

    Returns only in the daemon; the starting process prints and exits as the daemon tells it through the `Starter`, or
    with status 2 if the daemon dies silently. To be called without threads and event loop. The daemon does not lead its
    session (daemon(7), a second fork), so that no terminal it opens as a log can become its own. Raises OSError.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    ours, daemons = os.pipe()
    if os.fork():
        os.close(daemons)
        _wait(ours)
    os.close(ours)
    os.setsid()
    if os.fork():
        os._exit(0)
    starter = Starter(daemons)
    if directory is not None:
        try:
            os.chdir(directory)
        except OSError as error:
            starter.failed(f"Error: can't chdir into {directory!r}: {error.strerror}\n")
            os._exit(2)
    os.umask(umask)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    if null > 2:
        os.close(null)
    return starter


def secure_descriptors() -> frozenset[int]:
    """Open /dev/null for whichever of 0, 1, 2 is closed (nothing else may get these numbers), and let no descriptor
    above them that we inherited pass on to children. Returns those. To be called before anything else is opened."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number: fd
            os.set_inheritable(fd, True)
    inherited = []
    for name in os.listdir("/proc/self/fd"):
        if (fd := int(name)) > 2:
            with suppress(OSError):  # the directory's own
                os.set_inheritable(fd, False)
                inherited.append(fd)
    return frozenset(inherited)


def close_all(descriptors: Iterable[int]) -> None:
    """Close them, open or not: a daemon must not keep its starter's pipes open (daemon(7))."""
    for fd in descriptors:
        with suppress(OSError):
            os.close(fd)


def _wait(fd: int) -> NoReturn:
    try:
        with open(fd, "rb", buffering=0) as pipe:
            message = pipe.readall()
    except KeyboardInterrupt:  # the daemon has a session of its own, and goes on
        os._exit(130)
    if message != READY:
        text = (
            message.decode(errors="replace") or "Error: the daemon ended before it could serve; its log may say why\n"
        )
        sys.stderr.write(text)
        sys.stderr.flush()
    os._exit(0 if message == READY else 2)
