"""Bodies within their bounds; over real connections, since what counts is how they arrive."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from supervise.api import body
from supervise.api.problem import Problem
from supervise.config.model import ServerConfig
from tests.api.test_server import connect, run, serving


async def handler(request: web.BaseRequest, config: ServerConfig) -> web.StreamResponse:
    try:
        return web.Response(body=await body.read(request, 1000))
    except Problem as problem:
        return web.Response(status=problem.status)


async def send(path: Path, *pieces: bytes, pause: float = 0.0) -> bytes:
    reader, writer = await connect(path)
    for piece in pieces:
        writer.write(piece)
        await asyncio.sleep(pause)
    head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return head.split(b"\r\n")[0]


def post(length: int, data: bytes = b"", *headers: bytes) -> bytes:
    head = [b"POST / HTTP/1.1", b"Host: x", b"Content-Length: %d" % length, *headers]
    return b"\r\n".join(head) + b"\r\n\r\n" + data


def test_bodies_as_they_come(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        path = place / "s"
        async with serving(path, handler):
            assert b" 200 " in await send(path, post(1000, b"x" * 1000))
            assert b" 200 " in await send(path, post(10), b"x" * 5, b"x" * 5, pause=0.05)
            assert b" 200 " in await send(path, post(0))
            assert b" 413 " in await send(path, post(1001, b"x" * 1001))
            assert b" 413 " in await send(path, post(64 << 20))  # before a byte of it is read
            with monkeypatch.context() as impatient:
                impatient.setattr(body, "BODY_SECONDS", 0.3)
                assert b" 408 " in await send(path, post(10, b"x"))
            assert b" 415 " in await send(path, post(3, b"abc", b"Content-Encoding: gzip"))
            chunk = b"200\r\n" + b"x" * 512 + b"\r\n"
            chunked = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            assert b" 200 " in await send(path, chunked, chunk, b"0\r\n\r\n")
            assert b" 413 " in await send(path, chunked, chunk, chunk, b"0\r\n\r\n")

    run(story)


def test_who_is_gone_before_we_look_has_only_gone(place: Path) -> None:
    """A server that is full may have closed the connection itself."""
    caught = list[Exception]()

    async def late(request: web.BaseRequest, _: ServerConfig) -> web.StreamResponse:
        request.protocol.force_close()
        while request.transport is not None:
            await asyncio.sleep(0)
        try:
            await body.read(request)
        except Exception as error:
            caught.append(error)
            raise ConnectionResetError from None
        raise AssertionError("there was nothing to read")

    async def story() -> None:
        path = place / "s"
        async with serving(path, late):
            reader, writer = await connect(path)
            writer.write(post(10, b"x"))
            assert await reader.read() == b""
            writer.close()
        assert [type(error) for error in caught] == [ConnectionResetError]

    run(story)


def test_json() -> None:
    assert body.parse_json(b'{"a": [1, 2.5, null, "\xc3\xa4"]}') == {"a": [1, 2.5, None, "ä"]}
    assert body.parse_json(b"[" * 31 + b"]" * 31)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"NaN", b"[Infinity]", b"\xff", b"[" * 33 + b"]" * 33, b"[" * 1_000_000, b"1" * 10_000, b'{"a":1}x'],
    ids=lambda data: repr(data[:20]),
)
def test_what_is_no_json(data: bytes) -> None:
    with pytest.raises(Problem) as caught:
        body.parse_json(data)
    assert caught.value.status == 400
