"""Answers in many pieces, most of which are kept from one answer to the next, and a bound on what large ones hold.

A large one is never put together: that would take several times its size, for as long as the client reads, and keep
others waiting meanwhile. It is written a block at a time, as the client takes it; one that does not is cut off.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar

from aiohttp.abc import AbstractStreamWriter
from aiohttp.web import BaseRequest, Response, StreamResponse

from supervise.api.server import begin_sending
from supervise.errors import BusyError, Fault

BLOCK = 128 << 10  # bytes; as much as the buffers of a socket hold
MOST = 16 << 20  # bytes of a log in one answer: the daemon reads no more
SMALL = 64 << 10  # bytes that are made in the loop, and wait for no room
ROOM = 128 << 20  # bytes that large answers may take together, from their making until their clients have them
GROWTH = 6  # times, at most: a byte of a log, and what it is sent as (&amp;)
WAIT_SECONDS = 10.0  # for room
SEND_SECONDS = 30.0  # for a block


def answer(pieces: Sequence[bytes | memoryview], headers: Mapping[str, str]) -> StreamResponse:
    """A response with these pieces as its body."""
    size = sum(map(len, pieces))
    return Response(body=b"".join(pieces), headers=headers) if size <= BLOCK else Large(pieces, size, headers)


def cut(data: bytes) -> list[memoryview]:
    """One piece as several, which are not copied."""
    return [memoryview(data)[start : start + BLOCK] for start in range(0, len(data), BLOCK)]


class Large(StreamResponse):
    """A response that is sent by `send`."""

    def __init__(self, pieces: Sequence[bytes | memoryview], size: int, headers: Mapping[str, str]) -> None:
        super().__init__(headers=headers)
        self.content_length = size
        self._pieces = pieces
        self._at_once = max(1, len(pieces) * BLOCK // size)

    async def send(self, request: BaseRequest) -> None:
        """Send all of it. Raises ConnectionError if the client goes, or does not read."""
        begin_sending()
        await self.prepare(request)
        try:
            await self.write_eof()
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionAbortedError("the client does not read its answer") from None

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        """Send the head."""
        if request.method == "HEAD":
            self._pieces = ()
        return await super().prepare(request)

    async def write_eof(self, data: bytes = b"") -> None:
        """Send the body, waiting for the client as need be. Raises TimeoutError."""
        pieces, self._pieces = self._pieces, ()
        for first in range(0, len(pieces), self._at_once):
            async with asyncio.timeout(SEND_SECONDS):
                await self.write(b"".join(pieces[first : first + self._at_once]))
        await super().write_eof(data)


class Room:
    """How much large answers may take together. Loop thread only."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._freed = asyncio.Event()

    @contextmanager
    def share(self) -> Iterator[None]:
        """What is kept by an answer that is made within is given back in the end."""
        token = _share.set(share := Share(self))
        try:
            yield
        finally:
            _share.reset(token)
            self.give(share.kept)

    async def take(self, size: int) -> None:
        """Wait for so much. Raises BusyError."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while self._left < size:
                    self._freed.clear()
                    await self._freed.wait()
        except TimeoutError:
            raise BusyError(Fault.FAILED, "too many large answers at once; ask for less, or try again later") from None
        self._left -= size

    def give(self, size: int) -> None:
        """Give so much back."""
        self._left += size
        self._freed.set()


class Share:
    """What one answer holds."""

    def __init__(self, room: Room) -> None:
        self.room, self.kept = room, 0

    def keep(self, pieces: Sequence[bytes]) -> None:
        """These are what was made, and go to the client."""
        self.kept += sum(map(len, pieces))


_share: ContextVar[Share] = ContextVar("share")


@asynccontextmanager
async def making(size: int, growth: int = GROWTH) -> AsyncIterator[Share]:
    """Make (a part of) an answer of so many bytes of a log. Raises BusyError if there is no room for it in time."""
    share = _share.get()
    taken, before = growth * min(size, MOST) if size > SMALL else 0, share.kept
    if taken:
        await share.room.take(taken)
    try:
        yield share
    finally:
        share.room.give(taken - (share.kept - before))
