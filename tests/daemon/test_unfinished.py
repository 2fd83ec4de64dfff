"""What a killed daemon left of output: who gets it, and what becomes of the rest."""

from pathlib import Path

import pytest

from supervise.daemon.unfinished import Unfinished
from supervise.system import carry
from tests.daemon.dying import Still


def begun(directory: Path, pipe: int, path: str, data: bytes, *, read: bool = True) -> None:
    """A daemon that dies after having read this."""
    pump = Still()
    Unfinished(pump, str(directory))
    pump._start()
    assert pump._worker is not None
    intent = pump._worker.intent
    assert intent is not None
    intent.begin(pipe, len(data), path)
    if read:
        intent.buffer[: len(data)] = data
        intent.have(len(data))


def test_each_pipe_gets_its_own_once(tmp_path: Path) -> None:
    begun(tmp_path, 5, "/x", b"five")
    pump = Still()
    unfinished = Unfinished(pump, str(tmp_path))
    assert unfinished.of(6) == []
    (step,) = unfinished.of(5)
    assert (step.data, step.path, step.done) == (b"five", "/x", 0)
    assert unfinished.of(5) == []
    pump.close()


def test_what_nobody_takes_is_appended_to_its_file(tmp_path: Path) -> None:
    journal, log = tmp_path / "journal", tmp_path / "log"
    journal.mkdir()
    log.write_bytes(b"before ")
    begun(journal, 5, str(log), b"five")
    pump = Still()
    unfinished = Unfinished(pump, str(journal))
    unfinished.settle()
    pump.run()
    assert log.read_bytes() == b"before five"
    again = Still()
    Unfinished(again, str(journal)).settle()
    again.run()
    assert log.read_bytes() == b"before five"
    again.close()
    pump.close()
    assert not journal.exists()


def test_what_was_never_read_is_not_written(tmp_path: Path) -> None:
    begun(tmp_path, 5, str(tmp_path / "log"), b"five", read=False)
    pump = Still()
    Unfinished(pump, str(tmp_path)).settle()
    pump.run()
    assert not (tmp_path / "log").exists()
    pump.close()


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    begun(tmp_path, 5, str(tmp_path / "nowhere" / "log"), b"five")
    pump = Still()
    Unfinished(pump, str(tmp_path)).settle()
    pump.run()
    assert "not configured any more is lost" in caplog.text
    pump.close()


def test_what_filters_held_of_forgotten_pipes_goes(tmp_path: Path) -> None:
    for pipe in (5, 6):
        carry.save(str(tmp_path), pipe, carry.Carry(1, b"", b""))
    pump = Still()
    unfinished = Unfinished(pump, str(tmp_path))
    unfinished.of(6)
    unfinished.settle()
    assert [path.name for path in tmp_path.glob("carry-*")] == ["carry-6"]
    pump.close()


def test_without_a_directory(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pump = Still()
    unfinished = Unfinished(pump)
    assert unfinished.of(5) == []
    unfinished.settle()
    assert not caplog.text
    Unfinished(pump, str(tmp_path / "missing"))
    pump._start()
    assert pump._worker is not None
    assert pump._worker.intent is None
    assert "may be lost or doubled" in caplog.text
    pump.close()
