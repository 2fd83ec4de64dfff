"""What is prepared before there is a loop.

Whatever can be refused is refused here, before anything is touched: the configuration, the user, a second daemon with
the same pidfile or socket. Then comes the background, and the keeper.
"""

import importlib
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from supervise.config.model import Config
from supervise.daemon import strays
from supervise.daemon.mainlog import MainLog
from supervise.daemon.servers import Servers
from supervise.errors import ConfigErrors
from supervise.system.activation import Slots
from supervise.system.daemonize import Starter, close_all, daemonize
from supervise.system.handover import Handover
from supervise.system.keeping import Keeper, Store, start_keeper
from supervise.system.links import open_log
from supervise.system.lock import LockedError, PidFile
from supervise.system.reap import describe
from supervise.system.rlimits import NOFILE, NPROC, raise_to
from supervise.system.sockets import SocketError
from supervise.system.user import SwitchError, become

log = logging.getLogger("supervise")

RUNNING_AS_ROOT = (
    "Supervisor is running as root.  Privileges were not dropped because no user is specified in the config file.  "
    "If you intend to run as root, you can set user=root in the config file to avoid this message."
)
API = "supervise.api.app"
LOCK, KEEPER = "lock", "keeper"  # names of descriptors


class StartError(Exception):
    """The daemon cannot start. `str()` is for the user; the exit status is 2."""


class Options(NamedTuple):
    """What the command line says that no configuration file can say."""

    respawn: bool | None = None  # whether there shall be a keeper; None: in the background
    stop_leftovers: bool = False


@dataclass(slots=True)
class Ground:
    """What was prepared."""

    config: Config
    load: Callable[[], Config]
    options: Options
    main_log: MainLog
    handover: Handover
    pidfile: PidFile
    servers: Servers
    starter: Starter
    foreground: bool
    cwd: str  # in which relative names of the command line are meant
    slots: Slots
    keeper: Keeper | None = None
    store: Store | None = None

    @property
    def command(self) -> list[str]:
        """The command line that started us, for another daemon in our place."""
        return [sys.executable, *sys.orig_argv[1:]]

    @property
    def will(self) -> dict[str, object]:
        """What every daemon after us has to know."""
        log, memory = self.config.daemon.logfile, self.remembered_as
        return {"cwd": self.cwd, "foreground": self.foreground, "log": log, "memory": memory}

    @property
    def remembered_as(self) -> str:
        """By what name programs are remembered: the first daemon's pidfile, though that may have been edited since."""
        return str(self.handover.facts.get("memory", self.pidfile.path))

    @property
    def succeeds(self) -> bool:
        """Whether there was a daemon before us in whose place we are, by an upgrade or with its keeper."""
        return bool(self.handover.facts)

    @property
    def upgraded(self) -> bool:
        """Whether we were executed in place of another daemon, whose children are ours."""
        return "upgraded" in self.handover.facts

    def forsake(self) -> None:
        """We fail. What others keep for a daemon stays with them, for the next that they try."""
        if self.succeeds:
            self.handover.safe = None
            self.servers.abandon()
            self.pidfile.forsake()

    def leave(self) -> None:
        """The end, or no beginning: give back what others could trip over."""
        self.servers.abandon()
        self.pidfile.release()


def complaint(error: Exception) -> str:
    """What stands on stderr when nothing can be done: supervisord's two lines, or more for several problems."""
    text = str(error)
    if isinstance(error, ConfigErrors):  # what concerns a file as a whole names it where it matters
        text = "\n".join(str(each) if each.line or each.option else each.message for each in error.problems)
    return f"Error: {text}\nFor help, use supervise -h\n"


def prepare(
    load: Callable[[], Config], options: Options, main_log: MainLog, handover: Handover, inherited: frozenset[int]
) -> Ground:
    """Everything that may be refused, in an order that leaves nothing behind. Raises ConfigErrors, StartError."""
    cwd, slots = os.getcwd(), Slots()  # which is to have its descriptors before anything is opened
    config = load()
    daemon = config.daemon
    limits = raise_limits(config)  # as root, who may raise them
    if daemon.uid not in (None, os.getuid()):
        limits += [(logging.CRITICAL, line) for line in strays.find(config, None)]  # whom only root can know of
    messages = [*config.messages, *limits, _choose_user(config)]
    for level, text in sorted(messages, key=lambda message: -message[0]):  # supervisord: the worst first
        log.log(level, "%s", text)
    try:
        pidfile = _lock(daemon.pidfile, handover)
        try:
            servers = Servers(config.servers, handover)
        except BaseException:
            pidfile.forsake() if handover.facts else pidfile.release()
            raise
    except (LockedError, SocketError) as error:
        raise StartError(str(error)) from None
    ground = Ground(config, load, options, main_log, handover, pidfile, servers, Starter(), True, cwd, slots)
    if handover.facts:
        _take_over(ground)
    else:
        _settle(ground, inherited)
    return ground


def _lock(path: str, handover: Handover) -> PidFile:
    """The lock, handed over or new. Raises LockedError."""
    if (fd := handover.take(LOCK)) is not None:
        handover.release(fd)
        if (inherited := PidFile.inherit(path, fd)) is not None:
            handover.hold(fd, LOCK)
            return inherited
    pidfile = PidFile.acquire(path)
    if pidfile.fd >= 0:
        handover.hold(pidfile.fd, LOCK)
    return pidfile


