"""Making log files that nothing is written to yet: they are there to be seen, and programs come first.

Creating a file can cost more than starting a program: on ext4 0.4 ms, and more where many were deleted just before.
"""

import asyncio
from itertools import islice

from supervise.daemon.sinks import Sink
from supervise.system.pump import Pump, Worker

SOME = 32  # files made in a row, before the log thread may look at pipes again


class Touching:
    """A queue of files to be made. Loop thread only."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pump: Pump) -> None:
        self._loop, self._pump = loop, pump
        self._queue: dict[Sink, None] = {}  # in order, each once
        self._under_way = self._held = False

    def add(self, sink: Sink) -> None:
        """Have its file made if need be: at once, that is, when the loop comes round, or when nothing holds it back."""
        self._queue[sink] = None
        if not self._under_way:
            self._under_way = True
            self._loop.call_soon(self._some)

    def hold(self) -> None:
        """There is something more urgent, until `proceed`."""
        self._held = True

    def proceed(self) -> None:
        """There is nothing more urgent any more."""
        self._held = False
        if self._queue and not self._under_way:
            self._under_way = True
            self._some()

    def _some(self) -> None:
        some = [] if self._held else list(islice(self._queue, SOME))
        if not some:
            self._under_way = False
            return
        with self._pump.gathered():
            for sink in some:
                del self._queue[sink]
                if sink.users:  # else it was given up meanwhile
                    self._pump.call(sink.touch)
            self._pump.call(self._done)

    def _done(self, worker: Worker) -> None:
        try:
            self._loop.call_soon_threadsafe(self._some)
        except RuntimeError:  # the loop is closed
            return
