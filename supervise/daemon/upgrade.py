"""Executing new code in this daemon's place (execve(2)): the pid stays, and with it every child.

1. *Nothing is tried on the living.* A fresh interpreter first loads the new code and the configuration, and says
   whether it could go on where we are, in words that only our code knows: an empty script ends with 0, too. What it
   complains about is the answer to who asked, and nothing has changed.
2. *Everything is quiet.* Calls that are being answered get a few seconds; who calls from then on waits in the queue of
   a socket that stays open, and signals wait as well. No child is reaped any more: the next code finds it as a zombie,
   with its exit status. What was reaped has been dealt with. The log thread stands still between two pieces.
3. *Until the last moment there is a way back.* Nothing is closed before execve, so if that fails, we go on.
"""

import asyncio
import importlib
import json
import logging
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from supervise import __version__
from supervise.config.model import Config
from supervise.core.events import DaemonState
from supervise.daemon.ground import API, KEEPER, Ground, StartError, complaint
from supervise.daemon.memory import is_alive
from supervise.daemon.remembering import Remembering
from supervise.daemon.report import Report
from supervise.daemon.servers import address
from supervise.daemon.supervisor import Supervisor
from supervise.errors import CommandError, ConfigErrors, Fault
from supervise.system.bequest import bequeathed
from supervise.system.journal import SCHEMA
from supervise.system.keeper import FORWARDED
from supervise.system.reap import Reaper
from supervise.system.sockets import SocketError, listen_all
from supervise.system.trial import attempt

log = logging.getLogger("supervise")

REHEARSAL = "SUPERVISE_REHEARSAL"  # JSON: what must be so that the program may run in our place, which it only says
REHEARSED = "supervise {} can go on in the place of pid {}"  # which it says if so, with its version
REHEARSAL_PATIENCE = 60.0  # seconds
QUIET_PATIENCE = 3.0  # seconds for the ends of processes that are being dealt with
LOG_PATIENCE = 2.0  # seconds for the log thread to come to a rest
OURS = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class UpgradeError(Exception):
    """Not now. `str()` says why."""


class Upgrade:
    """Call it: it returns when the rehearsal has succeeded and no call is taken any more; soon after, we are replaced.

    Raises CommandError: CANT_REREAD if the new code refuses to run, FAILED if it cannot be tried, or would cut off what
    `amid` tells to be under way.
    """

    def __init__(
        self, ground: Ground, supervisor: Supervisor, reaper: Reaper, report: Report, remembering: Remembering
    ) -> None:
        self._ground, self._supervisor, self._reaper, self._report = ground, supervisor, reaper, report
        self._remembering = remembering
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._rehearsing = False
        self.problem = ""  # why the last one failed after its rehearsal

    async def __call__(self, amid: Callable[[], str]) -> None:
        if self._rehearsing or self._task:
            raise CommandError(Fault.FAILED, "an upgrade is under way")
        self._rehearsing = True
        try:
            await self._rehearse()
        finally:
            self._rehearsing = False
        if self._supervisor.state is not DaemonState.RUNNING:
            raise CommandError(Fault.SHUTDOWN_STATE)
        if what := amid():  # it may have begun meanwhile
            raise self._refuse(Fault.FAILED, f"{what} is under way")
        self._report.reloading()
        suspended = self._ground.servers.suspend()  # from here on nobody new is let in
        self._task = self._loop.create_task(self._replace(suspended, amid))

    async def _rehearse(self) -> None:
        ground = self._ground
        needs = {"schema": SCHEMA, "pidfile": ground.pidfile.path, "uid": os.getuid(), "pid": os.getpid()}
        needs["servers"] = ground.servers.addresses
        environ = {name: value for name, value in os.environ.items() if name not in OURS}
        environ[REHEARSAL] = json.dumps(needs)
        try:
            code, said = await attempt(ground.command, environ, directory(ground.cwd), self._reaper, REHEARSAL_PATIENCE)
        except OSError as error:
            raise self._refuse(Fault.FAILED, f"cannot execute {ground.command[0]}: {error}") from None
        if code is None:
            raise self._refuse(Fault.FAILED, f"the new code could not say within {REHEARSAL_PATIENCE:g} s that it runs")
        if code != 0:
            said = said.removeprefix("Error: ").removesuffix("For help, use supervise -h").strip()
            if said.startswith("Traceback"):
                said = said.splitlines()[-1]
            raise self._refuse(Fault.CANT_REREAD, said or f"the new code ended with {code}")
        if not re.search(f"^{REHEARSED.format('.+', os.getpid())}$", said, re.MULTILINE):
            raise self._refuse(
                Fault.FAILED, f"{' '.join(ground.command)} is no supervise: it ended without a word of it"
            )

    def _refuse(self, fault: Fault, text: str) -> CommandError:
        log.error("upgrade refused, nothing has been changed: %s", text)
        return CommandError(fault, text)

    async def _replace(self, suspended: asyncio.Future[None], amid: Callable[[], str]) -> None:
        try:
            await suspended
            self._reaper.pause()
            with signals_waiting():
                for _ in ("its handler", "the task that this has made"):  # of a signal that came just before
                    await asyncio.sleep(0)
                await self._until_quiet()
                if what := amid():
                    raise UpgradeError(f"{what} is under way")
                self._execute()
        except (UpgradeError, OSError) as error:
            self.problem = f"the last upgrade failed: {error}"
            log.critical("upgrade failed, this daemon goes on: %s", error)
        except Exception as error:
            self.problem = f"the last upgrade failed: {error!r}"
            log.critical("upgrade failed, this daemon goes on", exc_info=True)
        finally:
            self._task = None
            self._reaper.resume()
            self._report.reload_refused()
            await self._ground.servers.resume()

    async def _until_quiet(self) -> None:
        """Until whatever has been reaped has been dealt with: its output written, its end recorded."""
        until = self._loop.time() + QUIET_PATIENCE
        while busy := [one.namespec for one in self._supervisor.processes() if one.machine.pid and not is_alive(one)]:
            if self._loop.time() > until:
                raise UpgradeError(f"the end of {', '.join(busy)} is still being dealt with")
            await asyncio.sleep(0.01)

    def _execute(self) -> None:
        """Be replaced; returns never. Raises UpgradeError, OSError. The loop stands still meanwhile."""
        if self._supervisor.state is not DaemonState.RUNNING:
            raise UpgradeError("the daemon is ending")
        if self._supervisor.memory.path and not self._remembering.look():
            raise UpgradeError("what is remembered of programs was removed, and cannot be written again")
        ground, descriptors = self._ground, self._ground.handover.held
        if ground.keeper:
            descriptors[KEEPER] = ground.keeper.sock.fileno()
        log.info("upgrade: executing %s in place of version %s", " ".join(ground.command), __version__)
        self._supervisor.spawning.close()
        with (
            self._logs_at_rest(),
            elsewhere(directory(ground.cwd)),
            bequeathed(descriptors, ground.will | {"upgraded": __version__}) as variables,
        ):
            if ground.keeper:
                ground.keeper.say("upgrading")
            try:
                os.execve(ground.command[0], ground.command, os.environ | variables)
            except OSError as error:
                raise UpgradeError(f"cannot execute {ground.command[0]}: {error.strerror}") from None

    @contextmanager
    def _logs_at_rest(self) -> Iterator[None]:
        """Inside, everything is written that has been read. Raises UpgradeError. Blocks, not for long."""
        until, logs = time.monotonic() + LOG_PATIENCE, self._supervisor.logs
        go_on = logs.pump.pause(LOG_PATIENCE)
        if go_on is None:
            raise UpgradeError("a log file hangs")
        try:
            for sink in logs.sinks.all():
                if sink.stream is not None:
                    sink.stream.settle(until - time.monotonic())
            yield
        finally:
            go_on()


