"""What waits for a file that hangs: in its order, within bounds, and where it outlives us if it is from a pipe (and
there is room for it)."""

from collections import deque

from supervise.system.intent import Intent, Intents
from supervise.system.pump import BUFFER
from supervise.system.spool import Spool

LIMIT = 4 << 20  # bytes kept for one file; what comes then is dropped


class Backlog:
    """Of one file. Not for two threads at a time."""

    __slots__ = ("_kept", "_path", "_size", "_spools")

    def __init__(self, path: str) -> None:
        self._path = path
        self._size = 0
        self._kept: deque[bytes | Spool] = deque()
        self._spools: dict[int, Spool] = {}  # by pipe, those that may have room

    @property
    def full(self) -> bool:
        """Whether there might be no room for what one reading brings."""
        return self._size + BUFFER > LIMIT

    def add(self, data: memoryview | bytes, step: Intent | None, intents: Intents | None) -> bool:
        """Keep what was to be written, in the course of `step`; False if there is no room."""
        if self._size + len(data) > LIMIT:
            return False
        if step is None or not step.pipe or intents is None or not self._spool(data, step, intents):
            self._kept.append(bytes(data))
        self._size += len(data)
        return True

    def _spool(self, data: memoryview | bytes, step: Intent, intents: Intents) -> bool:
        try:
            spool = self._spools.get(step.pipe)
            if spool is not None and spool.add(data, step):
                return True
            spool = self._spools[step.pipe] = Spool(intents, step, self._path)
            self._kept.append(spool)
            return spool.add(data, step)
        except OSError:
            return False

    def take(self) -> bytes | Spool | None:
        """What is to be written next: nothing is added to it any more. None if nothing is left."""
        if not self._kept:
            return None
        kept = self._kept.popleft()
        if isinstance(kept, Spool):
            self._size -= kept.count
            if self._spools.get(kept.pipe) is kept:
                del self._spools[kept.pipe]
        else:
            self._size -= len(kept)
        return kept
