"""Where all that a program has started can be found, and the end of it: stops with tree scope.

A program with tree scope is born in a cgroup of its own, where one can be made (`Cgroups`). Where none can, its
environment has a mark, by which is found what has left its session. Programs of other scopes are not touched by this.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from supervise.config.model import StopScope
from supervise.core.events import State
from supervise.daemon.process import Process
from supervise.daemon.remains import Remains
from supervise.system.cgroup import Cgroup, Cgroups
from supervise.system.tree import MARK, Session, Sweeper, Tree, describe

log = logging.getLogger("supervise")


class Trees:
    """The trees of all programs. Loop thread only."""

    def __init__(self, identity: str, swept: Callable[[Process], None]) -> None:
        """`identity` names this daemon and those before and after it; `swept` is told when a tree has gone."""
        prefix = f"supervise-{identity}-"
        self._cgroups, self._swept, self._remains = Cgroups(prefix), swept, Remains()
        if os.environ.get(MARK, "").startswith(prefix):  # a program of ours has started us
            del os.environ[MARK]

    @contextmanager
    def birth(self, process: Process) -> Iterator[Mapping[str, str]]:
        """Inside, what is spawned belongs to the process's tree; gives what its environment needs for that.

        Nothing may run in between but the spawn itself.
        """
        process.cgroup = None
        if process.config.stop_scope is not StopScope.TREE:
            yield {}
            return
        known = bool(self._cgroups.problem)
        with self._cgroups.within(process.namespec) as process.cgroup:
            if process.cgroup is None and not known:
                log.info("no cgroup for '%s' (%s): it is followed by its session", process.name, self._cgroups.problem)
            yield {} if process.cgroup else {MARK: self._cgroups.called(process.namespec)}

    def adopt(self, process: Process) -> None:
        """The process was started by a daemon before us, and is there."""
        if process.config.stop_scope is StopScope.TREE and process.machine.pid is not None:
            process.cgroup = self._cgroups.around(process.machine.pid, process.namespec)

    def sweep(self, process: Process, sid: int, number: int) -> None:
        """Signal all of its tree, whose session leader is or was `sid`; `swept` is told when nothing is left.

        A daemon before us may have begun that: what is in a session of that number by now may be foreign, and is left
        alone then.
        """
        if process.sweeper is None:
            session = (sid, process.start_time or 0, process.seen)
            trees = self.known(process.namespec, session, process.cgroup)
            process.sweeper = Sweeper(trees, lambda: self._swept(process))
        process.sweeper.signal(number)

    def known(self, namespec: str, leader: tuple[int, int, float], cgroup: Cgroup | None = None) -> tuple[Tree, ...]:
        """All ways to find what a program has started. `leader`: of its session, the pid, when that was started, and
        when it was last seen (see `Session`). `cgroup`: the one it was born in, if that is certain."""
        sid, start, seen = leader
        session = Session(sid, "" if cgroup else self._cgroups.called(namespec), start, seen)
        found = cgroup or self._cgroups.find(namespec)
        return (found, session) if found else (session,)

    def settle(self, process: Process, new: State, pid: int | None) -> None:
        """The process, whose pid was that, is in another state: a sweep is over, with or without success."""
        if process.sweeper is not None and new is not State.STOPPING:
            process.leftovers = process.sweeper.close()
            process.sweeper = None
            if process.leftovers:
                what = ", ".join(map(describe, process.leftovers))
                log.warning("%s left processes behind that do not end: %s", process.namespec, what)
            elif process.cgroup:
                process.cgroup.remove()
        elif new is State.STOPPED and pid is not None and process.config.stop_scope is not StopScope.TREE:
            self._remains.expect(process, pid)
        elif new is State.UNKNOWN and process.machine.pid is not None:
            log.warning("%s does not end: %s", process.namespec, describe(process.machine.pid))

    def forget(self, process: Process) -> None:
        """The process is at rest, and not to be started again."""
        if process.cgroup:
            process.cgroup.remove()

    def close(self) -> None:
        """The end of the daemon."""
        self._remains.close()
        self._cgroups.clean()