@contextmanager
def signals_waiting() -> Iterator[None]:
    """Inside, orders by signal wait, through an execve(2): until the next daemon listens to them.

    That is the mask of this thread; those that are always there beside it take no signals anyway.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def directory(wanted: str) -> str:
    """Where new code begins: not in a directory that was removed or forbids it, of which it may need nothing."""
    return wanted if os.access(f"{wanted}/.", os.X_OK) else "/"


@contextmanager
def elsewhere(place: str) -> Iterator[None]:
    """Inside, we are in that directory. Raises OSError."""
    here = os.open(".", os.O_PATH | os.O_CLOEXEC)  # which may have no name any more
    try:
        os.chdir(place)
        yield
    finally:
        os.fchdir(here)
        os.close(here)


def rehearse(load: Callable[[], Config], needs: str) -> int:
    """In a fresh interpreter: whether this code, with its configuration, could go on in a running daemon's place.

    `needs` says what that one is. Returns the exit status, and says REHEARSED, or on stderr what is wrong. Leaves
    nothing: servers that are not open yet are opened and closed again.
    """
    try:
        config, wanted = load(), json.loads(needs)
        importlib.import_module(API)
        if wanted["schema"] > SCHEMA:
            raise StartError(f"version {__version__} is older than what the running daemon remembers")
        if wanted["pidfile"] != config.daemon.pidfile:  # that is what lock and memory are called by
            raise StartError("[supervisord] pidfile has changed, which needs another start of the daemon")
        if config.daemon.uid not in {None, wanted["uid"]}:
            raise StartError("[supervisord] user has changed, which needs another start of the daemon")
        if (ours := wanted.get("servers")) is not None:
            for listener in listen_all(server for server in config.servers if [*address(server)] not in ours):
                listener.close()
    except (ConfigErrors, StartError, SocketError) as error:
        sys.stderr.write(complaint(error))
        return 2
    except Exception as error:  # the new code itself
        sys.stderr.write(f"Error: {type(error).__name__}: {error}\n")
        return 2
    sys.stdout.write(f"{REHEARSED.format(__version__, wanted.get('pid'))}\n")
    return 0
