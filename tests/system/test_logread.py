"""Reading logs back: supervisord's tables, lines, and characters."""

import os
from pathlib import Path

import pytest

from supervise.system.logread import cut_lines, read_slice, tail, tail_lines, whole_characters


@pytest.fixture
def ten(tmp_path: Path) -> str:
    path = tmp_path / "log"
    path.write_bytes(b"0123456789")
    return str(path)


@pytest.mark.parametrize(
    "offset, length, expected",
    [
        (0, 0, b"0123456789"),
        (3, 0, b"3456789"),
        (3, 4, b"3456"),
        (8, 100, b"89"),
        (-4, 0, b"6789"),
        (-40, 0, b"0123456789"),
        (10, 0, b""),
        (99, 5, b""),
    ],
)
def test_read_slice(ten: str, offset: int, length: int, expected: bytes) -> None:
    assert read_slice(ten, offset, length) == expected


@pytest.mark.parametrize("offset, length", [(-4, 1), (-4, -1), (0, -1), (5, -5)])
def test_read_slice_refuses(ten: str, offset: int, length: int) -> None:
    with pytest.raises(ValueError, match="BAD_ARGUMENTS"):
        read_slice(ten, offset, length)


@pytest.mark.parametrize(
    "offset, length, expected",
    [
        (0, 100, (b"0123456789", 10, False)),
        (0, 10, (b"0123456789", 10, False)),
        (0, 4, (b"6789", 10, True)),
        (2, 4, (b"6789", 10, True)),
        (6, 4, (b"6789", 10, False)),
        (8, 4, (b"6789", 10, False)),
        (10, 4, (b"", 10, False)),
        (99, 4, (b"", 10, False)),
        (0, 0, (b"", 10, True)),
        (0, -5, (b"", 10, True)),
        (-50, 10, (b"0123456789", 10, True)),
    ],
)
def test_tail(ten: str, offset: int, length: int, expected: tuple[bytes, int, bool]) -> None:
    assert tail(ten, offset, length) == expected


def test_tail_of_nothing(tmp_path: Path) -> None:
    assert tail(str(tmp_path / "none"), 0, 10) == (b"", 0, False)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_slice(str(tmp_path / "none"), 0, 0)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="regular"):
        read_slice(str(tmp_path / "fifo"), 0, 0)


@pytest.mark.parametrize("count", [0, 1, 2, 5, 20_000, 30_000])
@pytest.mark.parametrize("end", [b"", b"unfinished"])
def test_tail_lines(tmp_path: Path, count: int, end: bytes) -> None:
    lines = [b"line %d\n" % number for number in range(20_000)] + [end][: len(end)]
    (tmp_path / "log").write_bytes(b"".join(lines))
    assert tail_lines(str(tmp_path / "log"), count) == b"".join(lines[-count:] if count else [])


def test_cut_lines() -> None:
    assert cut_lines(b"a\nb\nc", 2) == b"b\nc"
    assert cut_lines(b"a\nb\n", 1) == b"b\n"
    assert cut_lines(b"\n\n", 1) == b"\n"
    assert cut_lines(b"", 3) == b""


def test_whole_characters() -> None:
    text = "ä€😀x".encode()
    for start in range(len(text)):
        assert whole_characters(text[start:]).decode() in "ä€😀x"
    assert whole_characters(b"\x80\x81\x82\x83binary") == b"\x80\x81\x82\x83binary"
    assert whole_characters(b"") == b""
