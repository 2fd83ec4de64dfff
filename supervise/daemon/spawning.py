"""Spawning: everything one start needs, and many starts in a row without stalling the loop."""

import asyncio
import errno
import os
from collections import deque
from collections.abc import Callable

from supervise.config.model import ProgramConfig, UserEnv
from supervise.daemon.logs import Logs
from supervise.daemon.memory import Memory
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
        self._environ = dict(os.environ)  # which nobody changes; reading it there decodes every name and value

    def add(self, process: Process) -> None:
        """Have it spawned when its turn comes, not before this call returns."""
        if not self._queue:
            self._loop.call_soon(self._some)
            self._logs.touching.hold()
        self._queue.append(process)
        if changes_user(process.config) and os.geteuid() == 0:
            self._forker.begin()

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
                    if not process.removed:
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
