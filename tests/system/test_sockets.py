"""Listening sockets: how they come into being, and why they may not."""

import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from supervise.config.model import ServerConfig
from supervise.system import accounts
from supervise.system.sockets import IN_USE, Listener, SocketError, listen, listen_all
from tests.tools import free_ports, need_root, wait_for


def unix(path: Path | str, **options: Any) -> ServerConfig:
    return ServerConfig(kind="unix", section="unix_http_server", file=str(path), **options)


def inet(host: str, port: int) -> ServerConfig:
    return ServerConfig(kind="inet", section="inet_http_server", host=host, port=port)


@pytest.fixture
def opened() -> Iterator[list[Listener]]:
    listeners: list[Listener] = []
    yield listeners
    for listener in listeners:
        listener.close()


def answers(listener: Listener) -> bool:
    """A client reaches exactly this socket."""
    family = listener.sock.family
    with socket.socket(family) as client:
        client.settimeout(10)
        client.connect(listener.config.file if family == socket.AF_UNIX else listener.sock.getsockname())
        listener.sock.setblocking(True)
        listener.sock.settimeout(10)
        peer, _ = listener.sock.accept()
        peer.close()
        listener.sock.setblocking(False)
    return True


def refused(config: ServerConfig) -> str:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(SocketError) as caught:
        listen(config)
    wait_for(lambda: set(os.listdir("/proc/self/fd")) <= set(before), "a resolver may be slow to give up")
    return str(caught.value)


# Unix


def test_mode_and_name(tmp_path: Path, opened: list[Listener]) -> None:
    path = tmp_path / "s.sock"
    old = os.umask(0)
    try:
        opened += listen(unix(path, chmod=0o640))
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.lstat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["s.sock"], "the private name is gone"
    assert opened[0].url == f"unix://{path}"
    assert opened[0].intact
    assert not opened[0].sock.getblocking()
    assert not opened[0].sock.get_inheritable()
    assert answers(opened[0])


def test_owner(tmp_path: Path, opened: list[Listener]) -> None:
    need_root()
    opened += listen(unix(tmp_path / "s.sock", chown=(65534, -1)))
    found = (tmp_path / "s.sock").lstat()
    assert (found.st_uid, found.st_gid) == (65534, os.getegid())


