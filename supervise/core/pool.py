"""The events that wait for a pool of listeners: bounded, in order, each handed out until somebody has accepted it.

An event that was rejected, or whose listener died over it, goes back to the head. The bounds hold for what waits; what
a member has in its hands comes on top, one event each, so that putting it back never costs another one its place.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from supervise.core.wire import PERIODS, Event

MAX_BYTES = 10 << 20  # of payloads
PATIENCE = 10  # rejections of one event that are answered at once; a pool that goes on so is slowed down
PAUSES = (0.1, 10.0)  # seconds: the first pause, doubled at each further rejection, and the longest


@dataclass(slots=True, eq=False)
class Item:
    """An event in one pool."""

    event: Event
    poolserial: int
    rejections: int = 0
    not_before: float = 0.0


class Put(NamedTuple):
    """What has come of a new event."""

    item: Item
    replaced: list[Item]  # of the same type, which nobody wants any more
    given_up: list[Item]  # what had to give way to it, the oldest first


class Backlog:
    """The queue of one pool. All times are the caller's clock, in seconds."""

    def __init__(self, max_events: int, max_bytes: int = MAX_BYTES) -> None:
        self.max_events, self.max_bytes = max_events, max_bytes
        self.size = 0  # bytes of payload that wait
        self.dropped = 0
        self._waiting: deque[Item] = deque()
        self._serial = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def resume(self, items: Iterable[Item], serial: int) -> None:
        """Begin with these, the oldest first; the next one gets this serial."""
        self._waiting = deque(items)
        self.size = sum(len(item.event.payload) for item in self._waiting)
        self._serial = serial

    def put(self, event: Event) -> Put:
        """Queue an event.

        A tick takes the place of one of its own type that still waits: nobody wants to be told twice how late it was.
        """
        replaced = self._drop_waiting(event.type) if event.type in PERIODS else []
        given_up = []
        while self._waiting and (
            len(self._waiting) >= self.max_events or self.size + len(event.payload) > self.max_bytes
        ):
            given_up.append(self._popleft())
        self.dropped += len(given_up)
        item = Item(event, self._serial)
        self._waiting.append(item)
        self._serial += 1
        self.size += len(event.payload)
        return Put(item, replaced, given_up)

    def take(self, now: float) -> Item | None:
        """The oldest event, if it may be sent now."""
        if not self._waiting or self._waiting[0].not_before > now:
            return None
        return self._popleft()

    @property
    def due(self) -> float | None:
        """When the oldest event may be sent; None if nothing waits."""
        return self._waiting[0].not_before if self._waiting else None

    def put_back(self, item: Item) -> None:
        """It was not dealt with, through no fault of its own."""
        self._waiting.appendleft(item)
        self.size += len(item.event.payload)

    def reject(self, item: Item, now: float) -> None:
        """It was refused. It comes again; if that goes on, after a while."""
        item.rejections += 1
        if (excess := item.rejections - PATIENCE) > 0:
            item.not_before = now + min(PAUSES[0] * 2.0 ** min(excess - 1, 30), PAUSES[1])
        self.put_back(item)

    def _popleft(self) -> Item:
        item = self._waiting.popleft()
        self.size -= len(item.event.payload)
        return item

    def _drop_waiting(self, type: str) -> list[Item]:
        dropped = [item for item in self._waiting if item.event.type == type]
        for item in dropped:
            self._waiting.remove(item)
            self.size -= len(item.event.payload)
        return dropped
