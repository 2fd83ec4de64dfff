"""What is left of programs that are stopped without tree scope: nobody ends it, as in supervisord, but it is told."""

import asyncio
import logging
import os
from contextlib import suppress

from supervise.daemon.process import Process
from supervise.system.tree import Session, describe, leftovers

log = logging.getLogger("supervise")

PAUSE = 0.5  # seconds after a stop: its children may have been told, too, and need a moment


class Remains:
    """Looks into the sessions of stopped programs, once for all that stop at about the same time. Loop thread only."""

    def __init__(self) -> None:
        self._stopped: dict[int, Process] = {}
        self._timer: asyncio.TimerHandle | None = None

    def expect(self, process: Process, sid: int) -> None:
        """The process has been stopped; it was the leader of that session."""
        self._stopped[sid] = process
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PAUSE, self._look)

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        stopped, self._stopped = self._stopped, {}
        there = inhabited()
        for sid in sorted(there.keys() & stopped.keys()):
            process, found = stopped[sid], sorted(member.pid for member in leftovers([Session(sid)], there[sid]))
            if found and sid not in found:  # else the number is already another one's
                process.leftovers = tuple(found)
                what = ", ".join(map(describe, found))
                log.info("%s left processes behind: %s; stop_scope=tree would end them", process.namespec, what)


def inhabited() -> dict[int, list[int]]:
    """All sessions that there are, and who is in them: about a microsecond for each process."""
    found: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with suppress(OSError):  # it has just ended
                found.setdefault(os.getsid(int(name)), []).append(int(name))
    return found
