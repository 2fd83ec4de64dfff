"""Output as events: from the log thread, where it is read, to the loop, where events are."""

import asyncio
import dataclasses
import logging
import threading
from collections import deque
from collections.abc import Callable

from supervise.core.events import Communication, Output
from supervise.core.wire import unfinished
from supervise.daemon.transit import Transit

log = logging.getLogger("supervise")

LIMIT = 8 << 20  # bytes on their way; what comes beyond that is lost for listeners (never for the log)
REPEAT = 10.0  # seconds before a loss is told again


class Inlet:
    """PROCESS_LOG and PROCESS_COMMUNICATION events, in the order in which the output was read.

    `put_output` and `put_passage` are called in the log thread, everything else in the loop's. A character that the end
    of a piece has cut in two is kept for the next piece, so that a listener always gets text. What a process writes
    before its spawn has returned comes with pid 0: by the time it is delivered, `pid_of` (group, name) knows it.
    """

    def __init__(
        self, deliver: Callable[[Output], None], pid_of: Callable[[str, str], int], transit: Transit | None = None
    ) -> None:
        """What `transit` has found is delivered first, and nothing before `begin`."""
        self.wanted: frozenset[str] = frozenset()  # types of output events that anybody listens to
        self.lost = 0  # bytes
        self._deliver, self._pid_of = deliver, pid_of
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._transit = transit or Transit(None)
        self._queue: deque[Output] = deque(self._transit.found)
        self._held = bool(self._queue)
        self._size = 0
        self._called = self._flushing = False
        self._told_at = float("-inf")
        self._told = 0
        self._tails: dict[tuple[str, str, str], Output] = {}

    def put_output(self, namespec: str, channel: str, pid: int, data: bytes) -> None:
        """A process has written something."""
        if f"{Output.PREFIX}_{channel.upper()}" in self.wanted:
            self._put(Output(*split(namespec), pid, channel, data))

    def put_passage(self, namespec: str, channel: str, pid: int, data: bytes) -> None:
        """A process has written something between the capture tokens."""
        self._put(Communication(*split(namespec), pid, channel, data))

    def _put(self, output: Output) -> None:
        with self._lock:
            if self._size + len(output.data) > LIMIT and self._queue:
                self.lost += len(output.data)
                return
            self._transit.add(output)
            self._queue.append(output)
            self._size += len(output.data)
            if self._called:
                return
            self._called = True
        try:
            self._loop.call_soon_threadsafe(self.flush)
        except RuntimeError:  # the loop is closed
            return

    def begin(self) -> None:
        """All that listen are there."""
        self._held = False
        self.flush()

    def renew(self, directory: str) -> bool:
        """See that what is on its way is on file; whether something had to be done."""
        with self._lock:
            return self._transit.renew(directory, self._queue)

    def close(self, *, forget: bool) -> None:
        """The end: what is on its way is left to the next daemon, or forgotten."""
        with self._lock:
            self._transit.close(remove=forget)

    def flush(self) -> None:
        """Deliver what has come so far."""
        if self._flushing or self._held:
            return
        self._flushing = True
        try:
            with self._lock:
                waiting, self._queue = self._queue, deque()
                self._size, self._called = 0, False
                if waiting:
                    self._transit.turn()
            for output in waiting:
                self._pass(output)
            if waiting:
                self._transit.delivered()
        finally:
            self._flushing = False
        if self.lost > self._told and self._loop.time() >= self._told_at + REPEAT:
            log.warning("%d bytes of output were too much for event listeners", self.lost - self._told)
            self._told, self._told_at = self.lost, self._loop.time()

    def _pass(self, output: Output) -> None:
        if output.pid == 0:
            output = dataclasses.replace(output, pid=self._pid_of(output.group, output.name))
        if isinstance(output, Communication):
            if log.isEnabledFor(logging.DEBUG):
                log.debug("%r %s emitted a comm event", output.name, output.channel)
            self._deliver(output)
            return
        key = (output.group, output.name, output.channel)
        if (tail := self._tails.pop(key, None)) is not None:
            if tail.pid == output.pid:
                output = Output(*key[:2], output.pid, output.channel, tail.data + output.data)
            else:
                self._deliver(tail)
        if count := unfinished(output.data):
            self._tails[key] = Output(*key[:2], output.pid, output.channel, output.data[-count:])
            output = Output(*key[:2], output.pid, output.channel, output.data[:-count])
        if output.data:
            self._deliver(output)

    def end(self, group: str, name: str) -> None:
        """A process has ended: deliver all that it has written, to the last byte."""
        self.flush()
        for channel in ("stdout", "stderr"):
            if (tail := self._tails.pop((group, name, channel), None)) is not None:
                self._deliver(tail)


def split(namespec: str) -> tuple[str, str]:
    """Group and name."""
    group, _, name = namespec.partition(":")
    return group, name or group
