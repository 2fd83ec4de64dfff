"""One listener: its bounds, and what happens at them. In this process, over real sockets; the handlers are ours."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web

from supervise.api import server
from supervise.api.problem import Problem
from supervise.api.server import Server, begin_sending, begin_stream
from supervise.config.model import ServerConfig

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
PATIENCE = 30.0


@dataclass(eq=False)
class Socket:
    """A listener as `system.sockets` makes them."""

    sock: socket.socket
    config: ServerConfig
    url: str


async def hello(request: web.BaseRequest, config: ServerConfig) -> web.StreamResponse:
    return web.Response(text="hello")


@asynccontextmanager
async def serving(path: Path, handler: server.Handler = hello) -> AsyncIterator[Server]:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    config = ServerConfig(kind="unix", section="unix_http_server", file=str(path))
    async with serving_on(sock, config, handler) as one:
        yield one


@asynccontextmanager
async def serving_tcp(handler: server.Handler) -> AsyncIterator[int]:
    """Its port. Whoever connects is nobody in particular, unlike on a unix socket."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    async with serving_on(sock, ServerConfig(kind="inet", section="inet_http_server"), handler):
        yield sock.getsockname()[1]


@asynccontextmanager
async def serving_on(sock: socket.socket, config: ServerConfig, handler: server.Handler) -> AsyncIterator[Server]:
    sock.listen(1024)
    sock.setblocking(False)
    one = Server(Socket(sock, config, "somewhere"), handler)
    await one.open()
    try:
        yield one
    finally:
        await one.close(1.0)


def run(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 2 * PATIENCE))


