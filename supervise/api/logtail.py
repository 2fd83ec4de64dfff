"""Endless streams of a log: its end first, then whatever is added to it.

One for supervisord's clients (/logtail, /mainlogtail), one for the JSON API. Both stand on `Commands.follow`, which
loses what a slow client does not take and says so.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TypeAlias
from urllib.parse import unquote

from aiohttp import HttpVersion11
from aiohttp.web import BaseRequest, StreamResponse

from supervise.api.problem import Problem
from supervise.api.server import SERVER, begin_stream
from supervise.api.text import skip_partial, split_partial
from supervise.daemon import namespec
from supervise.daemon.commands import Commands
from supervise.daemon.followers import Gap, Truncated
from supervise.errors import CommandError

log = logging.getLogger("supervise")

Item: TypeAlias = bytes | Gap | Truncated

HEAD = 1024  # supervisord: a stream begins with the last 1024 bytes

_HEADERS = {
    "Content-Type": "text/plain;charset=utf-8",
    "X-Accel-Buffering": "no",  # else nginx holds the stream back
    "X-Content-Type-Options": "nosniff",  # a log may hold anything, HTML included
    "Cache-Control": "no-store",
    "Server": SERVER,
}


async def classic(commands: Commands, request: BaseRequest, path: str) -> StreamResponse:
    """supervisord's `/logtail/<name>[/stdout|/stderr]` and `/mainlogtail`. Raises Problem 404, 400 and 503."""
    if request.method != "GET":
        raise Problem(400, "a log stream is asked for with GET")
    _, kind, *rest = path.split("/", 3)
    name, channel = [*map(unquote, rest), "stdout"][:2] if rest else ("", "stdout")
    if kind == "mainlogtail":
        name, channel = "", "stdout"
    elif not name or kind != "logtail" or not namespec.is_single(name) or channel not in ("stdout", "stderr"):
        raise Problem(404, "no such log")
    try:
        return await stream(commands, request, namespec.literal(name) if name else "", channel, HEAD)
    except CommandError as error:
        # What is missing now may be there later: supervisord says 404 for all of it.
        raise Problem(404, f"{error.fault.name}: {name}") from None


async def stream(
    commands: Commands, request: BaseRequest, spec: str, channel: str, start: int, *, raw: bool = False
) -> StreamResponse:
    """Answer with the last `start` bytes and all that follows, until the client or the daemon goes away.

    Raises CommandError (BAD_NAME, NO_FILE) and Problem 503 before anything is sent.
    """
    response = StreamResponse(headers=_HEADERS | ({"Content-Type": "application/octet-stream"} if raw else {}))
    async with aclosing(await commands.follow(spec, channel, start)) as items:
        first = await anext(items)  # nothing is missed from now on; only then the client hears that the stream begins
        async with aclosing(readable(_all(first, items), raw=raw)) as pieces, endless(request, response):
            async for piece in pieces:
                await response.write(piece)
    return response


async def _all(first: Item, items: AsyncIterator[Item]) -> AsyncIterator[Item]:
    yield first
    async for item in items:
        yield item


@asynccontextmanager
async def endless(request: BaseRequest, response: StreamResponse) -> AsyncIterator[None]:
    """Begin a stream without end. The server ends it by cancelling; then, or when the source fails, the client sees a
    proper end of the body (or a cut connection) and no second answer. Raises Problem 503 before anything is sent."""
    begin_stream()
    if request.version >= HttpVersion11:  # before, a body without a length ends with the connection
        response.enable_chunked_encoding()
    await response.prepare(request)
    try:
        yield
    except asyncio.CancelledError:
        with suppress(ConnectionError):
            await response.write_eof()
        raise
    except ConnectionError:
        raise
    except Exception:
        log.critical("internal error in the stream %r", request.raw_path[:200], exc_info=True)
        if request.transport is not None:
            request.transport.abort()


async def readable(items: AsyncIterator[Item], *, raw: bool = False) -> AsyncGenerator[bytes]:
    """The items of a followed log as bytes for a reader: gaps and truncations as a line, characters whole.

    With `raw`, bytes are passed on as they come.
    """
    first, kept = True, b""
    async for item in items:
        match item:
            case Truncated():
                first, kept = False, b""
                yield b"==> File truncated <==\n"
            case Gap(missed):
                kept = b""
                yield f"\n==> {missed or 'some'} bytes skipped <==\n".encode()
            case b"":
                pass
            case bytes() if raw:
                yield item
            case bytes():
                data, kept = split_partial(kept + (skip_partial(item) if first else item))
                first = False
                if data:
                    yield data
