"""Log streams: supervisord's two, and what they do with gaps, truncations and halves of characters."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from supervise.api.logtail import readable
from supervise.daemon.followers import Gap, Truncated
from tests.api.asking import PROGRAMS, connected, exchange, statuses
from tests.daemons import Daemon, Supervisors
from tests.tools import wait_for

pytestmark = pytest.mark.xdist_group("api-logtail")


@pytest.fixture(scope="module")
def daemon(shared_supervisors: Supervisors) -> Daemon:
    daemon = shared_supervisors.start("supervise", PROGRAMS)
    wait_for(lambda: daemon.rpc.supervisor.readProcessStderrLog("web", 0, 0))
    wait_for(lambda: daemon.rpc.supervisor.readProcessStdoutLog("web", 0, 0))
    return daemon


class Stream:
    """A client of an endless answer."""

    def __init__(self, sock: socket.socket, path: str) -> None:
        self.file = sock.makefile("rb")
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        self.status = int(self.file.readline().split()[1])
        self.headers: dict[str, str] = {}
        while line := self.file.readline().strip().decode():
            name, _, value = line.partition(": ")
            self.headers[name] = value
        self.text = b""

    def until(self, wanted: bytes) -> bytes:
        """Everything so far, as soon as it ends with what is wanted."""
        while not self.text.endswith(wanted):
            self.text += self.piece()
        return self.text

    def piece(self) -> bytes:
        """The next chunk."""
        size = int(self.file.readline(), 16)
        assert size, "the stream has ended"
        data = self.file.read(size)
        self.file.readline()
        return data


@contextmanager
def streaming(daemon: Daemon, path: str) -> Iterator[Stream]:
    """A stream that is closed at the end of the block."""
    with connected(daemon) as sock:
        stream = Stream(sock, path)
        with stream.file:
            yield stream


@pytest.mark.parametrize(
    "path, text",
    [
        ("/logtail/web", b"hello\n"),
        ("/logtail/web/stdout", b"hello\n"),
        ("/logtail/web/stderr", b"oops\n"),
        ("/logtail/web%3Aweb/stderr", b"oops\n"),
        ("/logtail/web:web", b"hello\n"),
    ],
)
def test_a_stream_begins_with_the_end(daemon: Daemon, path: str, text: bytes) -> None:
    with streaming(daemon, path) as stream:
        assert stream.status == 200
        assert stream.headers["Content-Type"] == "text/plain;charset=utf-8"
        assert stream.headers["Transfer-Encoding"] == "chunked"
        assert stream.headers["X-Accel-Buffering"] == "no"
        assert stream.headers["X-Content-Type-Options"] == "nosniff"
        assert stream.until(text) == text


def test_a_stream_goes_on_through_clearing_and_rotation(daemon: Daemon) -> None:
    rpc = daemon.rpc.supervisor
    rpc.sendProcessStdin("cat", "x" * 2000 + "\n")
    wait_for(lambda: len(rpc.readProcessStdoutLog("cat", 0, 0)) >= 2001)
    with streaming(daemon, "/logtail/cat") as stream:
        assert stream.until(b"x\n") == b"x" * 1023 + b"\n"
        rpc.sendProcessStdin("cat", "grüße\n")
        stream.until("grüße\n".encode())
        daemon.request("POST", "/api/v1/processes/cat/rotate")
        rpc.sendProcessStdin("cat", "rotated, and longer than what comes\n")  # a file as long as before looks the same
        stream.until(b"comes\n")
        rpc.clearProcessLogs("cat")
        rpc.sendProcessStdin("cat", "cleared\n")
        assert b"==> File truncated <==\n" in stream.until(b"cleared\n")


def test_the_main_log(daemon: Daemon) -> None:
    with streaming(daemon, "/mainlogtail") as stream:
        assert stream.status == 200
        daemon.rpc.supervisor.signalProcess("web", "CONT")
        stream.until(b": OK\n")


@pytest.mark.parametrize(
    "path",
    [
        "/logtail/nope",
        "/logtail/nope:web",
        "/logtail/many:*",
        "/logtail/many:",
        "/logtail/w*",
        "/logtail/all",
        "/logtail/web/stdin",
        "/logtail/web/stdout/more",
        "/logtail/",
        "/logtail",
        "/logtailweb",
        "/logtail/%ff",
        "/mainlogtails",
    ],
)
def test_logs_that_are_not_there(daemon: Daemon, path: str) -> None:
    status, headers, _ = daemon.request("GET", path)
    assert status == 404
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_only_get(daemon: Daemon) -> None:
    assert daemon.request("POST", "/logtail/web")[0] == 400
    assert daemon.request("HEAD", "/mainlogtail")[0] == 400


def test_a_program_without_a_log(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", "[program:mute]\ncommand=sleep 100\nstdout_logfile=NONE\n")
    assert daemon.request("GET", "/logtail/mute")[0] == 404


def test_the_json_api_follows_too(daemon: Daemon) -> None:
    with streaming(daemon, "/api/v1/processes/web/logs/stdout?follow=1&start=3") as stream:
        assert stream.until(b"lo\n") == b"lo\n"
    with streaming(daemon, "/api/v1/processes/odd/logs/stdout?follow=1&raw=1") as stream:
        assert stream.headers["Content-Type"] == "application/octet-stream"
        assert stream.until(b"n\n") == b"a\x01b\xffc<&>\r\nsch\xc3\xb6n\n"
    assert statuses(exchange(daemon, b"GET /logtail/web HTTP/1.0\r\n\r\n")) in ([200], [])


async def gather(items: list[Any], raw: bool) -> list[bytes]:
    async def source() -> AsyncIterator[Any]:
        for item in items:
            yield item

    return [piece async for piece in readable(source(), raw=raw)]


@pytest.mark.parametrize(
    "items, pieces",
    [
        ([b"a\n", b"b\n"], [b"a\n", b"b\n"]),
        (["ö".encode()[:1], "ö".encode()[1:] + b"x"], ["öx".encode()]),
        (["ö".encode()[1:] + b"x"], [b"x"]),
        ([b"a", b"\xb6x"], [b"a", b"\xb6x"]),
        ([b"a\xc3", Truncated(), b"b"], [b"a", b"==> File truncated <==\n", b"b"]),
        ([b"a", Gap(10), b"b"], [b"a", b"\n==> 10 bytes skipped <==\n", b"b"]),
        ([b"a", Gap(0), b"b"], [b"a", b"\n==> some bytes skipped <==\n", b"b"]),
        ([b"\xff\xfe", b"\xff"], [b"\xff\xfe", b"\xff"]),
    ],
)
def test_what_a_reader_sees(items: list[Any], pieces: list[bytes]) -> None:
    assert asyncio.run(gather(items, raw=False)) == pieces


def test_what_a_program_sees() -> None:
    assert asyncio.run(gather([b"\xb6", b"a\xc3", b"\xb6"], raw=True)) == [b"\xb6", b"a\xc3", b"\xb6"]
