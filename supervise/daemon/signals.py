"""What signals mean to the daemon: supervisord's, with its log lines."""

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial

from supervise.core.events import DaemonChanged, DaemonState, Notification
from supervise.daemon.commands import Commands
from supervise.daemon.lifecycle import Lifecycle
from supervise.daemon.report import Report
from supervise.errors import CommandError
from supervise.system.keeper import FORWARDED

log = logging.getLogger("supervise")


ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


async def unless_told_to_end(work: Coroutine[None, None, None]) -> bool:
    """Do what comes before anything else, while signals wait that cannot be heeded yet; those that end the daemon are,
    at once: then it is cancelled, and False returned."""
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)

    def leave(number: int, _: object) -> None:
        log.warning("received %s indicating exit request", signal.Signals(number).name)
        loop.call_soon_threadsafe(task.cancel)

    before = [(number, signal.signal(number, leave)) for number in ENDING]
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    try:
        await asyncio.wait((task,))
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        for number, handler in before:
            signal.signal(number, handler)
    if task.cancelled():
        return False
    task.result()
    return True


class Signals:
    """TERM, INT and QUIT end the daemon, HUP reloads it, USR2 reopens its logs, and USR1, which supervisord leaves to
    its default action, upgrades it. For the thread of the running loop.

    As PID 1, too, nothing is passed on to programs: each has its own `stopsignal`, and what a program does not expect
    kills it.
    """

    def __init__(self, commands: Commands, lifecycle: Lifecycle, report: Report) -> None:
        self._commands, self._lifecycle, self._report = commands, lifecycle, report
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._again = False
        self._upgrading: asyncio.Task[None] | None = None  # so that it is not collected
        for number in ENDING:
            self._on(number, partial(self._leave, number.name))
        self._on(signal.SIGHUP, self._hangup)
        self._on(signal.SIGUSR2, self._reopen)
        self._on(signal.SIGUSR1, self._upgrade)
        # Who has executed us in a daemon's place has made these wait until here.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
        commands.supervisor.bus.listen(self._told)

    def _on(self, number: signal.Signals, act: Callable[[], None]) -> None:
        """Not the loop's own way, which goes through a pipe that many SIGCHLDs can fill, and loses a signal then."""
        signal.signal(number, lambda *_: self._loop.call_soon_threadsafe(act))

    def _leave(self, name: str) -> None:
        log.warning("received %s indicating exit request", name)
        self._lifecycle.shutdown()

    def _reopen(self) -> None:
        log.info("received SIGUSR2 indicating log reopen request")
        self._commands.reopen_logs()

    def _upgrade(self) -> None:
        log.warning("received SIGUSR1 indicating upgrade request")
        self._upgrading = self._loop.create_task(self._try_upgrade())

    async def _try_upgrade(self) -> None:
        with suppress(CommandError):  # who refused has said so in the log
            await self._commands.upgrade()

    def _hangup(self) -> None:
        match self._commands.supervisor.state:
            case DaemonState.SHUTDOWN:
                log.warning("ignored SIGHUP indicating restart request (shutdown in progress)")
                return
            case state:
                log.warning("received SIGHUP indicating restart request")
        if self._task or state is DaemonState.RESTARTING:
            self._again = True  # the files may have changed since the reload under way has read them
        else:
            self._task = self._loop.create_task(self._reload())

    async def _reload(self) -> None:
        self._report.reloading()
        try:
            await self._commands.reload()
        except CommandError:  # who refused has said so in the log
            self._report.reload_refused()
        finally:
            self._task = None
            self._once_more()

    def _told(self, notification: Notification) -> None:
        if notification == DaemonChanged(DaemonState.RUNNING):
            self._loop.call_soon(self._once_more)

    def _once_more(self) -> None:
        if self._again and not self._task and self._commands.supervisor.state is DaemonState.RUNNING:
            self._again = False
            self._task = self._loop.create_task(self._reload())
