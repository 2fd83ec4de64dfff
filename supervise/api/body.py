"""Reading a request's body, within bounds of size and time."""

import asyncio
import json
from typing import Any, NoReturn

from aiohttp.web import BaseRequest

from supervise.api.problem import Problem

MAX_BODY = 4 << 20
BODY_SECONDS = 60.0  # for the whole body, however slowly it trickles in
MAX_NESTING = 32


async def read(request: BaseRequest, limit: int = MAX_BODY) -> bytes:
    """The whole body. Raises Problem 413 (more than `limit` bytes), 408 (too slow), 415 (compressed), and
    ConnectionResetError where it will never come."""
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Problem(415, "compressed bodies are not accepted")
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    stream = request.content
    if stream.is_eof():
        return _within(await stream.readany(), limit)
    chunks, size = [], 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while chunk := await stream.readany():
                size += len(chunk)
                if size > limit:
                    raise _too_large(limit)
                chunks.append(chunk)
    except RuntimeError as gone:  # aiohttp's, of a connection that was closed before we looked
        raise ConnectionResetError(str(gone)) from None
    except TimeoutError:
        raise Problem(408, "the body came too slowly", headers={"Connection": "close"}) from None
    return b"".join(chunks)


def parse_json(body: bytes) -> Any:
    """The JSON value in `body`. Raises Problem 400, also for what is not JSON proper (NaN) or nested too deeply."""
    try:
        value = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as exc:  # UnicodeDecodeError is a ValueError
        raise Problem(400, f"the body is not JSON: {str(exc)[:200]}") from None
    if _deeper_than(value, MAX_NESTING):
        raise Problem(400, f"the body is nested more than {MAX_NESTING} levels deep")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _deeper_than(value: Any, levels: int) -> bool:
    layer = [value]
    for _ in range(levels):
        layer = [item for held in layer if isinstance(held, (dict, list)) for item in _inside(held)]
        if not layer:
            return False
    return True


def _inside(held: dict[str, Any] | list[Any]) -> list[Any]:
    return list(held.values()) if isinstance(held, dict) else held


def _within(body: bytes, limit: int) -> bytes:
    if len(body) > limit:
        raise _too_large(limit)
    return body


def _too_large(limit: int) -> Problem:
    return Problem(413, f"the body is larger than {limit} bytes", headers={"Connection": "close"})
