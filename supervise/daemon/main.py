"""The daemon from its first to its last breath.

Whatever can be refused is refused before anything is touched: the configuration, the user, a second daemon with the
same pidfile or socket. Then comes the background, then the loop, the main log, the programs, and only then the HTTP
stack, whose import takes longer than a program needs to start.
"""

import asyncio
import importlib
import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from supervise.config.model import Config, OnLeftover
from supervise.daemon import leftovers
from supervise.daemon.bus import Bus
from supervise.daemon.commands import Commands
from supervise.daemon.lifecycle import Lifecycle
from supervise.daemon.logs import Logs
from supervise.daemon.mainlog import MainLog, install
from supervise.daemon.memory import open_memory
from supervise.daemon.pools import Pools
from supervise.daemon.report import Report
from supervise.daemon.servers import Servers
from supervise.daemon.signals import Signals
from supervise.daemon.supervisor import Supervisor
from supervise.daemon.update import Updater
from supervise.errors import ConfigErrors
from supervise.system.daemonize import Starter, close_all, daemonize, secure_descriptors
from supervise.system.handover import Handover
from supervise.system.journal import JournalError
from supervise.system.lock import LockedError, PidFile
from supervise.system.notify import Notifier
from supervise.system.reap import Reaper, become_subreaper
from supervise.system.rlimits import NOFILE, NPROC, raise_to
from supervise.system.sockets import SocketError
from supervise.system.user import SwitchError, become

log = logging.getLogger("supervise")

RUNNING_AS_ROOT = (
    "Supervisor is running as root.  Privileges were not dropped because no user is specified in the config file.  "
    "If you intend to run as root, you can set user=root in the config file to avoid this message."
)
API = "supervise.api.app"
LOG_PATIENCE = 3.0  # seconds the main log may take to open before programs start without it
NEXT_START = ("pidfile", "user", "nodaemon", "directory", "minfds", "minprocs")  # what a reload cannot change


class StartError(Exception):
    """The daemon cannot start. `str()` is for the user; the exit status is 2."""


@dataclass(slots=True)
class Ground:
    """What was prepared before the loop."""

    config: Config
    load: Callable[[], Config]
    main_log: MainLog
    pidfile: PidFile
    servers: Servers
    starter: Starter
    foreground: bool


def run(load: Callable[[], Config]) -> int:
    """Be the daemon; returns its exit status: 0 after any shutdown, 2 if it could not start.

    `load` reads the configuration, now and at every reread. In the background, only the daemon returns from here; the
    process that was started has exited.
    """
    inherited = secure_descriptors()
    main_log = install()
    try:
        config = load()
        ground = _prepare(config, load, main_log, inherited)
    except (ConfigErrors, StartError) as error:
        sys.stderr.write(complaint(error))
        return 2
    try:
        asyncio.run(_live(ground))
    except (StartError, OSError) as error:
        text = complaint(error)
        if not ground.starter.failed(text):
            sys.stderr.write(text)
        return 2
    finally:
        ground.servers.abandon()
        ground.pidfile.release()
    return 0


def complaint(error: Exception) -> str:
    """What stands on stderr when nothing can be done: supervisord's two lines, or more for several problems."""
    text = str(error)
    if isinstance(error, ConfigErrors):  # what concerns a file as a whole names it where it matters
        text = "\n".join(str(each) if each.line or each.option else each.message for each in error.problems)
    return f"Error: {text}\nFor help, use supervise -h\n"