async def connect(to: Path | int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(to, int):
        return await asyncio.open_connection("127.0.0.1", to)
    return await asyncio.open_unix_connection(str(to))


async def asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes = REQUEST) -> bytes:
    """The status line of the answer; b"" if the connection is cut instead."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            await reader.readexactly(int(line.split(b":")[1]))
    return head.split(b"\r\n")[0]


async def cut(reader: asyncio.StreamReader) -> bool:
    """Waits until the other side closes."""
    try:
        while await reader.read(65536):
            pass
    except ConnectionError:
        pass
    return True


def test_a_full_listener_drops_whoever_has_been_idle_longest(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 5)

    async def story() -> None:
        async with serving(place / "s"):
            first = await connect(place / "s")
            assert await asked(*first) == b"HTTP/1.1 200 OK"
            silent = [await connect(place / "s") for _ in range(4)]
            assert await asked(*first) == b"HTTP/1.1 200 OK"  # the youngest of the idle now
            another = await connect(place / "s")
            assert await asked(*another) == b"HTTP/1.1 200 OK"
            assert await cut(silent[0][0])
            assert await asked(*first) == b"HTTP/1.1 200 OK"
            assert await asked(*silent[1]) == b"HTTP/1.1 200 OK"
            for _, writer in (first, another, *silent):
                writer.close()

    run(story)


class Held:
    """A handler whose answers wait until they are let go."""

    def __init__(self) -> None:
        self.going_on, self.inside = asyncio.Event(), 0

    async def __call__(self, request: web.BaseRequest, config: ServerConfig) -> web.StreamResponse:
        if request.raw_path == "/stream":
            begin_stream()
        self.inside += 1
        await self.going_on.wait()
        return web.Response(text="at last")

    async def reached(self, count: int) -> None:
        while self.inside < count:
            await asyncio.sleep(0.01)


def test_a_listener_full_of_busy_connections_refuses_others_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 4)

    async def story() -> None:
        held = Held()
        async with serving_tcp(held) as port:
            busy = [await connect(port) for _ in range(4)]
            answers = [asyncio.create_task(asked(*connection)) for connection in busy]
            await held.reached(4)
            for _ in range(20):
                refused = await connect(port)
                refused[1].write(REQUEST)
                assert await cut(refused[0])
                refused[1].close()
            gc.collect()  # an exception that nobody has asked for is told of by then
            held.going_on.set()
            assert await asyncio.gather(*answers) == [b"HTTP/1.1 200 OK"] * 4
            again = await connect(port)
            assert await asked(*again) == b"HTTP/1.1 200 OK"
            for _, writer in (*busy, again):
                writer.close()

    run(story)
    assert [record.getMessage() for record in caplog.records] == [
        "Server 'somewhere' has 4 busy connections; refused 1 more"
    ]


def test_an_administrator_of_this_machine_always_gets_in(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 4)

    async def story() -> None:
        held = Held()
        async with serving(place / "s", held):
            everybody, answers = [], []
            for count in range(1, 7):
                everybody.append(await connect(place / "s"))  # whoever runs this is one
                answers.append(asyncio.create_task(asked(*everybody[-1])))
                await held.reached(count)
            held.going_on.set()
            assert await asyncio.gather(*answers) == [b"HTTP/1.1 200 OK"] * 6
            for _, writer in everybody:
                writer.close()

    run(story)


@pytest.mark.parametrize(
    "sent", [b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n<", b"GET /answer" + REQUEST[5:]]
)
def test_who_does_not_send_a_body_or_read_an_answer_makes_room(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 4)

    async def story() -> None:
        inside = list[web.BaseRequest]()

        async def handler(request: web.BaseRequest, config: ServerConfig) -> web.StreamResponse:
            if request.raw_path == "/answer":
                begin_sending()
                inside.append(request)
                await asyncio.sleep(3600)
            if request.method == "POST":
                inside.append(request)
                await request.read()
            return web.Response(text="hello")

        async with serving_tcp(handler) as port:
            slow = [await connect(port) for _ in range(4)]
            for count, (_, writer) in enumerate(slow, 1):
                writer.write(sent)
                while len(inside) < count:
                    await asyncio.sleep(0.01)
            quick = await connect(port)
            assert await asked(*quick) == b"HTTP/1.1 200 OK"
            assert await cut(slow[0][0])
            for _ in range(2):  # the oldest first, and not the quick one
                slow.append(await connect(port))
            assert await asked(*quick) == b"HTTP/1.1 200 OK"
            assert await cut(slow[1][0])
            assert await cut(slow[2][0])
            for _, writer in (*slow, quick):
                writer.close()

    run(story)


def test_streams_leave_half_of_the_connections_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 4)

    async def story() -> None:
        held, refused = Held(), list[int]()

        async def handler(request: web.BaseRequest, config: ServerConfig) -> web.StreamResponse:
            try:
                return await held(request, config) if request.raw_path == "/stream" else await hello(request, config)
            except Problem as problem:
                refused.append(problem.status)
                raise web.HTTPServiceUnavailable from None

        async with serving_tcp(handler) as port:
            streams = [await connect(port) for _ in range(3)]
            for count, (_, writer) in enumerate(streams[:2], 1):
                writer.write(REQUEST.replace(b"/ ", b"/stream "))
                await held.reached(count)
            assert b"503" in await asked(*streams[2], REQUEST.replace(b"/ ", b"/stream "))
            assert refused == [503]
            for _ in range(5):
                another = await connect(port)
                assert await asked(*another) == b"HTTP/1.1 200 OK"
                another[1].close()
            for _, writer in streams[:2]:
                writer.close()
            again = await connect(port)
            again[1].write(REQUEST.replace(b"/ ", b"/stream "))
            await held.reached(3)  # those that are gone do not count
            for _, writer in (*streams[2:], again):
                writer.close()

    run(story)


@pytest.mark.parametrize("sent", [b"", b"GET /", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow"])
def test_a_first_request_that_does_not_come(place: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    async def story() -> None:
        async with serving(place / "s"):
            for seconds in (0.2, 2.0, 10.0):  # how long a slow machine takes for a quick one's request
                monkeypatch.setattr(server, "FIRST_REQUEST_SECONDS", seconds)
                slow, quick = await connect(place / "s"), await connect(place / "s")
                slow[1].write(sent)
                try:
                    assert await asked(*quick) == b"HTTP/1.1 200 OK"
                except (asyncio.IncompleteReadError, ConnectionError):
                    quick[1].close()
                    continue
                finally:
                    assert await cut(slow[0])
                    slow[1].close()
                await asyncio.sleep(1.5 * seconds)
                assert await asked(*quick) == b"HTTP/1.1 200 OK"  # its deadline went with its first request
                quick[1].close()
                return
            pytest.fail("too slow for any of them")

    run(story)


def test_a_second_request_that_does_not_come(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "IDLE_SECONDS", 0.2)

    async def story() -> None:
        async with serving(place / "s"):
            reader, writer = await connect(place / "s")
            assert await asked(reader, writer) == b"HTTP/1.1 200 OK"
            writer.write(b"GET / HTTP/1.1\r\n")
            assert await cut(reader)
            writer.close()

    run(story)


def test_closing_ends_streams_at_once_and_lets_requests_finish(place: Path) -> None:
    async def story() -> None:
        under_way = asyncio.Event()

        async def handler(request: web.BaseRequest, config: ServerConfig) -> web.StreamResponse:
            if request.raw_path == "/stream":
                begin_stream()
                response = web.StreamResponse()
                response.enable_chunked_encoding()
                await response.prepare(request)
                await asyncio.sleep(3600)
            under_way.set()
            await asyncio.sleep(0.3)
            return web.Response(text="done")

        path = place / "s"
        async with serving(path, handler) as one:
            stream, request = await connect(path), await connect(path)
            stream[1].write(REQUEST.replace(b"/ ", b"/stream "))
            await stream[0].readuntil(b"\r\n\r\n")
            answer = asyncio.create_task(asked(*request))
            await under_way.wait()
            await asyncio.wait_for(one.close(PATIENCE), PATIENCE / 2)
            assert await answer == b"HTTP/1.1 200 OK"
            assert await cut(stream[0])
            stream[1].close()
            request[1].close()
        assert path.exists()  # the file is not the server's to remove

    run(story)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x00\x01\x02\xff\r\n\r\n",
        b"hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET  HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100_000 + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,  # TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    ids=lambda request: repr(request[:40]),
)
def test_what_is_not_http(place: Path, request_bytes: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        async with serving(place / "s"):
            bad, good = await connect(place / "s"), await connect(place / "s")
            bad[1].write(request_bytes)
            answer = await asyncio.wait_for(bad[0].read(100), PATIENCE)
            assert answer == b"" or answer.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400"))
            assert await asked(*good) == b"HTTP/1.1 200 OK"
            bad[1].close()
            good[1].close()

    run(story)
    assert "Traceback" not in caplog.text


def test_pipelined_requests_are_answered_in_order_within_bounds(place: Path) -> None:
    async def story() -> None:
        async with serving(place / "s"):
            reader, writer = await connect(place / "s")
            count = 5000
            writer.write(REQUEST * count)
            received = 0
            while received < count:
                received += (await reader.readuntil(b"hello")).count(b"200 OK")
            writer.close()

    run(story)


def test_two_thousand_silent_connections_keep_nobody_out(place: Path) -> None:
    async def story() -> None:
        async with serving(place / "s") as one:
            silent = []
            for _ in range(2000):
                sock = socket.socket(socket.AF_UNIX)
                sock.setblocking(False)
                while True:
                    try:
                        sock.connect(str(place / "s"))
                    except BlockingIOError:  # the backlog is full for the moment
                        await asyncio.sleep(0.001)
                    else:
                        break
                silent.append(sock)
            reader, writer = await connect(place / "s")
            assert await asked(reader, writer) == b"HTTP/1.1 200 OK"
            assert len(one._visits) <= server.MAX_CONNECTIONS
            writer.close()
            for sock in silent:
                sock.close()

    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, hard), hard))
    try:
        run(story)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_what_a_malformed_request_said_is_not_logged(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        async with serving(place / "s"):
            for line in (b"Authorization : Basic S3CRET", b"Authorization Basic S3CRET", b"Authorization: S3CRET\x01"):
                reader, writer = await connect(place / "s")
                writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n" + line + b"\r\n\r\n")
                assert b" 400 " in await reader.readline()
                writer.close()

    with caplog.at_level("DEBUG", "supervise"):
        asyncio.run(story())
    assert caplog.text.count("http: Error handling request") == 3
    assert "S3CRET" not in caplog.text
