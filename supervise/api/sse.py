"""Server-sent events (HTML standard, 9.2): every notification of the daemon's bus, as it happens."""

import asyncio
import dataclasses
import enum
from typing import Any

from aiohttp.web import BaseRequest, StreamResponse

from supervise.api.logtail import endless
from supervise.api.server import SERVER
from supervise.api.shapes import dumps
from supervise.core.events import Notification, StateChanged
from supervise.daemon.bus import Gap, Subscription
from supervise.daemon.commands import Commands

HEARTBEAT = 15.0  # seconds of silence after which a comment is sent, so that proxies and dead peers are noticed

_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
    "Server": SERVER,
}


async def stream(commands: Commands, request: BaseRequest) -> StreamResponse:
    """Send events until the client goes away or the daemon ends.

    A client that reads too slowly loses the oldest and gets an event `gap` with their number.
    """
    response = StreamResponse(headers=_HEADERS)
    with commands.events() as subscription:
        async with endless(request, response):
            await _send(response, subscription)
    return response


async def _send(response: StreamResponse, subscription: Subscription) -> None:
    await response.write(b": connected\n\n")
    items = aiter(subscription)
    serial, coming = 0, _next(items)
    try:
        while True:
            done, _ = await asyncio.wait({coming}, timeout=HEARTBEAT)
            if not done:
                await response.write(b": still here\n\n")
                continue
            item = coming.result()
            if item is None:
                return
            serial += 1
            coming = _next(items)
            await response.write(event(item, serial))
    finally:
        coming.cancel()


def _next(items: Any) -> asyncio.Task[Notification | Gap | None]:
    async def step() -> Notification | Gap | None:
        found: Notification | Gap | None = await anext(items, None)
        return found

    return asyncio.create_task(step())


def event(item: Notification | Gap, serial: int) -> bytes:
    """One event. `type` is supervisord's event type; `id` counts from 1 on each connection."""
    kind, data = document(item)
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (serial, kind.encode(), dumps(data))


def document(item: Notification | Gap) -> tuple[str, dict[str, Any]]:
    """The type of an event, and what it says, as JSON values."""
    if isinstance(item, Gap):
        return "gap", {"missed": item.missed}
    return item.type, _data(item)


def _data(item: Notification) -> dict[str, Any]:
    found = {field.name: _plain(getattr(item, field.name)) for field in dataclasses.fields(item)}
    if isinstance(item, StateChanged):
        found["namespec"] = item.name if item.name == item.group else f"{item.group}:{item.name}"
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.name if isinstance(value, enum.Enum) else value
