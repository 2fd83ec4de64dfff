"""Log files: rotation between lines, and everything that may happen to a file under us."""

import contextlib
import errno
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervise.system.logfile import FRONT, LONGEST_LINE, LogFile, NotAFileError
from tests.tools import need_root


def generations(path: Path) -> list[Path]:
    """The backups, oldest first, then the file itself."""
    backups = sorted(path.parent.glob(path.name + ".*"), key=lambda each: -int(each.suffix[1:]))
    return [*backups, path]


def write_all(file: LogFile, *pieces: bytes) -> None:
    for piece in pieces:
        file.write(memoryview(piece))
    file.close()


@settings(max_examples=150, deadline=None)
@given(
    lines=st.lists(st.binary(max_size=60).map(lambda line: line.replace(b"\n", b"")), max_size=60),
    cuts=st.lists(st.integers(1, 400), max_size=30),
    maxbytes=st.integers(1, 300),
    backups=st.integers(0, 4),
    end=st.booleans(),
)
def test_rotation_cuts_no_line_and_keeps_the_order(
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[bytes],
    cuts: list[int],
    maxbytes: int,
    backups: int,
    end: bool,
) -> None:
    path = tmp_path_factory.mktemp("log") / "x.log"
    text = b"\n".join(lines) + (b"\n" if end and lines else b"")
    pieces, rest = [], text
    for cut in cuts:
        pieces.append(rest[:cut])
        rest = rest[cut:]
    write_all(LogFile(str(path), maxbytes, backups), *filter(None, [*pieces, rest]), b"")
    found = [each.read_bytes() for each in generations(path)]
    assert text.endswith(b"".join(found))  # what is left is the end of what was written, in order
    if len(found) <= backups:
        assert b"".join(found) == text
    longest = max(map(len, lines), default=0) + 1
    for each in found[:-1]:
        assert each.endswith(b"\n")
    for each in found:
        assert len(each) <= maxbytes + longest
    first = text.removesuffix(b"".join(found))
    assert not first or first.endswith(b"\n") or not found[0]


def test_a_file_is_rotated_before_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    text = b"".join(b"%05d\n" % number for number in range(10_000))  # one read of 60 kB; supervisord: one file (B12)
    write_all(LogFile(str(path), 1024, 100), text)
    found = generations(path)
    assert b"".join(each.read_bytes() for each in found) == text
    assert {each.stat().st_size for each in found[:-1]} == {1020}


def test_a_line_longer_than_the_limit_stays_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    write_all(LogFile(str(path), 100, 5), b"a\n", b"b" * 500, b"b" * 500 + b"\nc\n")
    assert [each.read_bytes() for each in generations(path)] == [b"a\n", b"b" * 1000 + b"\n", b"c\n"]


