"""Links of other users on the way to a log."""

import contextlib
import errno
import os
import re
from pathlib import Path

import pytest

from supervise.daemon.sinks import Sink
from supervise.system.links import open_log
from supervise.system.logfile import LogFile
from supervise.system.logread import read_slice
from supervise.system.pipes import pending
from supervise.system.pump import Pump, Worker
from supervise.system.stream import open_stream
from tests.tools import need_root

SOMEBODY = 12345
REFUSED = re.escape(os.strerror(errno.ELOOP))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory of root's, one of somebody's, and beside them `etc` with what is to be kept from him."""
    need_root()
    tmp_path.chmod(0o755)
    for name in ("etc", "home", "other"):
        (tmp_path / name).mkdir(mode=0o755)
    (tmp_path / "etc" / "x.log").write_text("precious")
    for name in ("home", "other"):
        os.chown(tmp_path / name, SOMEBODY, -1)
    return tmp_path


def link(path: Path, target: str, uid: int = SOMEBODY) -> None:
    path.symlink_to(target)
    os.chown(path, uid, -1, follow_symlinks=False)


@pytest.mark.parametrize("absolute", [False, True])
def test_a_directory_of_roots_is_not_reached_by_a_link_of_somebody_else(place: Path, absolute: bool) -> None:
    link(place / "home" / "logs", str(place / "etc") if absolute else "../etc")
    path = place / "home" / "logs" / "x.log"
    with pytest.raises(OSError, match=REFUSED) as caught:
        LogFile(str(path)).write(b"overwritten\n")
    assert caught.value.filename == str(path)
    with pytest.raises(OSError, match=REFUSED):
        LogFile(str(place / "home" / "logs" / "new.log")).write(b"root's new file\n")
    assert os.listdir(place / "etc") == ["x.log"]
    assert (place / "etc" / "x.log").read_text() == "precious"


def test_nor_by_such_a_link_within_one_of_root(place: Path) -> None:
    """`/srv/app/logs` is root's link to a directory that somebody has replaced by a link."""
    link(place / "home" / "logs", "../etc")
    link(place / "home" / "y.log", "../etc/x.log")
    link(place / "logs", "home/logs", 0)
    link(place / "y.log", "home/y.log", 0)
    for name in ("logs/x.log", "logs/new.log", "y.log"):
        with pytest.raises(OSError, match=REFUSED):
            LogFile(str(place / name)).write(b"overwritten\n")
    assert os.listdir(place / "etc") == ["x.log"]
    assert (place / "etc" / "x.log").read_text() == "precious"


def test_nor_by_a_link_of_another_user_in_a_directory_of_a_group(place: Path) -> None:
    (place / "group").mkdir()
    (place / "group").chmod(0o775)
    link(place / "group" / "x.log", "../etc/x.log")
    with pytest.raises(OSError, match=REFUSED):
        LogFile(str(place / "group" / "x.log")).write(b"overwritten\n")
    link(place / "group" / "y.log", "../etc/x.log", 0)
    assert read_slice(str(place / "group" / "y.log"), 0, 0) == b"precious"


def test_nor_is_a_fifo_or_device(place: Path) -> None:
    """What is no file is opened in another way (`open_stream`)."""
    os.mkfifo(place / "etc" / "fifo", 0o600)
    reader = os.open(place / "etc" / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    link(place / "home" / "x.log", "../etc/fifo")
    with pytest.raises(OSError, match=REFUSED):
        open_stream(str(place / "home" / "x.log"))
    sink = Sink(str(place / "home" / "x.log"), Pump())
    assert sink.write(Worker(), b"to root's fifo\n") == 15
    assert os.strerror(errno.ELOOP) in sink.problem
    assert pending(reader) == 0
    os.close(reader)


def test_links_without_end_are_refused(place: Path) -> None:
    link(place / "one", "two", 0)
    link(place / "two", "one", 0)
    for path in ("one", "one/x.log"):
        with pytest.raises(OSError, match=REFUSED):
            open_log(str(place / path), os.O_RDONLY)


def test_the_kernels_own_links_are_followed() -> None:
    """/proc/1/fd/1, as containers have it: it names no file."""
    reader, writer = os.pipe()
    fd = open_log(f"/proc/{os.getpid()}/fd/{writer}", os.O_WRONLY)
    os.write(fd, b"line\n")
    assert os.read(reader, 10) == b"line\n"
    for each in (fd, reader, writer):
        os.close(each)


def test_nor_is_it_read(place: Path) -> None:
    link(place / "home" / "logs", "../etc")
    link(place / "home" / "x.log", "../etc/x.log")
    for path in ("home/logs/x.log", "home/x.log"):
        with pytest.raises(OSError, match=REFUSED):
            read_slice(str(place / path), 0, 0)


def test_links_that_lead_nobody_astray_are_followed(place: Path) -> None:
    """Those of root, and those that stay among the directories of users: `current`, as deployments have it."""
    (place / "home" / "release").mkdir()
    os.chown(place / "home" / "release", SOMEBODY, -1)
    link(place / "home" / "current", "release")
    link(place / "home" / "other", "../other")
    link(place / "var", "etc", 0)
    link(place / "log", "etc/x.log", 0)
    for path in ("home/current/a.log", "home/other/a.log", "var/a.log", "log", "home/release/../b.log"):
        file = LogFile(str(place / path))
        file.write(b"line\n")
        file.close()
        assert read_slice(str(place / path), 0, 0).endswith(b"line\n")
    assert (place / "home" / "release" / "a.log").exists()


def test_what_is_not_there_is_told_with_its_whole_path(place: Path) -> None:
    for path in (place / "no" / "x.log", place / "etc" / "y.log", place / "etc" / "x.log" / "y.log"):
        with pytest.raises(OSError, match=r"No such file|Not a directory") as caught:
            open_log(str(path), os.O_RDONLY)
        assert caught.value.filename == str(path)


def test_no_descriptor_is_left(place: Path) -> None:
    link(place / "home" / "logs", "../etc")
    before = len(os.listdir("/proc/self/fd"))
    for path in ("home/logs/x.log", "etc/x.log", "no/x.log", "var/x.log"):
        with contextlib.suppress(OSError):
            os.close(open_log(str(place / path), os.O_RDONLY))
    assert len(os.listdir("/proc/self/fd")) <= before
