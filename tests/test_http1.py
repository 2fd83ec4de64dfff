"""HTTP as the client speaks it, against servers that do it right, wrong, slowly and not at all."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervise.errors import Fault
from supervise.http1 import ServerError, Stream, parse_url, quote, request


@contextlib.contextmanager
def answering(path: Path, answer: bytes, *, hold: bool = False) -> Iterator[list[bytes]]:
    """A unix server that reads one request, sends `answer`, and closes (or holds) the connection."""
    seen: list[bytes] = []
    done = threading.Event()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            link, _ = listener.accept()
            with link:
                seen.append(link.recv(65536))
                with contextlib.suppress(OSError):
                    link.sendall(answer)
                if hold:
                    done.wait(30)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield seen
        done.set()
        thread.join(30)


def ask(path: Path, *, timeout: float | None = 30.0, body: bytes = b"", method: str = "GET") -> Stream:
    return request(f"unix://{path}", method, "/x", [("Host", "h")], body, patience=30.0, timeout=timeout)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


def test_content_length(path: Path) -> None:
    with (
        answering(path, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A:  b \r\n\r\nhello and more") as seen,
        ask(path) as it,
    ):
        assert it.body() == b"hello"
        assert it.headers["x-a"] == "b"
    assert seen == [b"GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"]


def test_a_body_is_sent(path: Path) -> None:
    with (
        answering(path, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}") as seen,
        ask(path, body=b"abc", method="POST") as it,
    ):
        assert it.json() == {}
    assert seen[0].endswith(b"Content-Length: 3\r\n\r\nabc")


def test_chunks(path: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with answering(path, head + b"3\r\nabc\r\n1;ext=1\r\nd\r\n0\r\n\r\n"), ask(path) as it:
        assert list(it) == [b"abc", b"d"]


def test_chunks_arrive_as_they_come(path: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with answering(path, head + b"3\r\nabc\r\n", hold=True), ask(path, timeout=None) as it:
        assert next(iter(it)) == b"abc"


def test_until_the_end_of_the_connection(path: Path) -> None:
    with answering(path, b"HTTP/1.0 200 OK\r\n\r\nall of it"), ask(path) as it:
        assert it.body() == b"all of it"


def test_problem(path: Path) -> None:
    head = b"HTTP/1.1 404 Not Found\r\nContent-Type: application/problem+json\r\nContent-Length: 34\r\n\r\n"
    with (
        answering(path, head + b'{"detail":"BAD_NAME: x","fault":10}'[:34] + b"}"),
        pytest.raises(ServerError) as caught,
    ):
        ask(path)
    assert caught.value.reason == "protocol"  # cut short: not JSON
    path.unlink()
    body = b'{"detail":"BAD_NAME: x","fault":10}'
    head = head.replace(b"34", str(len(body)).encode())
    with answering(path, head + body), pytest.raises(ServerError) as caught:
        ask(path)
    assert (caught.value.reason, caught.value.fault, caught.value.status, str(caught.value), caught.value.code) == (
        *("fault", Fault.BAD_NAME, 404, "BAD_NAME: x"),
        1,
    )


def test_credentials(path: Path) -> None:
    with (
        answering(path, b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"),
        pytest.raises(ServerError) as caught,
    ):
        ask(path)
    assert caught.value.reason == "credentials"
    assert str(caught.value) == "Server requires authentication"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: nine\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n{}\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}",
        b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\noops",
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"H%d: v\r\n" % n for n in range(200)) + b"\r\n",
        b"HTTP/1.1 200 OK\r\nH: " + b"v" * 100_000,
    ],
    ids=lambda answer: repr(answer[:60]),
)
def test_what_is_not_the_protocol(path: Path, answer: bytes) -> None:
    with answering(path, answer), pytest.raises(ServerError) as caught, ask(path) as it:
        it.json()
    cut = not answer or answer.endswith((b"\r\n{}", b"\r\n5\r\n{}"))
    assert caught.value.reason == ("cut" if cut else "protocol")
    assert "\n" not in str(caught.value)


def test_silence(path: Path) -> None:
    with (
        answering(path, b"", hold=True),
        pytest.raises(ServerError, match=r"did not answer within 0.05 seconds") as caught,
    ):
        ask(path, timeout=0.05)
    assert caught.value.reason == "timeout"


def test_silence_in_the_middle(path: Path) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"
    with answering(path, answer, hold=True), ask(path) as it:
        it.link.settimeout(0.05)  # that it begins is waited for longer
        with pytest.raises(ServerError) as caught:
            it.body()
    assert caught.value.reason == "timeout"


def test_nobody_there(path: Path) -> None:
    with pytest.raises(ServerError) as caught:
        ask(path)
    assert (str(caught.value), caught.value.code) == (f"unix://{path} no such file", 7)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    with pytest.raises(ServerError) as caught:
        ask(path)
    assert (str(caught.value), caught.value.code) == (f"unix://{path} refused connection", 4)


def test_a_path_that_is_no_socket_address(tmp_path: Path) -> None:
    with pytest.raises(ServerError) as caught:
        ask(tmp_path / ("x" * 200))
    assert caught.value.reason == "unreachable"


@pytest.mark.parametrize(
    "url, address",
    [
        ("unix:///run/a.sock", "/run/a.sock"),
        ("http://localhost:9001", ("localhost", 9001)),
        ("http://localhost:9001/", ("localhost", 9001)),
        ("http://localhost", ("localhost", 80)),
        ("http://[::1]:9001", ("::1", 9001)),
        ("http://[::1]", ("::1", 80)),
        ("HTTP://127.0.0.1:1/RPC2", ("127.0.0.1", 1)),
    ],
)
def test_urls(url: str, address: object) -> None:
    assert parse_url(url) == address


@pytest.mark.parametrize(
    "url", ["", "unix://", "ftp://x", "localhost:9001", "http://", "http://h:0", "http://h:x", "http://h:65536"]
)
def test_bad_urls(url: str) -> None:
    with pytest.raises(ValueError, match="url must be http:// or unix://"):
        parse_url(url)


def test_quote() -> None:
    assert quote("web:web-0") == "web:web-0"
    assert quote("a b/c?d&é%") == "a%20b%2Fc%3Fd%26%C3%A9%25"
