"""The daemon from its first to its last breath.

What is prepared before the loop is told in `ground`. Then come the loop, the main log, the programs, and only then the
HTTP stack, whose import takes longer than a program needs to start.
"""

import asyncio
import concurrent.futures
import gc
import importlib
import logging
import os
import signal
import sys
from collections.abc import Callable
from functools import partial

from supervise.config.model import Config, OnLeftover
from supervise.core.events import DaemonChanged, DaemonState, Notification
from supervise.daemon import leftovers, strays
from supervise.daemon.bus import Bus
from supervise.daemon.commands import Commands
from supervise.daemon.complaints import Complaints
from supervise.daemon.endings import Endings
from supervise.daemon.ground import API, Ground, Options, StartError, complaint, prepare, report_refusal
from supervise.daemon.lifecycle import Lifecycle
from supervise.daemon.logs import Logs
from supervise.daemon.mainlog import install
from supervise.daemon.memory import open_memory
from supervise.daemon.owed import make_good
from supervise.daemon.pools import Pools
from supervise.daemon.remembering import Remembering
from supervise.daemon.report import Report
from supervise.daemon.signals import Signals, unless_told_to_end
from supervise.daemon.supervisor import Supervisor
from supervise.daemon.unclaimed import Unclaimed
from supervise.daemon.update import Updater
from supervise.daemon.upgrade import REHEARSAL, Upgrade, rehearse
from supervise.errors import ConfigErrors
from supervise.system.daemonize import secure_descriptors
from supervise.system.handover import Handover
from supervise.system.journal import JournalError
from supervise.system.keeper import FORWARDED
from supervise.system.links import Trust
from supervise.system.locals import Locals
from supervise.system.notify import Notifier
from supervise.system.reap import Reaper, become_subreaper

log = logging.getLogger("supervise")

GARBAGE = 20_000  # new objects between two looks for cycles: what starting programs makes stays, looking again is vain
PROGRAMS_FIRST = 1.0  # seconds, at most, before the control interface is imported, which competes with their starts
LOG_PATIENCE = 3.0  # seconds the main log may take to open before programs start without it
NEXT_START = ("pidfile", "user", "nodaemon", "directory", "minfds", "minprocs")  # what a reload cannot change
FIRST = Options()


def run(load: Callable[[], Config], options: Options = FIRST) -> int:
    """Be the daemon; returns its exit status: 0 after any shutdown, that of the program whose `on_exit` or `on_fatal`
    asked for it, or 2 if it could not start.

    `load` reads the configuration, now and at every reread. In the background, only the daemon returns from here; the
    process that was started has exited, or keeps the daemon.
    """
    gc.set_threshold(GARBAGE)
    inherited = secure_descriptors()
    if (known := os.environ.pop(REHEARSAL, "")) != "":
        return rehearse(load, known)
    handover = Handover.receive(os.environ, os.getpid())
    inherited = frozenset(fd for fd in inherited if os.path.exists(f"/proc/self/fd/{fd}"))
    try:
        ground = prepare(load, options, install(), handover, inherited)
    except (ConfigErrors, StartError) as error:
        sys.stderr.write(complaint(error))
        report_refusal(handover, complaint(error))
        return 2
    try:
        return asyncio.run(_live(ground))
    except (StartError, OSError) as error:
        ground.forsake()
        ground.leave()  # before anybody is told, who may try again at once
        text = complaint(error)
        if not ground.starter.failed(text):
            sys.stderr.write(text)
            report_refusal(handover, text)
        return 2
    finally:
        ground.leave()
        gc.freeze()  # all of it goes now; the interpreter would look through it for cycles first


async def _live(ground: Ground) -> int:
    """The life in the loop, until everything has been shut down: the exit status. Raises StartError."""
    loop, config = asyncio.get_running_loop(), ground.config
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)  # until there are `Signals`: none is lost, or kills by default
    loop.set_exception_handler(Complaints())
    daemon = config.daemon
    Trust.everybody = daemon.follow_links
    logs = Logs(
        loop,
        childlogdir=daemon.childlogdir,
        identifier=daemon.identifier,
        strip_ansi=daemon.strip_ansi,
        nocleanup=daemon.nocleanup,
        custody=ground.handover,
    )
    main_log = ground.main_log
    main_log.open(daemon, logs, foreground=ground.foreground)
    try:
        async with asyncio.timeout(LOG_PATIENCE):
            await main_log.confirm()
    except TimeoutError:
        log.error("the main log %s cannot be opened within %g seconds", daemon.logfile, LOG_PATIENCE)
    except OSError as error:
        if not ground.succeeds:
            raise StartError(f"cannot open the main log: {error}") from None
        log.error("cannot open the main log: %s", error)
    become_subreaper()
    try:
        memory = open_memory(ground.remembered_as, ground.handover, heir=ground.pidfile.inherited)
    except JournalError as error:
        raise StartError(str(error)) from None
    logs.record_in(memory.directory)
    reaper, bus = Reaper(loop), Bus()
    supervisor = Supervisor(logs, reaper, bus, memory, ground.slots)
    over = False
    try:
        status = await _supervise(ground, supervisor, reaper)
        over = not memory.aside and all(process.machine.pid is None for process in supervisor.processes())
        return status
    finally:
        for number in FORWARDED:  # we are ending; our handlers want a loop, and without them any more would kill us
            signal.signal(number, signal.SIG_IGN)
        supervisor.spawning.close()
        reaper.close()
        memory.close(everything_stopped=over)
        supervisor.trees.close()
        main_log.close()
        await logs.close()


