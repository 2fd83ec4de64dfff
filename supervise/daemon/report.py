"""What the daemon tells its service manager: ready, reloading, stopping, a status line, and that it is alive."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable

from supervise.core.events import DaemonChanged, DaemonState, Notification, State
from supervise.system.notify import Notifier

AGAIN = 0.1  # seconds after which READY=1 is said again, if the queue was full
TRIES = 100
COALESCE = 0.2  # seconds between two status lines, however much happens
SHOWN = (State.RUNNING, State.STARTING, State.BACKOFF, State.STOPPING, State.FATAL, State.EXITED, State.STOPPED)


def status(states: Iterable[State]) -> str:
    """ "12 running, 1 backoff"."""
    counts = Counter(states)
    shown = [f"{counts[state]} {state.name.lower()}" for state in (*SHOWN, State.UNKNOWN) if counts[state]]
    return ", ".join(shown) or "no programs"


class Report:
    """Listens on the bus; does nothing at all without a service manager. Loop thread only."""

    def __init__(self, notifier: Notifier, states: Callable[[], Iterable[State]]) -> None:
        self._notifier, self._states = notifier, states
        self._loop = asyncio.get_running_loop()
        self._serving = False
        self._pending: asyncio.TimerHandle | None = None
        self._watchdog: asyncio.TimerHandle | None = None
        self._saying: asyncio.TimerHandle | None = None

    def ready(self) -> None:
        """The daemon serves for the first time."""
        self._serving = True
        self._tell_ready()
        self._ping()

    def reloading(self) -> None:
        """A reload has been asked for; it may still be refused (then call `reload_refused`)."""
        self._notifier.reloading()

    def reload_refused(self) -> None:
        """Nothing has changed, and the daemon goes on."""
        self._tell_ready()

    def told(self, notification: Notification) -> None:
        """A listener of the bus."""
        if not self._notifier:
            return
        match notification:
            case DaemonChanged(DaemonState.RESTARTING):
                self._notifier.reloading()
            case DaemonChanged(DaemonState.SHUTDOWN):
                self._notifier.stopping()
            case DaemonChanged(DaemonState.RUNNING) if self._serving:
                self._tell_ready()
            case _:
                self._pending = self._pending or self._loop.call_later(COALESCE, self._show)

    def close(self) -> None:
        """Stop the timers."""
        for timer in (self._pending, self._watchdog, self._saying):
            if timer:
                timer.cancel()

    def _tell_ready(self, tries: int = TRIES) -> None:
        """It must not get lost among the descriptors of a thousand programs: who waits for it kills us in the end."""
        if self._notifier and not self._notifier.ready(status(self._states())) and tries > 1:
            self._saying = self._loop.call_later(AGAIN, self._tell_ready, tries - 1)

    def _show(self) -> None:
        self._pending = None
        self._notifier.status(status(self._states()))

    def _ping(self) -> None:
        """From the loop itself: a loop that hangs does not ping, and is restarted."""
        if self._notifier.watchdog:
            self._notifier.ping()
            self._watchdog = self._loop.call_later(self._notifier.watchdog, self._ping)
