"""Entries: what was appended is found again, however the file was cut off."""

import os
import resource
from pathlib import Path

import pytest

from supervise.system.entries import Entries, Entry, forget

THREE = [Entry({"a": 1}, b"x" * 5000), Entry({"b": "é"}), Entry({"c": None}, b"\0\n")]


def written(path: Path) -> Entries:
    entries = Entries(str(path))
    for entry in THREE:
        entries.append(entry)
    return entries


def found(path: Path) -> list[Entry]:
    entries = Entries(str(path))
    entries.close(remove=False)
    return entries.found


def test_there_and_back(tmp_path: Path) -> None:
    path = tmp_path / "log"
    entries = written(path)
    assert entries.found == []
    assert entries.size == path.stat().st_size
    assert path.stat().st_mode & 0o777 == 0o600
    entries.close(remove=False)
    assert found(path) == THREE
    again = Entries(str(path))
    again.append(Entry({"d": 2}))
    again.close(remove=False)
    assert found(path) == [*THREE, Entry({"d": 2})]
    Entries(str(path)).close(remove=True)
    assert not path.exists()


def test_a_write_that_was_cut_off_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "log"
    written(path).close(remove=False)
    whole = path.read_bytes()
    for length in [0, 3, 12, 40, *range(len(whole) - 40, len(whole))]:
        path.write_bytes(whole[:length])
        again = Entries(str(path))
        assert again.found == THREE[: len(again.found)]
        assert len(again.found) < 3
        assert path.stat().st_size == again.size <= length
        again.append(Entry({"after": length}))
        again.close(remove=False)
        assert found(path)[-1] == Entry({"after": length})


def test_a_byte_that_has_changed_ends_it(tmp_path: Path) -> None:
    path = tmp_path / "log"
    written(path).close(remove=False)
    content = bytearray(path.read_bytes())
    content[3000] ^= 1
    path.write_bytes(content)
    assert found(path) == []


def test_rewritten(tmp_path: Path) -> None:
    path = tmp_path / "log"
    entries = written(path)
    (tmp_path / "log.new").write_bytes(b"of one who died over it")
    entries.rewrite(THREE[1:])
    entries.append(THREE[0])
    assert entries.size == path.stat().st_size
    entries.close(remove=False)
    assert found(path) == [*THREE[1:], THREE[0]]
    assert os.listdir(tmp_path) == ["log"]


def test_without_room_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "log"
    entries = Entries(str(path))
    entries.append(Entry({"first": 1}))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, hard))
    try:
        with pytest.raises(OSError, match=r"No space left|File too large"):
            entries.append(Entry({}, b"x" * 100_000))
        with pytest.raises(OSError, match=r"No space left|File too large"):
            entries.rewrite([Entry({}, b"x" * 100_000)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    entries.append(Entry({"second": 2}))
    assert found(path) == [Entry({"first": 1}), Entry({"second": 2})]
    entries.clear()
    entries.append(Entry({"third": 3}))
    entries.close(remove=False)
    assert found(path) == [Entry({"third": 3})]


def test_forgetting(tmp_path: Path) -> None:
    for name in ("events-a", "events-b", "other"):
        written(tmp_path / name).close(remove=False)
    forget(str(tmp_path), "events-", keep=[str(tmp_path / "events-b")])
    assert sorted(os.listdir(tmp_path)) == ["events-b", "other"]
