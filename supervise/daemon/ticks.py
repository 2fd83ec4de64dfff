"""The clock of TICK events. It sleeps when nobody has asked for any."""

import asyncio
import time
from collections.abc import Callable, Collection

from supervise.core.events import Tick


class Ticks:
    """Tells `emit` whenever the wall clock enters another period of those wanted. Loop thread only.

    supervisord floors the time to the period, and so do we: TICK_60 comes at full minutes. After each tick the clock is
    asked again, so that a clock that was set only moves the next tick.
    """

    def __init__(self, emit: Callable[[Tick], None]) -> None:
        self._emit = emit
        self._loop = asyncio.get_running_loop()
        self._slices: dict[int, int] = {}  # by period, the moment of the last tick
        self._timer: asyncio.TimerHandle | None = None

    def want(self, periods: Collection[int]) -> None:
        """From now on these periods, in seconds, are told of."""
        now = time.time()
        self._slices = {period: self._slices.get(period, floor(now, period)) for period in sorted(periods)}
        self._arm(now)

    def close(self) -> None:
        """Stop the clock."""
        self.want(())

    def _arm(self, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._slices:
            self._timer = self._loop.call_later(delay(now, min(self._slices)), self._look)

    def _look(self) -> None:
        now = time.time()
        for period, last in list(self._slices.items()):
            if (current := floor(now, period)) != last:
                self._slices[period] = current
                self._emit(Tick(period, current))
        self._arm(time.time())


def floor(now: float, period: int) -> int:
    """The last moment that the period divides."""
    return int(now) - int(now) % period


def delay(now: float, period: int) -> float:
    """Seconds until the next such moment; a little more, because timers may be early."""
    return floor(now, period) + period - now + 0.001
