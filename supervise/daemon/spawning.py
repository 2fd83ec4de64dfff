"""Spawning: everything one start needs, and many starts in a row without stalling the loop."""

import asyncio
import errno
import logging
import os
from collections import deque
from collections.abc import Callable

from supervise.config.model import ProgramConfig, UserEnv
from supervise.core.events import State
from supervise.daemon.logs import Logs
from supervise.daemon.memory import Memory, fingerprint
from supervise.daemon.process import Process
from supervise.daemon.sockets import Sockets
from supervise.daemon.trees import Trees
from supervise.system.accounts import Account, Accounts
from supervise.system.activation import Launch
from supervise.system.births import Births
from supervise.system.environment import environment
from supervise.system.forking import Forker
from supervise.system.reap import Reaper
from supervise.system.spawn import Child, SpawnError, changes_user, lookup, spawn

log = logging.getLogger("supervise")

SLICE = 0.005  # seconds of spawning at a time, before the loop may look at other things


class Spawning:
    """A queue of processes to be spawned; `act` is called for each in its turn, in the loop."""

    def __init__(
        self,
        logs: Logs,
        memory: Memory,
        sockets: Sockets,
        trees: Trees,
        reaper: Reaper,
        act: Callable[[Process], None],
    ) -> None:
        self._logs, self._memory, self._sockets, self._trees = logs, memory, sockets, trees
        self._forker, self._births, self._act = Forker(reaper), Births(), act
        self._loop = asyncio.get_running_loop()
        self._accounts = Accounts()
        self._following = False  # whether the forker has been made like us in this slice
        self._queue: deque[Process] = deque()
        self._ending: asyncio.Future[None] | None = None  # of what may be the same as what is to be spawned
        self._held: set[asyncio.Task[None]] = set()
        self._environ = dict(os.environ)  # which nobody changes; reading it there decodes every name and value

    def add(self, process: Process) -> None:
        """Have it spawned when its turn comes, not before this call returns."""
        if not self._queue:
            self._loop.call_soon(self._some)
            self._logs.touching.hold()
        self._queue.append(process)
        if changes_user(process.config) and os.geteuid() == 0:
            self._forker.begin()

    def follow(self, ending: "asyncio.Future[None]") -> None:
        """Until this is done, leftovers of an earlier daemon are being ended, and no program may run twice: what has
        never run as it is configured could be one of them under another name, and waits. What ran goes on."""
        self._ending = ending

    def _is_to_wait(self, process: Process) -> bool:
        if self._ending is None or self._ending.done():
            return False
        return process.made_from != fingerprint(process.config)

    async def _hold(self, process: Process) -> None:
        """Until the leftovers have ended, or it is not to be started any more."""
        assert self._ending is not None
        log.info("%s is started when what an earlier daemon left has ended", process.namespec)
        stopped = asyncio.ensure_future(process.until(lambda: process.state is not State.STARTING))
        await asyncio.wait((self._ending, stopped), return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        self.add(process)

    async def settled(self, seconds: float) -> None:
        """Wait until nothing is left to be spawned, but not longer."""
        until = self._loop.time() + seconds
        await asyncio.sleep(0)
        while self._queue and self._loop.time() < until:
            await asyncio.sleep(0)

    def _some(self) -> None:
        until, self._following = self._loop.time() + SLICE, False
        try:
            with self._logs.pump.gathered():
                while self._queue:
                    process = self._queue.popleft()
                    if process.removed:
                        continue
                    if process.state is State.STARTING and self._is_to_wait(process):
                        self._held.add(task := self._loop.create_task(self._hold(process)))
                        task.add_done_callback(self._held.discard)
                        continue
                    self._act(process)
                    if self._loop.time() > until:
                        break
        finally:  # a fault of ours with one program must not keep others waiting
            if self._queue:
                self._loop.call_soon(self._some)
            else:
                self._logs.touching.proceed()

    def close(self) -> None:
        """Have nothing run that serves us; what comes next has it run again."""
        self._forker.close()

    def start(self, process: Process, serverurl: str | None) -> tuple[Child, int | None]:
        """Spawn it now. Gives its start time, too, as `journal.start_time` has it.

        Raises SpawnError, OSError, ValueError; `str()` of each is a reason to show.
        """
        try:
            return self._start(process, serverurl)
        except OSError as why:  # its pipes, or the sockets it is to have
            if why.errno not in {errno.EMFILE, errno.ENFILE}:
                raise
            raise SpawnError("fork", why.errno, f"too many open files to spawn '{process.name}'") from None

    def _start(self, process: Process, serverurl: str | None) -> tuple[Child, int | None]:
        if process.state is not State.STARTING and self._is_to_wait(process):
            raise ValueError("it was stopped before it was spawned")
        config = process.config
        filename, argv = lookup(config, self._environ.get("PATH"))
        account = self._account(config)
        launch = Launch(filename, argv, environment(config, self._environ, serverurl, account))
        if not self._following and changes_user(config) and os.geteuid() == 0:
            self._following = self._forker.follow()  # not where we are for a moment below
        with (process.wiring or process.logs).pipes() as ends, self._sockets.lend(process, launch) as ready:
            self._memory.remember(process)  # with the pipes by which the child can be found
            with self._trees.birth(process) as mark:
                self._births.begin()
                child = spawn(
                    config,
                    ready.filename,
                    ready.argv,
                    {**ready.env, **mark},
                    stdout=ends.stdout,
                    stderr=ends.stderr,
                    stdin=ends.stdin if ready.stdin is None else ready.stdin,
                    pass_fds=ready.fds,
                    forker=self._forker,
                    cgroup=process.cgroup.path if process.cgroup else None,
                    account=account,
                )
        return child, self._births.of(child.pid)

    def _account(self, config: ProgramConfig) -> Account | None:
        """Of the program's user, where that matters. Raises SpawnError."""
        if config.user_env is UserEnv.KEEP and not changes_user(config):
            return None
        uid = os.geteuid() if config.uid is None else config.uid
        try:
            return self._accounts.of(uid, config.gid)
        except OSError as why:
            raise SpawnError("user", why.errno or 0, f"couldn't setuid to {uid}: {why.strerror}") from None
