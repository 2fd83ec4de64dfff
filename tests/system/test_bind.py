"""Sockets as they come into being: protected before they can be reached, and never in somebody else's place."""

import errno
import os
import socket
import stat
from pathlib import Path

import pytest

from supervise.system.bind import OwnerError, bind_inet, bind_unix, give, is_at, remove
from tests.tools import need_root


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
        assert os.listdir(tmp_path) == ["s"]  # nothing of the private name is left
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
    path = tmp_path / "s"
    sock, _ = bind_unix(str(path), mode=0o700, owner=(12345, -1), backlog=5)
    with sock:
        assert path.stat().st_uid == 12345
    os.seteuid(12345)
    try:
        with pytest.raises(OwnerError):
            give(str(path), (0, -1))
    finally:
        os.seteuid(0)


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
    with bind_inet(socket.AF_INET6, ("::", 0, 0, 0), backlog=5, only_v6=True) as six:
        port = six.getsockname()[1]
        with bind_inet(socket.AF_INET, ("0.0.0.0", port), backlog=5) as four:
            assert four.getsockname()[1] == port
