"""Lines as they stand on the wire."""

import re
import socket
import time
from pathlib import Path

import pytest

from supervise.system.syslog import by_length, by_newline, connect, rfc3164, rfc5424

AT = time.mktime((2026, 2, 3, 4, 5, 6, 0, 0, -1)) + 0.25


def test_rfc3164() -> None:
    assert rfc3164(14, "supervisord", 0)(AT, b"web hello") == b"<14>Feb  3 04:05:06 supervisord: web hello"
    assert rfc3164(27, "web", 42, "node7")(AT, b"x") == b"<27>Feb  3 04:05:06 node7 web[42]: x"
    assert rfc3164(14, "a b\n", 0)(AT, b"").endswith(b" a_b_: ")


def test_rfc5424() -> None:
    line = rfc5424(29, "web", 42, "node7")(AT, "größe".encode())
    assert re.fullmatch(r"<29>1 2026-02-03T04:05:06\.250000[+-]\d\d:\d\d node7 web 42 - - größe", line.decode()), line
    assert rfc5424(29, "", 0, "")(AT, b"x").endswith(b" - - - - - x")


def test_framing() -> None:
    assert by_newline(b"x") == b"x\n"
    assert by_length("ö".encode()) == b"2 \xc3\xb6"


def test_a_unix_server_of_either_kind(tmp_path: Path) -> None:
    for kind, expected in ((socket.SOCK_DGRAM, b"x"), (socket.SOCK_STREAM, b"x\n")):
        path = tmp_path / str(kind)
        with socket.socket(socket.AF_UNIX, kind) as server:
            server.bind(str(path))
            if kind == socket.SOCK_STREAM:
                server.listen()
            connection = connect(f"unix:{path}", by_newline)
            with connection.sock:
                connection.sock.send(connection.frame(b"x"))
                if kind == socket.SOCK_STREAM:
                    peer, _ = server.accept()
                    with peer:
                        assert peer.recv(99) == expected
                    assert connection.gone()
                else:
                    assert server.recv(99) == expected
                    assert not connection.gone()


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        connect(f"unix:{tmp_path / 'x'}", by_newline)
    with pytest.raises(OSError, match=r"not known|failure|No address|try again"):
        connect("udp://no.such.host.invalid:514", by_newline)


def test_ipv6() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as server:
        server.bind(("::1", 0))
        connection = connect(f"udp://[::1]:{server.getsockname()[1]}", by_newline)
        with connection.sock:
            connection.sock.send(b"x")
            assert server.recv(99) == b"x"
            assert not connection.reliable
