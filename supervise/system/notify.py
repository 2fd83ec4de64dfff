"""Talking to our own service manager: sd_notify(3) and sd_watchdog_enabled(3)."""

import os
import socket
import time
from collections.abc import Mapping


class Notifier:
    """Sends states to the socket that the service manager named in NOTIFY_SOCKET; without one, does nothing.

    Never blocks and never raises: a service manager that does not listen must not hold up anything.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            self._address = "\0" + self._address[1:]  # unix(7): abstract
        elif not self._address.startswith("/"):
            self._address = ""  # vsock and such: not ours
        self.watchdog = _watchdog(environ) if self._address else None
        self._status = ""

    def __bool__(self) -> bool:
        return bool(self._address)

    def send(self, *lines: str) -> bool:
        """Send assignments such as "READY=1" as one message; False if nobody took it."""
        if not self._address:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as sock:
                sock.sendto("\n".join(lines).encode(errors="surrogateescape"), self._address)
        except OSError:
            return False
        return True

    def ready(self, status: str = "") -> bool:
        """We serve, after a start or after a reload. False: nobody took it, which may be because many messages wait."""
        self._status = status
        return self.send("READY=1", f"MAINPID={os.getpid()}", f"STATUS={status}")

    def reloading(self) -> None:
        """A reload begins; `ready` ends it (Type=notify-reload wants the time, systemd 253)."""
        self.send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """The shutdown begins."""
        self.send("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`; sent only if it differs from the last."""
        if text != self._status:
            self._status = text
            self.send(f"STATUS={text}")

    def ping(self) -> None:
        """The event loop turns: keep the watchdog quiet."""
        self.send("WATCHDOG=1")


def _watchdog(environ: Mapping[str, str]) -> float | None:
    """Seconds between two pings, half of what is allowed; None if no watchdog is set, or it is for another process."""
    try:
        period = int(environ.get("WATCHDOG_USEC", "0")) / 1_000_000
        pid = int(environ.get("WATCHDOG_PID", "0"))
    except ValueError:
        return None
    return period / 2 if period > 0 and pid in {0, os.getpid()} else None