async def _deal_with_leftovers(ground: Ground, supervisor: Supervisor) -> bool:
    """Before anything is started: what is not to be adopted is ended, or disregarded. False: we were told to end.

    --stop-leftovers is meant once, for what there was when somebody called us, and not for a keeper's next daemon.
    """
    memory = supervisor.memory
    supervisor.logs.in_use = memory.logs_in_use
    policy = ground.config.daemon.on_leftover
    if ground.options.stop_leftovers and not ground.succeeds:
        policy = OnLeftover.STOP
    match OnLeftover.ADOPT if ground.upgraded else policy:
        case OnLeftover.STOP:
            return await unless_told_to_end(
                Unclaimed(supervisor.logs, memory, ground.config.groups).end(supervisor.trees)
            )
        case OnLeftover.IGNORE:
            for record in memory.set_aside():
                memory.let_go(record)
                if (left := leftovers.find(record, supervisor.trees, memory.handover)) is not None:
                    log.warning("ignoring %s, which an earlier daemon left", left)
        case OnLeftover.ADOPT:
            pass
    return True


async def _supervise(ground: Ground, supervisor: Supervisor, reaper: Reaper) -> int:
    config = ground.config
    updater = Updater(supervisor, config, ground.load)
    lifecycle: Lifecycle

    async def apply(new: Config) -> None:
        _apply(ground, supervisor, new)
        updater.config = new
        await ground.servers.reconfigure(new)

    lifecycle = Lifecycle(supervisor, ground.main_log, ground.load, apply)
    lifecycle.unserved = lambda: ground.servers.problems
    commands = Commands(supervisor, lifecycle, updater)
    supervisor.serverurl = config.serverurl
    Endings(supervisor, lifecycle)
    pools = Pools(supervisor)
    report = Report(Notifier(os.environ), lambda: (process.state for process in supervisor.processes()))
    supervisor.bus.listen(report.told)
    remembering = Remembering(supervisor, (supervisor.logs.unfinished, supervisor.logs.losses, pools, commands.stdins))
    commands.upgrader = Upgrade(ground, supervisor, reaper, report, remembering)
    _stay_in_touch(ground, supervisor)
    if not ground.pidfile.write():
        log.critical("could not write pidfile %s", ground.pidfile.path)
    log.info("supervisord started with pid %d", os.getpid())
    try:
        with reaper.held():  # children of the daemon before us, if we are executed in its place
            if not await _deal_with_leftovers(ground, supervisor):
                lifecycle.shutdown()
                await lifecycle.ended.wait()
                return lifecycle.exit_status
            Signals(commands, lifecycle, report)
            lifecycle.begin(config)
            if not ground.handover.facts.get("ending"):
                make_good(supervisor)
            commands.stdins.resume(supervisor.processes())
            reaper.reap()
        unclaimed = Unclaimed(supervisor.logs, supervisor.memory)
        ending = asyncio.ensure_future(unclaimed.end(supervisor.trees))
        if unclaimed:
            supervisor.spawning.follow(ending)
        supervisor.logs.unfinished.settle()
        ground.handover.close()
        if ground.handover.facts.get("ending"):
            lifecycle.shutdown()
        await supervisor.spawning.settled(PROGRAMS_FIRST)
        gc.freeze()  # code, configuration and processes stay: there is nothing to be found in them
        gc.enable()
        await _answer(ground, commands, reaper)
        if ground.keeper:
            ground.keeper.say("ready")
        ground.starter.ready()
        report.ready()
        for line in await asyncio.to_thread(strays.find, config, ground.remembered_as):
            log.critical("%s", line)
        await lifecycle.ended.wait()
        await ending
        return lifecycle.exit_status
    except Exception as error:
        log.critical("cannot serve", exc_info=True)
        ground.forsake()
        if not ground.succeeds:  # nobody could control what runs now: it has to go
            lifecycle.shutdown()
            await lifecycle.ended.wait()
        raise StartError(f"cannot serve: {error!r}") from error
    finally:
        pools.close(forget=all(process.machine.pid is None for process in supervisor.processes()))
        report.close()
        remembering.close()
        await ground.servers.close()


def _stay_in_touch(ground: Ground, supervisor: Supervisor) -> None:
    """With who keeps our descriptors."""
    if ground.store:
        ground.store.attach()
    if not ground.keeper:
        return
    keeper = ground.keeper

    def lost() -> None:
        log.warning("the keeper has gone: nothing will start this daemon again if it dies")
        ground.keeper = ground.handover.safe = None

    def told(notification: Notification) -> None:
        if notification == DaemonChanged(DaemonState.SHUTDOWN):
            keeper.say("ending")

    keeper.listen(ground.handover.ended, lost)
    supervisor.bus.listen(told)


async def _answer(ground: Ground, commands: Commands, reaper: Reaper) -> None:
    """Serve the control interface. Its import takes a quarter of a second, hence late and in a thread."""
    deaf = partial(signal.pthread_sigmask, signal.SIG_BLOCK, FORWARDED)  # signals are this thread's business
    asyncio.get_running_loop().set_default_executor(concurrent.futures.ThreadPoolExecutor(initializer=deaf))
    await asyncio.to_thread(importlib.import_module, API)
    from supervise.api.app import Api  # noqa: PLC0415  # it has just been loaded

    await ground.servers.serve(Api(commands, Locals(reaper).find), ground.config)


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
    logs.strip_ansi, Trust.everybody = new.daemon.strip_ansi, new.daemon.follow_links
    ground.main_log.reconfigure(new.daemon, foreground=ground.foreground)
    if not ground.foreground:
        os.umask(new.daemon.umask)
        supervisor.spawning.close()  # what spawns for us has the old one
    supervisor.serverurl = new.serverurl
    ground.config = new
