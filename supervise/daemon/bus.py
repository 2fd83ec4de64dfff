"""Who hears of changes: callbacks at once, subscribers through bounded queues."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import NamedTuple, Self

from supervise.core.events import Notification, Output

QUEUE = 1000  # notifications a subscriber may lag behind before it loses the oldest
BYTES = 10 << 20  # of data in them


class Gap(NamedTuple):
    """A subscriber was too slow and has missed this many notifications."""

    missed: int


class Subscription:
    """An async iterator over notifications, and `Gap`s where some were lost. Loop thread only.

    Use it as a context manager: leaving it unsubscribes.
    """

    def __init__(self, bus: "Bus", limit: int) -> None:
        self._bus, self._queue, self._limit = bus, deque[Notification](), limit
        self._missed = self._size = 0
        self._wake = asyncio.Event()
        self._closed = False

    def put(self, notification: Notification) -> None:
        """Take a notification; the oldest give way when there are too many, or they are too large."""
        self._queue.append(notification)
        self._size += weight(notification)
        while len(self._queue) > self._limit or (self._size > BYTES and len(self._queue) > 1):
            self._take()
            self._missed += 1
        self._wake.set()

    def _take(self) -> Notification:
        notification = self._queue.popleft()
        self._size -= weight(notification)
        return notification

    def close(self) -> None:
        """End the iteration, after what is still queued."""
        self._closed = True
        self._wake.set()

    async def __aiter__(self) -> AsyncIterator[Notification | Gap]:
        while True:
            while self._queue:  # never empty where something was missed: only others take its place
                if self._missed:
                    gap, self._missed = Gap(self._missed), 0
                    yield gap
                else:
                    yield self._take()
            if self._closed:
                return
            self._wake.clear()
            await self._wake.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bus.unsubscribe(self)


class Bus:
    """Publish and subscribe. A slow subscriber loses the oldest notifications and is told; it delays nobody."""

    def __init__(self) -> None:
        self._callbacks: list[Callable[[Notification], None]] = []
        self._subscriptions: set[Subscription] = set()

    def listen(self, callback: Callable[[Notification], None]) -> None:
        """Have `callback` called at each notification, at once; it must be quick and must not raise."""
        self._callbacks.append(callback)

    def subscribe(self, limit: int = QUEUE) -> Subscription:
        """Return a subscription that holds at most `limit` notifications."""
        subscription = Subscription(self, limit)
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription; unknown ones are ignored."""
        self._subscriptions.discard(subscription)

    def publish(self, notification: Notification) -> None:
        """Hand `notification` to everybody; plain output to callbacks alone, since it would displace the rest, and
        whoever wants to read it can follow the log."""
        for callback in self._callbacks:
            callback(notification)
        if type(notification) is Output:
            return
        for subscription in self._subscriptions:
            subscription.put(notification)

    def close(self) -> None:
        """End all subscriptions: their iterators finish after what is queued."""
        for subscription in self._subscriptions:
            subscription.close()


def weight(notification: Notification) -> int:
    """How much data a notification carries (bytes or characters)."""
    return len(getattr(notification, "data", ""))
