"""Seeing that what we remember stays where the next daemon looks for it, though a cleaner of /run has removed it."""

import asyncio
from collections.abc import Iterable
from typing import Protocol

from supervise.daemon.supervisor import Supervisor
from supervise.system.guard import FileGuard

AGAIN = 10.0  # seconds before a journal that could not be made anew is tried again
ONCE_MORE = 1.0  # seconds after which we look whether who removed it has removed more since


class Beside(Protocol):
    """Something that is in memory, and in files beside the journal."""

    def renew(self, directory: str) -> bool:
        """If a file was removed, make it anew, there; whether that was done. Never raises."""


class Remembering:
    """Makes the journal anew when somebody has removed it, and everything beside it. Loop thread only.

    The journal is what is watched. Files are not removed one by one, unless somebody means to: their mode asks cleaners
    to spare them.
    """

    def __init__(self, supervisor: Supervisor, beside: Iterable[Beside] = ()) -> None:
        """What is `beside` is seen to in this order."""
        self._supervisor, self._beside, self._loop = supervisor, tuple(beside), asyncio.get_running_loop()
        self._guard: FileGuard | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.look()

    def look(self) -> bool:
        """See that it is there; False if it is not, and cannot be made."""
        self.close()
        memory = self._supervisor.memory
        if memory.path is None:
            return False
        made = [memory.renew(self._supervisor.processes())]
        if memory.intact and memory.directory is not None:
            made += [each.renew(memory.directory) for each in self._beside]
        self._guard = FileGuard(self._loop, memory.path, self.look)
        if any(made) or not memory.intact:
            self._timer = self._loop.call_later(ONCE_MORE if memory.intact else AGAIN, self.look)
        return memory.intact

    def close(self) -> None:
        """Look no more."""
        if self._guard is not None:
            self._guard.close()
        if self._timer is not None:
            self._timer.cancel()
        self._guard = self._timer = None
