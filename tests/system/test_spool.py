"""A spool: found again with what was added, and no step that has added to it is done twice."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from supervise.system.intent import Intent, Intents, Interrupted, interrupted
from supervise.system.logfile import LogFile
from supervise.system.spool import Spool


@pytest.fixture
def intents() -> Iterator[Intents]:
    with TemporaryDirectory(dir="/dev/shm") as directory:  # a full disk is no matter of ours
        yield Intents(directory, 100_000)


def step(intents: Intents, data: bytes) -> Intent:
    """A step in which this was read of pipe 5."""
    area = intents.new()
    assert area is not None
    area.begin(5, len(data), "/log")
    area.buffer[: len(data)] = data
    area.have(len(data))
    return area


def left(intents: Intents) -> list[Interrupted]:
    return sorted(interrupted(intents.directory), key=lambda each: each.stamp)


def test_what_was_added_is_found_once(intents: Intents) -> None:
    first = step(intents, b"one\n")
    spool = Spool(intents, first, "/log")
    assert spool.add(b"one\n", first)
    first.end()
    second = step(intents, b"two\n")
    assert spool.add(b"two\n", second)
    found, ended = left(intents)
    assert (found.data, found.path, found.pipe, found.kept) == (b"one\ntwo\n", "/log", 5, True)
    assert (found.written(found.data), ended.written(ended.data)) == (0, 4)


def test_killed_while_it_takes_over(intents: Intents) -> None:
    """That it has must be known also when the spool is written and gone."""
    area = step(intents, b"one\n")
    spool = Spool(intents, area, "/log")
    assert spool.add(b"one\n", area)
    area.done = 0
    area.mark(0, spool.number, 0, 4)
    assert [each.written(each.data) for each in left(intents)] == [4, 0]
    spool.remove()
    assert [each.written(each.data) for each in left(intents)] == [4]


def test_a_step_that_has_not_got_to_it_is_still_to_be_done(intents: Intents) -> None:
    area = step(intents, b"one\n")
    spool = Spool(intents, area, "/log")
    area.mark(0, spool.number, 0, 4)
    found, empty = left(intents)
    assert (empty.data, found.data) == (b"", b"one\n")
    assert found.written(found.data) == 0


def test_a_step_whose_spool_has_gone_was_done(intents: Intents) -> None:
    area = step(intents, b"one\n")
    spool = Spool(intents, area, "/log")
    assert spool.add(b"one\n", area)
    spool.remove()
    (found,) = left(intents)
    assert found.written(found.data) == 4


def test_killed_while_it_is_written(intents: Intents, tmp_path: Path) -> None:
    path = tmp_path / "log"
    area = step(intents, b"one\ntwo\n")
    spool = Spool(intents, area, str(path))
    assert spool.add(b"one\ntwo\n", area)
    area.end()
    LogFile(str(path)).write(spool.content, spool)
    with path.open("r+b") as file:
        file.truncate(5)  # it did not get farther
    (found,) = left(intents)
    found.look()
    assert found.written(found.data) == 5


def test_full(intents: Intents) -> None:
    area = step(intents, b"x" * 60_000)
    spool = Spool(intents, area, "/log")
    assert spool.add(area.buffer[:60_000], area)
    assert not spool.add(area.buffer[:60_000], area)
    assert spool.count == 60_000


def test_no_room(intents: Intents) -> None:
    area = step(intents, b"one")
    spool = Spool(intents, area, "/log")
    Path(spool.file).unlink()  # as good a reason for failing as any
    with pytest.raises(FileNotFoundError):
        spool.add(b"one", area)
    assert spool.count == 0
    (found,) = left(intents)
    assert found.data == b"one"
    assert found.written(b"one") == 0
