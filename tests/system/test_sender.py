"""Servers that are slow, dead, late or gone; whoever sends notices nothing."""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from supervise.system import sender as module
from supervise.system.sender import QUEUE, Connection, Entry, Sender
from supervise.system.syslog import by_newline, connect
from tests.tools import free_ports, wait_for


class Collector:
    """A server of any kind that keeps what it gets."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock, self.got, self.peers = sock, b"", list[socket.socket]()
        sock.settimeout(0.05)
        self._stop = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        stream = self.sock.type == socket.SOCK_STREAM
        if stream:
            self.sock.listen()
        while not self._stop:
            try:
                if stream:
                    peer, _ = self.sock.accept()
                    peer.settimeout(0.05)
                    self.peers.append(peer)
                else:
                    self.got += self.sock.recv(65536) + b"\n"
            except TimeoutError:
                pass
            for peer in self.peers:
                try:
                    self.got += peer.recv(65536)
                except (TimeoutError, ConnectionError):
                    continue

    def close(self) -> None:
        self._stop = True
        self._thread.join()
        for each in (*self.peers, self.sock):
            each.close()


@pytest.fixture
def closing() -> Iterator[list[Callable[[], None]]]:
    """What is called at the end, the last first."""
    calls: list[Callable[[], None]] = []
    yield calls
    for call in reversed(calls):
        call()


def lines(entry: Entry) -> list[bytes]:
    return entry.data.splitlines()


def entry(text: str) -> Entry:
    return Entry(lines, text.encode(), 0.0, 1)


def to(target: str) -> Callable[[], Connection]:
    return lambda: connect(target, by_newline)


def told(caplog: pytest.LogCaptureFixture, target: str) -> list[str]:
    """What the log says about that server."""
    return [record.getMessage() for record in caplog.records if target in record.getMessage()]


def hears_the_end(sender: Sender) -> bool:
    """Whether the end of its connection has come through the network, if such a thing comes at all."""
    connection = sender._connection
    assert connection is not None
    if connection.sock.type == socket.SOCK_DGRAM:
        return True
    return connection.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""


def started(target: str, closing: list[Callable[[], None]]) -> Sender:
    sender = Sender(target, to(target))
    closing += [sender.join, sender.close]
    return sender


def serve(kind: str, where: Path, port: int, closing: list[Callable[[], None]]) -> tuple[Collector, str]:
    if kind in ("dgram", "stream"):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM if kind == "dgram" else socket.SOCK_STREAM)
        where.unlink(missing_ok=True)
        sock.bind(str(where))
        target = f"unix:{where}"
    else:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)  # for what comes while it has no processor
        sock.bind(("127.0.0.1", port))
        target = f"{kind}://127.0.0.1:{port}"
    server = Collector(sock)
    closing.append(server.close)
    return server, target


@pytest.mark.parametrize("kind", ["dgram", "stream", "udp", "tcp"])
def test_lines_arrive_in_order(kind: str, tmp_path: Path, closing: list[Callable[[], None]]) -> None:
    server, target = serve(kind, tmp_path / "log", free_ports(1)[0], closing)
    sender = started(target, closing)
    for number in range(100):
        assert sender.put(entry(f"{number} a\n{number} b\n")) == 0
        if kind == "udp" and number % 10 == 9:
            time.sleep(0.01)  # nobody promises that a datagram has room
    expected = b"".join(b"%d a\n%d b\n" % (number, number) for number in range(100))
    wait_for(lambda: server.got == expected, f"{len(server.got)} of {len(expected)} bytes")
    assert (sender.dropped, sender.problem) == (0, "")


@pytest.mark.parametrize("kind", ["dgram", "stream", "tcp"])
def test_a_server_that_goes_and_comes_back_gets_the_rest(
    kind: str, tmp_path: Path, closing: list[Callable[[], None]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "supervise")
    (port,) = free_ports(1)
    server, target = serve(kind, tmp_path / "log", port, closing)
    sender = started(target, closing)
    sender.put(entry("one\n"))
    wait_for(lambda: server.got == b"one\n")
    closing.remove(server.close)
    server.close()
    wait_for(lambda: hears_the_end(sender))
    sender.put(entry("two\n"))
    wait_for(lambda: sender.problem, "noticed")
    sender.put(entry("three\n"))
    server, _ = serve(kind, tmp_path / "log", port, closing)
    wait_for(lambda: server.got == b"two\nthree\n", repr(server.got))
    wait_for(lambda: not sender.problem)
    wait_for(lambda: len(told(caplog, target)) > 1)
    assert sender.dropped == 0
    said = told(caplog, target)
    assert len(said) == 2
    assert said[0].startswith(f"cannot send to {target}: ")
    assert said[1] == f"sending to {target} again; 0 lines were lost"


def test_a_dead_server_costs_a_bounded_queue_and_is_told_once(
    tmp_path: Path, closing: list[Callable[[], None]], caplog: pytest.LogCaptureFixture
) -> None:
    target = f"unix:{tmp_path / 'nobody'}"
    sender = started(target, closing)
    text = "x" * 1000 + "\n"
    dropped = sum(sender.put(entry(text)) for _ in range(2 * QUEUE // 1000))
    assert dropped > QUEUE // 2
    wait_for(lambda: sender.problem)
    assert sender.dropped == dropped
    time.sleep(0.3)  # a few more attempts
    assert len(told(caplog, target)) == 1
    server, _ = serve("dgram", tmp_path / "nobody", 0, closing)
    wait_for(lambda: len(server.got) > QUEUE // 2, "what was queued")


def test_a_server_that_takes_nothing_holds_up_nobody(
    tmp_path: Path, closing: list[Callable[[], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STUCK", 0.05)
    silent = socket.create_server(("127.0.0.1", 0))
    closing.append(silent.close)
    sender = started(f"tcp://127.0.0.1:{silent.getsockname()[1]}", closing)
    for _ in range(16 * QUEUE // 65536):
        sender.put(entry("x" * 65535 + "\n"))
        time.sleep(0.002)
    assert sender.dropped > 0
    wait_for(lambda: "takes nothing" in sender.problem)
    sender.close()
    sender.join()
    wait_for(lambda: not sender.busy)


def test_udp_to_nobody_is_noticed_and_goes_on(
    closing: list[Callable[[], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SETTLED", 3600.0)  # else the count of what was lost begins anew
    (port,) = free_ports(1)
    sender = started(f"udp://127.0.0.1:{port}", closing)

    def noticed() -> bool:
        sender.put(entry("x\n"))
        return "refused" in sender.problem

    wait_for(noticed)
    server, _ = serve("udp", Path("/"), port, closing)
    sender.put(entry("now\n"))
    wait_for(lambda: b"now\n" in server.got)
    assert sender.lost_lines > 0


def test_an_end_that_comes_while_nothing_is_queued(tmp_path: Path) -> None:
    sender = Sender("x", to(f"unix:{tmp_path / 'x'}"))
    sender.close()
    sender.close()
    assert sender.put(entry("late\n")) == 5
    assert not sender.busy