def raise_limits(config: Config) -> list[tuple[int, str]]:
    """See that there are enough descriptors and processes; returns what is to be logged."""
    limits = (NOFILE, config.daemon.minfds), (NPROC, config.daemon.minprocs)
    return [said for limit, wanted in limits if (said := raise_to(limit, wanted))]


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
        # In a container, root is how it is meant: worth a line, not an alarm.
        return logging.INFO if in_container(os.environ, os.getpid()) else logging.CRITICAL, RUNNING_AS_ROOT
    return logging.DEBUG, f"running as uid {os.getuid()}"


def in_container(environ: Mapping[str, str], pid: int) -> bool:
    """Whether we are the first process of a container, or its maker says so (systemd.io/CONTAINER_INTERFACE)."""
    return pid == 1 or bool(environ.get("container"))


# The first daemon


def _settle(ground: Ground, inherited: frozenset[int]) -> None:
    """Go into the background, and get a keeper, if that is how we shall run. Raises StartError."""
    daemon = ground.config.daemon
    service = started_by_systemd(os.environ, os.getpid(), os.getppid())
    try:
        if background(ground.config, os.environ, os.getpid()):
            ground.starter, ground.foreground = daemonize(umask=daemon.umask, directory=daemon.directory), False
            close_all(inherited - _used_as_logs(ground.config))
            ground.slots.fill()
            log.info("daemonizing the supervisord process")
            if daemon.directory is not None:
                log.info("set current directory: %r", daemon.directory)
        if wants_keeper(ground.options.respawn, ground.foreground, service, os.getpid()):
            ground.keeper = start_keeper(ground.command, ground.will)
        elif ground.options.respawn:
            log.warning("--respawn is ignored: %s starts us again", "systemd" if service else "who made us PID 1")
    except OSError as error:
        ground.leave()
        raise StartError(f"cannot daemonize: {error}") from None
    for fd in inherited & _used_as_logs(ground.config):
        ground.handover.hold(fd, f"fd-{fd}")
    _keep(ground)


def background(config: Config, environ: Mapping[str, str], pid: int) -> bool:
    """Whether to daemonise: unless told not to, unless a service manager waits for our READY=1, and never as PID 1.

    NOTIFY_SOCKET is what tells systemd's Type=notify from Type=forking, which wants a daemon that goes away.
    """
    return not config.daemon.nodaemon and not environ.get("NOTIFY_SOCKET") and pid != 1


def started_by_systemd(environ: Mapping[str, str], pid: int, parent: int) -> bool:
    """Whether systemd itself started us, as a service of any type. (Its variables reach the shells of a desktop, too,
    hence the look at who is meant; SYSTEMD_EXEC_PID: systemd 248.)"""
    direct = environ.get("SYSTEMD_EXEC_PID") == str(pid) or parent == 1
    return bool(environ.get("NOTIFY_SOCKET")) or ("INVOCATION_ID" in environ and direct)


def wants_keeper(respawn: bool | None, foreground: bool, service: bool, pid: int) -> bool:
    """Whether to have a keeper: in the background, unless told otherwise.

    Who goes there wants to be forgotten, and nobody else looks after us. In the foreground somebody does, and has our
    pid: systemd, a container's runtime, a person with a shell. As PID 1 nothing of a container outlives us anyway, and
    systemd must see the daemon itself end.
    """
    if service or pid == 1:
        return False
    return not foreground if respawn is None else respawn


def _used_as_logs(config: Config) -> set[int]:
    """Descriptors that the configuration names: /dev/fd/5."""
    programs = [program for group in config.groups for program in group.processes]
    paths = [path for program in programs for path in (program.stdout_logfile, program.stderr_logfile)]
    places = [os.path.split(path) for path in (*paths, config.daemon.logfile) if path]
    return {int(name) for folder, name in places if folder in {"/dev/fd", "/proc/self/fd"} and name.isdecimal()}


# A daemon after another


def _take_over(ground: Ground) -> None:
    """Be where the daemon before us was: in its background, with its keeper."""
    handover, daemon = ground.handover, ground.config.daemon
    ground.foreground = bool(handover.facts.get("foreground"))
    if not ground.foreground:
        os.umask(daemon.umask)
        if daemon.directory is not None:
            try:
                os.chdir(daemon.directory)
            except OSError as error:
                log.error("can't chdir into %r: %s", daemon.directory, error.strerror)
    if (fd := handover.take(KEEPER)) is not None:
        handover.release(fd)  # it goes its own way
        ground.keeper = Keeper(socket.socket(fileno=fd))
    if died := handover.facts.get("died"):
        pid, status, times = died
        how = describe(status) + (f", {times} times in a row" if times > 1 else "")
        log.critical("the daemon before this one (pid %d) has died (%s): its keeper has started this one", pid, how)
    _keep(ground)


def _keep(ground: Ground) -> None:
    """Have somebody keep our descriptors: the keeper, or systemd, which says in FDSTORE that it does (systemd 254; our
    unit says it for older ones)."""
    if ground.keeper is not None:
        ground.handover.attach(ground.keeper)
    elif os.environ.get("FDSTORE", "0") != "0" and (address := os.environ.get("NOTIFY_SOCKET", "")):
        with suppress(OSError):
            ground.store = Store(address)
            ground.handover.attach(ground.store)


def report_refusal(handover: Handover, text: str) -> None:
    """A daemon that was started in another's place cannot start: say it where its log is, since nobody reads stderr."""
    path = handover.facts.get("log")
    if path and os.path.isfile(path):
        with suppress(OSError), open(path, "a", encoding="utf-8", errors="backslashreplace", opener=open_log) as file:
            stamp = time.strftime("%Y-%m-%d %H:%M:%S,000")
            file.write("".join(f"{stamp} CRIT cannot start again: {line}\n" for line in text.splitlines()[:-1]))