def _prepare(config: Config, load: Callable[[], Config], main_log: MainLog, inherited: frozenset[int]) -> Ground:
    """Everything that may be refused, in an order that leaves nothing behind. Raises StartError."""
    daemon = config.daemon
    messages = list(config.messages)
    for limit, wanted in ((NOFILE, daemon.minfds), (NPROC, daemon.minprocs)):  # as root still, who may raise them
        if said := raise_to(limit, wanted):
            messages.append(said)
    messages.append(_choose_user(config))
    for level, text in sorted(messages, key=lambda message: -message[0]):  # supervisord: the worst first
        log.log(level, "%s", text)
    try:
        pidfile = PidFile.acquire(daemon.pidfile)
        try:
            servers = Servers(config.servers)
        except BaseException:
            pidfile.release()
            raise
    except (LockedError, SocketError) as error:
        raise StartError(str(error)) from None
    ground = Ground(config, load, main_log, pidfile, servers, Starter(), foreground=True)
    if background(config, os.environ, os.getpid()):
        try:
            ground.starter, ground.foreground = daemonize(umask=daemon.umask, directory=daemon.directory), False
        except OSError as error:
            servers.abandon()
            pidfile.release()
            raise StartError(f"cannot daemonize: {error}") from None
        close_all(inherited - _used_as_logs(config))
        log.info("daemonizing the supervisord process")
        if daemon.directory is not None:
            log.info("set current directory: %r", daemon.directory)
    return ground


def background(config: Config, environ: Any, pid: int) -> bool:
    """Whether to daemonise: unless told not to, unless a service manager waits for our READY=1, and never as PID 1.

    NOTIFY_SOCKET is what tells systemd's Type=notify from Type=forking, which wants a daemon that goes away.
    """
    return not config.daemon.nodaemon and not environ.get("NOTIFY_SOCKET") and pid != 1


def _used_as_logs(config: Config) -> set[int]:
    """Descriptors that the configuration names: /dev/fd/5."""
    programs = [program for group in config.groups for program in group.processes]
    paths = [path for program in programs for path in (program.stdout_logfile, program.stderr_logfile)]
    places = [os.path.split(path) for path in (*paths, config.daemon.logfile) if path]
    return {int(name) for folder, name in places if folder in {"/dev/fd", "/proc/self/fd"} and name.isdecimal()}


def _choose_user(config: Config) -> tuple[int, str]:
    """Become it, and return what is to be logged. Raises StartError."""
    daemon = config.daemon
    if daemon.uid is not None:
        if daemon.uid != os.getuid():  # who may be unable to read what Python would import later
            for name in (API, "concurrent.futures.thread"):
                importlib.import_module(name)
        try:
            become(daemon.uid, daemon.gid)
        except SwitchError as error:
            raise StartError(str(error)) from None
        return logging.INFO, f"Set uid to user {daemon.uid} succeeded"
    if os.getuid() == 0:
        # In a container, root is how PID 1 is meant to run: worth a line, not an alarm.
        return logging.INFO if os.getpid() == 1 else logging.CRITICAL, RUNNING_AS_ROOT
    return logging.DEBUG, f"running as uid {os.getuid()}"


async def _live(ground: Ground) -> None:
    """The life in the loop: until everything has been shut down. Raises StartError."""
    loop, config = asyncio.get_running_loop(), ground.config
    loop.set_exception_handler(_complain)
    daemon = config.daemon
    logs = Logs(
        loop,
        childlogdir=daemon.childlogdir,
        identifier=daemon.identifier,
        strip_ansi=daemon.strip_ansi,
        nocleanup=daemon.nocleanup,
    )
    main_log = ground.main_log
    main_log.open(daemon, logs, foreground=ground.foreground)
    try:
        async with asyncio.timeout(LOG_PATIENCE):
            await main_log.confirm()
    except TimeoutError:
        log.error("the main log %s cannot be opened within %g seconds", daemon.logfile, LOG_PATIENCE)
    except OSError as error:
        raise StartError(f"cannot open the main log: {error}") from None
    become_subreaper()
    try:
        memory = open_memory(daemon.pidfile, Handover())
    except JournalError as error:
        raise StartError(str(error)) from None
    logs.record_in(memory.directory)
    reaper, bus = Reaper(loop), Bus()
    supervisor = Supervisor(logs, reaper, bus, memory)
    try:
        await _deal_with_leftovers(daemon.on_leftover, supervisor)
        await _supervise(ground, supervisor)
    finally:
        reaper.close()
        memory.close(everything_stopped=all(process.machine.pid is None for process in supervisor.processes()))
        main_log.close()
        await logs.close()