def test_an_owner_that_may_not_be_given(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_root()
    monkeypatch.setattr(accounts, "PATIENCE", 60.0)
    place.chmod(0o777)
    os.seteuid(65534)
    try:
        text = refused(unix(place / "s.sock", chown=(0, 0)))
    finally:
        os.seteuid(0)
    assert text.startswith(f'Not permitted to chown {place}/s.sock to uid/gid (0, 0); adjust "sockchown" value')
    assert "current user (nobody)" in text
    assert os.listdir(place) == []


def test_a_live_one_is_left_alone(tmp_path: Path, opened: list[Listener]) -> None:
    path = tmp_path / "s.sock"
    opened += listen(unix(path))
    before = path.lstat().st_ino
    assert refused(unix(path)) == f"{IN_USE}  ({path})"
    assert path.lstat().st_ino == before
    assert os.listdir(tmp_path) == ["s.sock"]


def test_a_live_one_whose_queue_is_full(tmp_path: Path) -> None:
    path = str(tmp_path / "s.sock")
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(path)
        hung.listen(0)
        clients = [socket.socket(socket.AF_UNIX) for _ in range(4)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex(path)
        assert IN_USE in refused(unix(path))
        for client in clients:
            client.close()


def test_a_stale_one_is_replaced(tmp_path: Path, opened: list[Listener], caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "s.sock"
    [old] = listen(unix(path))
    old.sock.close()
    assert path.exists()
    opened += listen(unix(path))
    assert f"Unlinking stale socket {path}" in caplog.messages
    assert answers(opened[0])
    old.close()  # not its file any more
    assert opened[0].intact


def test_only_our_own_file_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    [own] = listen(unix(path))
    path.unlink()
    path.write_text("precious")
    assert not own.intact
    own.close()
    own.close()
    assert path.read_text() == "precious"


@pytest.mark.parametrize("length", [90, 100, 107])
@pytest.mark.parametrize("names", ["", "long/" * 10], ids=["name", "directory"])
def test_the_longest_paths(place: Path, opened: list[Listener], length: int, names: str) -> None:
    """Where the directories are long, and where the last name is."""
    place /= names
    place.mkdir(parents=True, exist_ok=True)
    path = f"{place}/".ljust(length, "x")
    opened += listen(unix(path))
    assert answers(opened[0])
    assert os.listdir(place) == [os.path.basename(path)]


def test_paths_that_cannot_be(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("precious")
    long = f"{tmp_path}/{'x' * 108}"
    assert refused(unix(long)) == (
        "Cannot open an HTTP server: the socket's path is longer than 107 bytes, and no client could connect to it: "
        + long
    )
    text = "Cannot open an HTTP server: socket.error reported errno.ENOENT (2)"
    assert refused(unix(tmp_path / "no" / "s")) == f"{text}: {tmp_path}/no/s: no such file or directory"
    assert "errno.ENOTDIR (20)" in refused(unix(file / "s"))
    assert refused(unix(file)) == f"Cannot open an HTTP server: {file} exists and is not a socket"
    assert "exists and is not a socket" in refused(unix(tmp_path))
    assert "errno." in refused(unix("/proc/s.sock"))
    assert file.read_text() == "precious"


def test_a_link_is_replaced_and_its_target_is_not(tmp_path: Path, opened: list[Listener]) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("precious")
    link.symlink_to(target)
    opened += listen(unix(link))
    assert target.read_text() == "precious"
    assert not link.is_symlink()
    assert answers(opened[0])


def test_a_datagram_socket_is_somebody_elses(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(tmp_path / "s"))
        assert IN_USE in refused(unix(tmp_path / "s"))


def test_the_directory_need_not_be_ours_to_link_in(tmp_path: Path, opened: list[Listener]) -> None:
    """Two daemons that start at the same moment: one of the sockets stays, whole."""
    path, problems = tmp_path / "s.sock", []

    def start() -> None:
        try:
            opened.extend(listen(unix(path)))
        except SocketError as error:
            problems.append(error)

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(listener.intact for listener in opened) == 1 or problems


# Inet


def test_addresses(opened: list[Listener]) -> None:
    [port] = free_ports(1)
    opened += listen(inet("127.0.0.1", port))
    assert opened[0].url == f"http://127.0.0.1:{port}"
    assert answers(opened[0])
    assert refused(inet("127.0.0.1", port)) == f"{IN_USE}  (127.0.0.1:{port})"


def test_a_port_can_be_taken_again_at_once(opened: list[Listener]) -> None:
    [port] = free_ports(1)
    [first] = listen(inet("127.0.0.1", port))
    with socket.create_connection(("127.0.0.1", port)):
        first.sock.setblocking(True)
        peer, _ = first.sock.accept()
        peer.close()  # the server ends first: TIME_WAIT
    first.close()
    opened += listen(inet("127.0.0.1", port))


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize("host", ["", "localhost", "::1", "::"])
def test_all_addresses_of_a_host(host: str, opened: list[Listener]) -> None:
    if ":" in host and not has_ipv6():
        assert "Cannot open an HTTP server" in refused(inet(host, free_ports(1)[0]))
        return
    [port] = free_ports(1)
    opened += listen(inet(host, port))
    families = {listener.sock.family for listener in opened}
    assert socket.AF_INET in families or ":" in host
    assert socket.AF_INET6 in families or host == "localhost" or not has_ipv6()
    assert all(answers(listener) for listener in opened)
    assert all(listener.url.startswith("http://") and listener.url.endswith(f":{port}") for listener in opened)


def test_hosts_that_cannot_be() -> None:
    assert "cannot resolve no.such.host.invalid:9001" in refused(inet("no.such.host.invalid", 9001))
    assert "errno.EADDRNOTAVAIL (99): 192.0.2.1:9001" in refused(inet("192.0.2.1", 9001))


def test_all_or_none(tmp_path: Path) -> None:
    with pytest.raises(SocketError):
        listen_all([unix(tmp_path / "a"), unix(tmp_path / "no" / "b")])
    assert os.listdir(tmp_path) == []
    both = listen_all([unix(tmp_path / "a"), unix(tmp_path / "b")])
    assert [listener.config.file for listener in both] == [f"{tmp_path}/a", f"{tmp_path}/b"]
    for listener in both:
        listener.close()
    assert os.listdir(tmp_path) == []