def test_output_without_newlines_has_a_bound(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    file = LogFile(str(path), 1 << 20, 3)
    for _ in range(100):
        file.write(b"x" * (1 << 20))
    file.close()
    assert all(each.stat().st_size <= (1 << 20) + LONGEST_LINE for each in generations(path))
    assert len(generations(path)) == 4


def test_no_backups_means_truncate(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    write_all(LogFile(str(path), 10, 0), b"one\n", b"two\n", b"three\n")
    assert path.read_bytes() == b"three\n"
    assert os.listdir(tmp_path) == ["x.log"]


def test_every_byte_passes(tmp_path: Path) -> None:
    path, data = tmp_path / "x.log", bytes(range(256)) * 300
    write_all(LogFile(str(path), 0, 0), data)
    assert path.read_bytes() == data


def test_an_existing_file_is_continued_and_its_open_line_ended(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_bytes(b"0123456789 unfinished")
    write_all(LogFile(str(path), 10, 2), b" end\nnext\n")
    assert [each.read_bytes() for each in generations(path)] == [b"0123456789 unfinished end\n", b"next\n"]


def test_clear_truncates_open_and_closed_files(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_bytes(b"old\n")
    file = LogFile(str(path), 100, 2)
    file.clear()
    assert path.read_bytes() == b""
    file.write(b"new\n")
    file.clear()
    file.write(b"newer\n")
    assert path.read_bytes() == b"newer\n"
    path.unlink()
    file.clear()
    file.write(b"newest\n")
    file.close()
    assert path.read_bytes() == b"newest\n"


def test_rotate_on_demand(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    file = LogFile(str(path), 0, 2)
    file.rotate()
    assert generations(path) == [path]  # an empty file is left alone
    for text in (b"1\n", b"2\n", b"3\n"):
        file.write(text)
        file.rotate()
    file.close()
    assert [each.read_bytes() for each in generations(path)] == [b"2\n", b"3\n", b""]


def test_two_names_of_a_file_rotate_it_once(tmp_path: Path) -> None:
    """One directory by two names, which a link makes: neither rotates away what the other has just begun."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "link").symlink_to("logs")
    pair = [LogFile(str(tmp_path / name / "x.log"), 100, 50) for name in ("logs", "link")]
    lines = [b"line %04d\n" % number for number in range(200)]
    for number, line in enumerate(lines):
        pair[number % 2].write(line)
    for file in pair:
        file.close()
    found = generations(tmp_path / "logs" / "x.log")
    assert b"".join(each.read_bytes() for each in found) == b"".join(lines)
    assert {each.stat().st_size for each in found[:-1]} == {190}  # each knows only of what it has written itself


def test_rotating_by_two_names_is_rotating_once(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "link").symlink_to("logs")
    pair = [LogFile(str(tmp_path / name / "x.log"), 0, 5) for name in ("logs", "link")]
    for file in pair:
        file.write(b"1\n")
    for file in pair:
        file.rotate()
    for file in pair:
        file.write(b"2\n")
        file.close()
    assert [each.read_bytes() for each in generations(tmp_path / "logs" / "x.log")] == [b"1\n1\n", b"2\n2\n"]


def test_open_again_follows_the_name(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    file = LogFile(str(path))
    file.write(b"1\n")
    path.rename(tmp_path / "moved")
    assert not file.current()
    file.write(b"2\n")
    file.open()
    assert file.current()
    file.write(b"3\n")
    file.close()
    assert ((tmp_path / "moved").read_bytes(), path.read_bytes()) == (b"1\n2\n", b"3\n")


def test_a_file_cut_by_others_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    file = LogFile(str(path), 100, 3)
    file.write(b"x" * 90 + b"\n")
    os.truncate(path, 0)  # logrotate's copytruncate
    assert file.current()
    file.write(b"y" * 50 + b"\n")
    file.close()
    assert generations(path) == [path]


def test_new_generation_keeps_owner_and_mode(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    file = LogFile(str(path), 0, 1)
    file.write(b"1\n")
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 12345, 23456)
    file.rotate()
    file.close()
    facts, old = path.stat(), path.with_name("x.log.1").stat()
    assert (facts.st_mode, facts.st_uid, facts.st_gid) == (old.st_mode, old.st_uid, old.st_gid)


def test_full_disk_tells_how_much_was_written() -> None:
    with pytest.raises(NotAFileError):
        LogFile("/dev/full").write(b"x")


def test_missing_directory(tmp_path: Path) -> None:
    file = LogFile(str(tmp_path / "gone" / "x.log"))
    with pytest.raises(FileNotFoundError):
        file.write(b"x")
    (tmp_path / "gone").mkdir()
    file.write(b"y")
    file.close()
    assert (tmp_path / "gone" / "x.log").read_bytes() == b"y"


def test_what_cannot_be_rotated_grows(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    (tmp_path / "x.log.1").mkdir()  # renaming a file over a directory fails, for root too
    file = LogFile(str(path), 10, 1)
    for _ in range(10):
        file.write(b"12345678\n")
    assert path.stat().st_size == 90
    assert "cannot rotate" in file.rotation_problem
    (tmp_path / "x.log.1").rmdir()
    file.write(b"x" * 70_000 + b"\n")
    file.write(b"end\n")
    file.close()
    assert path.read_bytes() == b"end\n"
    assert file.rotation_problem == ""


def test_symbolic_links_in_others_directories_are_refused(tmp_path: Path) -> None:
    need_root()
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "x.log").symlink_to(tmp_path / "victim")
    os.chown(tmp_path, 12345, -1)
    with pytest.raises(OSError, match=re.escape(os.strerror(errno.ELOOP))):
        LogFile(str(tmp_path / "x.log")).open()
    os.chown(tmp_path, 0, -1)
    tmp_path.chmod(0o755)
    file = LogFile(str(tmp_path / "x.log"))
    file.open()
    file.close()


@pytest.mark.parametrize("kind", ["fifo", "device", "directory"])
def test_what_is_no_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    name = "/dev/null" if kind == "device" else str(path)
    with pytest.raises(IsADirectoryError if kind == "directory" else NotAFileError):
        LogFile(name).open()


def test_many_backups_are_not_all_renamed_every_time(tmp_path: Path) -> None:
    file = LogFile(str(tmp_path / "log"), 10, 3 * FRONT)
    inodes: list[dict[str, int]] = []
    backups: list[Path] = []
    for number in range(5 * FRONT):
        file.write(b"%08d\n" % number)
        inodes.append({path.name: path.stat().st_ino for path in tmp_path.iterdir()})
        backups = sorted(tmp_path.glob("log.*"), key=lambda path: -int(path.suffix[1:]))
        found = [int(path.read_bytes()) for path in backups]
        assert found == list(range(number - len(found), number))
        assert len(found) >= min(number, 2 * FRONT)
        assert len(found) <= 3 * FRONT
        assert not backups or int(backups[0].suffix[1:]) <= 3 * FRONT
    assert [path.name for path in backups[-FRONT:]] == [f"log.{each}" for each in range(FRONT, 0, -1)]
    moved = [sum(before.get(name) != inode for name, inode in after.items()) for before, after in pairwise(inodes)]
    assert sum(each > FRONT + 3 for each in moved) <= 5, moved
    file.close()


FLIP = """
import os, sys
while True:
    for name in ("fifo", "file"):
        os.link(name, "new")
        os.rename("new", "x.log")
"""


def test_whoever_changes_what_has_the_name_hangs_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("half a line")
    os.mkfifo(tmp_path / "fifo")
    os.link(tmp_path / "file", tmp_path / "x.log")
    flipping = subprocess.Popen([sys.executable, "-I", "-S", "-c", FLIP], cwd=tmp_path)
    try:
        for _ in range(1000):
            file = LogFile(str(tmp_path / "x.log"))
            with contextlib.suppress(OSError):
                file.open()
            file.close()
    finally:
        flipping.kill()
        flipping.wait()