async def _deal_with_leftovers(policy: OnLeftover, supervisor: Supervisor) -> None:
    """Before anything is started: what is not to be adopted is ended, or disregarded."""
    supervisor.logs.in_use = supervisor.memory.auto_logs
    match policy:
        case OnLeftover.STOP:
            await leftovers.end(supervisor.memory.disregard())
        case OnLeftover.IGNORE:
            for record in supervisor.memory.disregard():
                if leftovers.is_there(record):
                    log.warning("ignoring %s (pid %d), which an earlier daemon left", record["name"], record["pid"])
        case OnLeftover.ADOPT:
            pass


async def _supervise(ground: Ground, supervisor: Supervisor) -> None:
    config = ground.config
    updater = Updater(supervisor, config, ground.load)
    lifecycle: Lifecycle

    async def apply(new: Config) -> None:
        _apply(ground, supervisor, new)
        updater.config = new
        await ground.servers.reconfigure(new)

    lifecycle = Lifecycle(supervisor, ground.main_log, ground.load, apply)
    commands = Commands(supervisor, lifecycle, updater)
    supervisor.serverurl = config.serverurl
    pools = Pools(supervisor)
    report = Report(Notifier(os.environ), lambda: (process.state for process in supervisor.processes()))
    supervisor.bus.listen(report.told)
    if not ground.pidfile.write():
        log.critical("could not write pidfile %s", ground.pidfile.path)
    log.info("supervisord started with pid %d", os.getpid())
    Signals(commands, lifecycle, report)
    try:
        lifecycle.begin(config)
        ending = asyncio.ensure_future(leftovers.end(supervisor.memory.disregard()))  # not configured any more
        supervisor.logs.unfinished.settle()
        await asyncio.sleep(0)  # the programs first
        await asyncio.sleep(0)
        await _answer(ground, commands)
        ground.starter.ready()
        report.ready()
        await lifecycle.ended.wait()
        await ending
    except Exception as error:  # nobody could control what runs now: it has to go
        log.critical("cannot serve", exc_info=True)
        lifecycle.shutdown()
        await lifecycle.ended.wait()
        raise StartError(f"cannot serve: {error!r}") from error
    finally:
        pools.close()
        report.close()
        await ground.servers.close()


async def _answer(ground: Ground, commands: Commands) -> None:
    """Serve the control interface. Its import takes a quarter of a second, hence late and in a thread."""
    await asyncio.to_thread(importlib.import_module, API)
    from supervise.api.app import Api  # noqa: PLC0415

    await ground.servers.serve(Api(commands), ground.config)


def _apply(ground: Ground, supervisor: Supervisor, new: Config) -> None:
    """Make the daemon itself follow a configuration that was read anew."""
    old = ground.config.daemon
    for level, text in new.messages:
        log.log(level, "%s", text)
    for option in NEXT_START:
        if getattr(old, option) != getattr(new.daemon, option):
            log.warning("[supervisord] %s has changed; that takes effect when the daemon is started again", option)
    logs = supervisor.logs
    logs.childlogdir, logs.identifier = new.daemon.childlogdir, new.daemon.identifier
    logs.strip_ansi = new.daemon.strip_ansi
    ground.main_log.reconfigure(new.daemon, foreground=ground.foreground)
    if not ground.foreground:
        os.umask(new.daemon.umask)
    supervisor.serverurl = new.serverurl
    ground.config = new


def _complain(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What nobody caught: said, and never fatal."""
    error = context.get("exception")
    with suppress(Exception):
        log.critical("internal error: %s", context["message"], exc_info=error)
