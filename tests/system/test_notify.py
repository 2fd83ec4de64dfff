"""Messages to the service manager."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervise.system.notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        if request.param == "path":
            address = str(tmp_path / "n")
            sock.bind(address)
        else:
            address = f"@supervise-test-{os.getpid()}-{time.monotonic_ns()}"
            sock.bind("\0" + address[1:])
        sock.settimeout(10)
        yield sock, address


def test_the_messages(manager: tuple[socket.socket, str]) -> None:
    sock, address = manager
    notifier = Notifier({"NOTIFY_SOCKET": address})
    assert notifier
    notifier.ready("2 running")
    assert sock.recv(1000).decode().split("\n") == ["READY=1", f"MAINPID={os.getpid()}", "STATUS=2 running"]
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.reloading()
    first, second = sock.recv(1000).decode().split("\n")
    assert first == "RELOADING=1"
    assert 0 <= int(second.removeprefix("MONOTONIC_USEC=")) - before < 10_000_000
    notifier.status("2 running")  # as before: not sent
    notifier.status("1 running")
    assert sock.recv(1000) == b"STATUS=1 running"
    notifier.ping()
    assert sock.recv(1000) == b"WATCHDOG=1"
    notifier.stopping()
    assert sock.recv(1000) == b"STOPPING=1"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}])
def test_nobody_to_tell(environ: dict[str, str]) -> None:
    notifier = Notifier(environ)
    assert not notifier
    assert not notifier.send("READY=1")


def test_a_manager_that_is_gone_or_does_not_read(tmp_path: Path) -> None:
    assert not Notifier({"NOTIFY_SOCKET": str(tmp_path / "none")}).send("READY=1")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "n"))
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "n")})
        began = time.monotonic()
        assert not all(notifier.send("X=" + "x" * 1000) for _ in range(10_000))
        assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("environ", "interval"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog(environ: dict[str, str], interval: float | None) -> None:
    assert Notifier({"NOTIFY_SOCKET": "/run/x"} | environ).watchdog == interval
    assert Notifier(environ).watchdog is None
