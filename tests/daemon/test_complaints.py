"""What nobody caught."""

import asyncio
import logging
import re
import socket

import pytest

from supervise.daemon.complaints import Complaints
from tests.daemon.running import PATIENCE, no_descriptors


def test_one_line_for_connections_that_have_to_wait(caplog: pytest.LogCaptureFixture) -> None:
    """asyncio says it for every connection that it would accept, and again after a second."""

    async def story() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(Complaints())
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        with socket.socket() as client:
            with no_descriptors():
                client.connect(server.sockets[0].getsockname())
                async with asyncio.timeout(PATIENCE):
                    while not caplog.records:
                        await asyncio.sleep(0.01)
                await asyncio.sleep(1.5)  # it has tried again
            client.setblocking(False)
            async with asyncio.timeout(PATIENCE):
                assert await loop.sock_recv(client, 1) == b"", "it was accepted after all"
        server.close()
        await server.wait_closed()

    asyncio.run(story())
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage().startswith("too many open files (limit ")


def test_a_listener_that_is_closed_before_asyncio_tries_again_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """asyncio tries again with the closed socket, once for every time that it could not accept."""

    async def story() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(Complaints())
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        with socket.socket() as client, no_descriptors():
            client.connect(server.sockets[0].getsockname())
            async with asyncio.timeout(PATIENCE):
                while not caplog.records:
                    await asyncio.sleep(0.01)
        server.close()
        await asyncio.sleep(1.5)  # this timer is after asyncio's, however late both are

    asyncio.run(story())
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_a_connection_that_our_own_code_breaks_is_told_in_supervisords_words(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            raise ZeroDivisionError("broken")

    async def story() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(Complaints())
        server = await loop.create_server(Broken, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"x")
        async with asyncio.timeout(PATIENCE):
            assert await reader.read() == b""
        writer.close()
        server.close()
        await server.wait_closed()

    asyncio.run(story())
    (record,) = caplog.records
    assert (record.levelno, bool(record.exc_info)) == (logging.CRITICAL, True)
    said = r"uncaptured python exception, closing channel <.*> \(<class 'ZeroDivisionError'>:broken\)"
    assert re.fullmatch(said, record.getMessage())


def test_anything_else_is_an_error_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(Complaints())
        loop.call_soon(lambda: 1 // 0)
        await asyncio.sleep(0.01)

    asyncio.run(story())
    (record,) = caplog.records
    assert record.levelno == logging.CRITICAL
    assert record.getMessage().startswith("internal error: ")
    assert record.exc_info
