"""Seeing that what we remember stays where the next daemon looks for it, though a cleaner of /run has removed it."""

import asyncio

from supervise.daemon.supervisor import Supervisor
from supervise.system.guard import FileGuard

AGAIN = 10.0  # seconds before a journal that could not be made anew is tried again


class Remembering:
    """Makes the journal anew when somebody has removed it. Loop thread only."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor, self._loop = supervisor, asyncio.get_running_loop()
        self._guard: FileGuard | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.look()

    def look(self) -> bool:
        """See that it is there; False if it is not, and cannot be made."""
        self.close()
        memory, pump = self._supervisor.memory, self._supervisor.logs.pump
        if memory.path is None:
            return False
        if memory.renew(self._supervisor.processes()) and pump.intents is not None:
            pump.record(pump.intents)  # its areas were beside it
        self._guard = FileGuard(self._loop, memory.path, self.look)
        if not memory.intact:
            self._timer = self._loop.call_later(AGAIN, self.look)
        return memory.intact

    def close(self) -> None:
        """Look no more."""
        if self._guard is not None:
            self._guard.close()
        if self._timer is not None:
            self._timer.cancel()
        self._guard = self._timer = None
