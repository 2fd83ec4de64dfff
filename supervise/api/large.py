"""Answers in many pieces, most of which are kept from one answer to the next.

A large one is never put together: that would take several times its size, for as long as the client reads, and keep
others waiting meanwhile. It is written a block at a time, as the client takes it.
"""

from collections.abc import Mapping, Sequence

from aiohttp.abc import AbstractStreamWriter
from aiohttp.web import BaseRequest, Response, StreamResponse

BLOCK = 128 << 10  # bytes; as much as the buffers of a socket hold


def answer(pieces: Sequence[bytes], headers: Mapping[str, str]) -> StreamResponse:
    """A response with these pieces as its body."""
    size = sum(map(len, pieces))
    return Response(body=b"".join(pieces), headers=headers) if size <= BLOCK else _Large(pieces, size, headers)


class _Large(StreamResponse):
    def __init__(self, pieces: Sequence[bytes], size: int, headers: Mapping[str, str]) -> None:
        super().__init__(headers=headers)
        self.content_length = size
        self._pieces = pieces
        self._at_once = max(1, len(pieces) * BLOCK // size)

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        """Send the head."""
        if request.method == "HEAD":
            self._pieces = ()
        return await super().prepare(request)

    async def write_eof(self, data: bytes = b"") -> None:
        """Send the body, waiting for the client as need be."""
        for first in range(0, len(self._pieces), self._at_once):
            await self.write(b"".join(self._pieces[first : first + self._at_once]))
        await super().write_eof(data)
