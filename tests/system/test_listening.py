"""Sockets that programs are given."""

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervise.config.model import SocketConfig
from supervise.system.listening import ListenError, Listening, listen
from tests.tools import free_ports, need_root, wait_for


@pytest.fixture
def opened() -> Iterator[list[Listening]]:
    all_of_them: list[Listening] = []
    yield all_of_them
    for one in all_of_them:
        one.close()


def backlog_of(sock: socket.socket) -> int:
    """As ss(8) shows it: tcpi_sacked of a listening socket is its backlog, tcp_diag.c and tcp.c."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    return int.from_bytes(info[28:32], "little")


def test_a_path(tmp_path: Path, opened: list[Listening]) -> None:
    path = tmp_path / "x.sock"
    one = listen(SocketConfig(path=str(path), mode=0o620))
    opened.append(one)
    assert stat.S_IMODE(path.stat().st_mode) == 0o620
    assert one.sock.getblocking(), "a FastCGI program just calls accept"
    assert one.intact
    one.close()
    one.close()
    assert not path.exists()


def test_a_file_that_is_not_ours_any_more_stays(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    one = listen(SocketConfig(path=str(path)))
    path.unlink()
    path.write_text("somebody else's")
    assert not one.intact
    one.close()
    assert path.read_text() == "somebody else's"


@pytest.mark.parametrize(
    ("host", "family", "bound"),
    [
        ("127.0.0.1", socket.AF_INET, "127.0.0.1"),
        ("localhost", socket.AF_INET, "127.0.0.1"),
        ("", socket.AF_INET, "0.0.0.0"),
        ("::1", socket.AF_INET6, "::1"),
        ("::", socket.AF_INET6, "::"),
    ],
)
def test_addresses(opened: list[Listening], host: str, family: int, bound: str) -> None:
    (port,) = free_ports(1)
    one = listen(SocketConfig(host=host, port=port, backlog=7))
    opened.append(one)
    assert one.sock.family == family
    assert one.sock.getsockname()[:2] == (bound, port)
    assert backlog_of(one.sock) == 7
    for target in ["127.0.0.1"] if family == socket.AF_INET else ["::1"]:
        socket.create_connection((target, port), 10).close()


def test_other_options_at_the_same_address(tmp_path: Path, opened: list[Listening]) -> None:
    (port,) = free_ports(1)
    one = listen(SocketConfig(host="127.0.0.1", port=port, backlog=7))
    opened.append(one)
    with pytest.raises(ListenError):
        listen(SocketConfig(host="127.0.0.1", port=port, reuse_port=True))
    one.adapt(SocketConfig(host="127.0.0.1", port=port, backlog=9, reuse_port=True))
    assert backlog_of(one.sock) == 9
    opened.append(listen(SocketConfig(host="127.0.0.1", port=port, reuse_port=True)))
    path = tmp_path / "x.sock"
    other = listen(SocketConfig(path=str(path)))
    opened.append(other)
    other.adapt(SocketConfig(path=str(path), mode=0o666))
    assert stat.S_IMODE(path.stat().st_mode) == 0o666


def test_an_owner(tmp_path: Path, opened: list[Listening]) -> None:
    need_root()
    path = tmp_path / "x.sock"
    opened.append(one := listen(SocketConfig(path=str(path), owner=(12, 13))))
    assert (path.stat().st_uid, path.stat().st_gid) == (12, 13)
    one.adapt(SocketConfig(path=str(path), owner=(14, -1)))
    assert (path.stat().st_uid, path.stat().st_gid) == (14, 13)


def test_flags_that_a_program_has_set_are_undone(opened: list[Listening], tmp_path: Path) -> None:
    opened.append(one := listen(SocketConfig(path=str(tmp_path / "x.sock"))))
    program = socket.socket(fileno=os.dup(one.sock.fileno()))
    with program:
        program.setblocking(False)
        assert not os.get_blocking(one.sock.fileno())
        one.unblock()
        assert os.get_blocking(program.fileno())


def refused(config: SocketConfig) -> str:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(ListenError) as caught:
        listen(config)
    wait_for(lambda: set(os.listdir("/proc/self/fd")) <= set(before), "a resolver may be slow to give up")
    return str(caught.value)


def test_why_it_cannot_be_opened(tmp_path: Path, opened: list[Listening]) -> None:
    (port,) = free_ports(1)
    opened.append(listen(SocketConfig(host="127.0.0.1", port=port)))
    assert refused(SocketConfig(host="127.0.0.1", port=port)) == (
        f"couldn't create socket tcp://127.0.0.1:{port}: Address already in use"
    )
    path = tmp_path / "x.sock"
    opened.append(listen(SocketConfig(path=str(path))))
    assert refused(SocketConfig(path=str(path))) == f"couldn't create socket unix://{path}: Address already in use"
    missing = tmp_path / "no" / "x"
    assert refused(SocketConfig(path=str(missing))) == (
        f"couldn't create socket unix://{missing}: No such file or directory"
    )
    assert "no address of no.such.host.invalid" in refused(SocketConfig(host="no.such.host.invalid", port=port))
    assert "Cannot assign requested address" in refused(SocketConfig(host="192.0.2.1", port=port))
