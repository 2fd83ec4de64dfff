"""The areas of the log thread: what is in them after SIGKILL, and what that means."""

import os
import struct
from pathlib import Path

import pytest

from supervise.system.intent import HEAD, Intent, Intents, Interrupted, forget, interrupted

SIZE = 4096


@pytest.fixture
def area(tmp_path: Path) -> Intent:
    return Intent(str(tmp_path / "output-1"), SIZE)


def only(directory: Path) -> Interrupted:
    (step,) = interrupted(str(directory))
    return step


def appended(area: Intent, path: Path, data: bytes) -> None:
    """What a file does with one append, up to the last moment before the next one."""
    facts = path.stat()
    area.mark(facts.st_dev, facts.st_ino, facts.st_size, len(data))
    with path.open("ab") as file:
        file.write(data)


def test_nothing_begun_nothing_left(area: Intent, tmp_path: Path) -> None:
    area.begin(5, 10, "/x")
    area.end()
    assert interrupted(str(tmp_path)) == []
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, SIZE])
def test_whether_it_was_read(area: Intent, tmp_path: Path, count: int) -> None:
    reader, writer = os.pipe()
    data = b"x" * count
    os.write(writer, data)
    area.begin(5, count, "/x")
    step = only(tmp_path)
    assert step.doubtful
    assert not step.was_read(reader)
    assert os.readv(reader, [area.buffer[:count]]) == count  # killed before it could say so
    assert only(tmp_path).was_read(reader)
    area.have(count)
    assert only(tmp_path).was_read(-1)
    assert only(tmp_path).data == data
    os.close(reader)
    os.close(writer)


def test_a_few_bytes_that_look_like_the_pattern(area: Intent, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    area.begin(5, 2, "/x")
    pattern = bytes(area.buffer[:2])
    os.write(writer, pattern)
    assert not only(tmp_path).was_read(reader)
    os.readv(reader, [area.buffer[:2]])
    assert only(tmp_path).was_read(reader)  # the pipe says that they are out
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("there", [0, 1, 3, 5])
def test_how_much_of_the_last_append_is_there(area: Intent, tmp_path: Path, there: int) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"older\n")
    area.begin(5, 8, str(log))
    area.buffer[:8] = b"onetwo22"
    area.have(8)
    appended(area, log, b"one")
    area.done += 3
    appended(area, log, b"two22"[:there])
    facts = log.stat()
    area.mark(facts.st_dev, facts.st_ino, facts.st_size - there, 5)
    step = only(tmp_path)
    log.rename(tmp_path / "log.1")
    log.write_bytes(b"something else that is longer")
    step.look()
    assert step.written(step.data) == 3 + there


def test_a_file_that_others_write_to_as_well(area: Intent, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"")
    for first, second, written in ((b"", b"", 0), (b"foreign", b"", 0), (b"foreign", b"mine", 4), (b"", b"mine", 4)):
        log.write_bytes(b"")
        area.begin(5, 4, str(log))
        area.buffer[:4] = b"mine"
        area.have(4)
        facts = log.stat()
        area.mark(facts.st_dev, facts.st_ino, 0, 4)
        log.write_bytes(first + second)
        step = only(tmp_path)
        step.look()
        assert step.written(b"mine") == written


def test_emptied_by_rotation(area: Intent, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"")
    area.begin(5, 6, str(log))
    area.buffer[:6] = b"onetwo"
    area.have(6)
    appended(area, log, b"one")
    area.done += 3
    area.mark(0, 0, 0, 0)
    os.truncate(log, 0)
    step = only(tmp_path)
    step.look()
    assert step.written(step.data) == 3


def test_marks_of_the_step_before_do_not_count(area: Intent, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"")
    area.begin(5, 4, str(log))
    area.have(4)
    appended(area, log, b"same")
    area.end()
    area.begin(5, 4, str(log))
    area.buffer[:4] = b"same"
    step = only(tmp_path)
    step.look()
    assert step.written(b"same") == 0


def test_taken_up_and_killed_again(area: Intent, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"")
    area.begin(5, 6, str(log))
    area.buffer[:6] = b"onetwo"
    area.have(6)
    appended(area, log, b"one")
    old = only(tmp_path)
    second = Intents(str(tmp_path), SIZE)
    newer = second.new()
    assert newer is not None
    newer.take_up(old, 3)
    (tmp_path / "log").write_bytes(b"one" + b"of another pipe")  # so the old area would be wrong by now
    step = only(tmp_path)
    step.look()
    assert (step.stamp, step.data, step.written(step.data)) == (old.stamp, b"onetwo", 3)
    assert [path.name for path in tmp_path.glob("output-*")] == ["output-2"]
    step.retire()
    assert interrupted(str(tmp_path)) == []


@pytest.mark.parametrize(
    "damage", [b"", b"x" * 100, bytes(HEAD + SIZE), b"\xff" * (HEAD + SIZE), struct.pack("@6Q", 5, 1, 4, 0, 0, 2)]
)
def test_what_is_no_area_is_removed(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "output-1").write_bytes(damage)
    assert interrupted(str(tmp_path)) == []
    assert os.listdir(tmp_path) == []


def test_long_names(area: Intent, tmp_path: Path) -> None:
    area.begin(5, 1, "/" + "ä" * 200)
    assert only(tmp_path).path == "/" + "ä" * 200
    area.begin(5, 1, "/" + "x" * 4000)
    assert only(tmp_path).path == ""
    area.begin(5, 1, None)
    assert only(tmp_path).path == ""


def test_other_boots(area: Intent, tmp_path: Path) -> None:
    area.begin(5, 1, "/x")
    forget(str(tmp_path))
    assert os.listdir(tmp_path) == []


def test_no_room(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    intents = Intents(str(tmp_path), 1 << 60)
    assert intents.new() is None
    assert intents.new() is None
    assert caplog.text.count("may be lost or doubled") == 1
    assert os.listdir(tmp_path) == []
    intents.close()
    assert not tmp_path.exists()
