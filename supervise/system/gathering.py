"""When a reader that is faster than its writers had better pause."""

QUIET = 0.001  # seconds without work that end a streak of rounds
FAST = 4_000_000  # bytes a second in a streak from which on small reads are worth gathering
SMALL = 32 * 1024  # bytes: a round whose largest read was below this had little to do
PAUSE = 0.0005  # seconds then left to the writers


class Gathering:
    """Whether a short pause pays: many small writes arrive quickly, and each costs a read, a write and a wake-up.

    Without it a reader that is faster than its writer is woken for every few lines. Halves the processor time of a
    child that writes 200 bytes at a time; a line now and then, or one after the other has been seen, is not delayed.
    """

    __slots__ = ("_began", "_bytes", "_last")

    def __init__(self) -> None:
        self._began = self._last = 0.0
        self._bytes = 0

    def worthwhile(self, count: int, sources: int, now: float) -> bool:
        """Take note of a round that has read `count` bytes from so many sources."""
        if now - self._last > QUIET:
            self._began, self._bytes = now, 0
        self._last = now
        self._bytes += count
        pause = count < SMALL * sources and self._bytes > SMALL and self._bytes > FAST * (now - self._began)
        if pause:
            self._last += PAUSE
        return pause
