"""Sockets as they come into being: protected before they can be reached, and never in somebody else's place."""

import errno
import os
import resource
import socket
import stat
from pathlib import Path

import pytest

from supervise.system import bind
from supervise.system.bind import OwnerError, bind_inet, bind_unix, is_at, protect, remove
from tests.tools import free_ports, need_root


def reachable(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def refusal(path: Path) -> int:
    with pytest.raises(OSError, match=r"^\[Errno") as caught:
        bind_unix(str(path), mode=0o700, owner=None, backlog=1)
    return caught.value.errno or 0


def test_mode_file_and_removal(tmp_path: Path) -> None:
    path = tmp_path / "s"
    sock, inode = bind_unix(str(path), mode=0o621, owner=None, backlog=5)
    with sock:
        assert stat.S_IMODE(path.stat().st_mode) == 0o621
        assert os.listdir(tmp_path) == ["s"]
        assert sock.getsockname() == str(path), "programs that are given it say where they listen"
        assert reachable(path)
        assert is_at(str(path), inode)
    remove(str(path), inode)
    assert not path.exists()


def test_a_stale_file_is_replaced_and_another_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s"
    first, old = bind_unix(str(path), mode=0o700, owner=None, backlog=5)
    assert refusal(path) == errno.EADDRINUSE
    first.close()  # the file stays, as after a SIGKILL
    second, inode = bind_unix(str(path), mode=0o700, owner=None, backlog=5)
    with second:
        remove(str(path), old)
        assert reachable(path), "whoever made the old file does not remove the new one"
        remove(str(path), inode)
    path.write_text("precious")
    assert refusal(path) == errno.ENOTSOCK
    assert path.read_text() == "precious"
    assert refusal(tmp_path / ("x" * 100)) == errno.ENAMETOOLONG
    assert refusal(tmp_path / "missing" / "s") == errno.ENOENT


def test_nobody_can_connect_before_it_is_protected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is killed at that moment leaves a file that is replaced, also by one whom permissions keep out."""
    path = tmp_path / "s"

    def killed(place: str, *_: object) -> None:
        assert stat.S_IMODE(os.lstat(place).st_mode) == 0
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(bind, "protect", killed)
        patched.setattr(os, "unlink", lambda _: None)
        with pytest.raises(KeyboardInterrupt):
            bind_unix(str(path), mode=0o700, owner=None, backlog=5)
    need_root()
    os.chown(path, 12345, -1)
    os.chown(tmp_path, 12345, -1)
    back = Path.cwd()
    os.chdir(tmp_path)  # those above it are root's alone
    os.seteuid(12345)
    try:
        sock, _ = bind_unix("s", mode=0o700, owner=None, backlog=5)
        with sock:
            assert reachable(Path("s"))
    finally:
        os.seteuid(0)
        os.chdir(back)


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    target, path = tmp_path / "target", tmp_path / "s"
    target.write_text("precious")
    path.symlink_to(target)
    sock, _ = bind_unix(str(path), mode=0o700, owner=None, backlog=5)
    with sock:
        assert stat.S_ISSOCK(path.lstat().st_mode)
    assert target.read_text() == "precious"


def test_an_owner_we_may_not_give(tmp_path: Path) -> None:
    need_root()
    path, back = tmp_path / "s", Path.cwd()
    sock, _ = bind_unix(str(path), mode=0o700, owner=(12345, -1), backlog=5)
    tmp_path.chmod(0o755)
    os.chdir(tmp_path)  # those above it are root's alone
    os.seteuid(12345)
    try:
        with sock, pytest.raises(OwnerError):
            protect("s", None, (0, -1))
    finally:
        os.seteuid(0)
        os.chdir(back)
    assert path.stat().st_uid == 12345


def test_no_other_file_is_given_away(tmp_path: Path) -> None:
    """Whoever has the directory may put a link in the socket's place between two calls of ours."""
    need_root()
    precious, path = tmp_path / "precious", tmp_path / "s"
    precious.write_text("")
    precious.chmod(0o600)
    path.symlink_to(precious)
    for place in (path, precious):
        with pytest.raises(OSError, match="it is no socket any more"):
            protect(str(place), 0o777, (12345, 12345))
    found = precious.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (0, 0, 0o600)


def test_without_descriptors_nothing_is_left(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    probe = os.dup(0)
    os.close(probe)
    before = os.listdir("/proc/self/fd")
    resource.setrlimit(resource.RLIMIT_NOFILE, (probe + 1, hard))  # one more, for the socket
    try:
        assert refusal(tmp_path / "s") == errno.EMFILE
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert set(os.listdir("/proc/self/fd")) <= set(before)
    assert os.listdir(tmp_path) == []


def test_addresses() -> None:
    with bind_inet(socket.AF_INET, ("127.0.0.1", 0), backlog=5) as first:
        with pytest.raises(OSError, match="in use"):
            bind_inet(socket.AF_INET, first.getsockname(), backlog=5)
        assert not first.getblocking()
    with (
        bind_inet(socket.AF_INET, ("127.0.0.1", 0), backlog=5, reuse_port=True) as one,
        bind_inet(socket.AF_INET, one.getsockname(), backlog=5, reuse_port=True) as other,
    ):
        assert one.getsockname() == other.getsockname()


def test_both_families_at_one_port() -> None:
    (port,) = free_ports(1)
    with (
        bind_inet(socket.AF_INET6, ("::", port, 0, 0), backlog=5, only_v6=True) as six,
        bind_inet(socket.AF_INET, ("0.0.0.0", port), backlog=5) as four,
    ):
        assert six.getsockname()[1] == four.getsockname()[1] == port
