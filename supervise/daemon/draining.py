"""The last output of a process, before anybody is told of its end (B7)."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial

from supervise.daemon.childpipe import ChildPipe
from supervise.system.pump import Pump, Worker

DRAIN = 0.25  # seconds that the end of a process may wait for its last output


class Drain:
    """Calls `callback` in the loop, once: when what `take` was told is done, and after DRAIN seconds at the latest."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pump: Pump, callback: Callable[[], None]) -> None:
        self._loop, self._pump = loop, pump
        self._callback: Callable[[], None] | None = callback
        self._timer = loop.call_later(DRAIN, self._end)

    def take(self, pipes: Iterable[ChildPipe], worker: Worker) -> None:
        """Pass on all that is in these pipes. Log thread."""
        for pipe in pipes:
            if not worker.retired and not pipe.locked:
                pipe.drain(worker)
            if not worker.retired and not pipe.locked:
                pipe.flush(worker)
                pipe.channel.end_line(worker)
        if worker.retired:
            self._pump.call(partial(self.take, pipes))
        else:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        callback, self._callback = self._callback, None
        if callback is not None:
            self._timer.cancel()
            callback()
