"""Both forms of the child do the same, and `check` finds whatever is wrong with a log."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.children import Stamps, build, until
from tests.tools import need

LINE, TOTAL = 200, 20_000


@pytest.fixture(params=["C", "Python"])
def child(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    if request.param == "C":
        need("cc")
    else:
        monkeypatch.setattr("tests.bench.children.compiler", lambda: None)
    return build(tmp_path).split()


@pytest.fixture
def stamps(tmp_path: Path) -> Stamps:
    return Stamps(tmp_path / "stamps")


def written(child: list[str], stamps: Stamps, tmp_path: Path, chunk: int) -> bytes:
    """What one writes when it is told to."""
    command = [*child, str(stamps.path), "w0", "write", str(LINE), str(chunk), str(TOTAL), str(tmp_path / "go")]
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(command, stdout=log) as process:
        try:
            stamps.wait(1)
            assert stamps.of("begin") == []
            (tmp_path / "go").touch()
            (done,) = stamps.wait(1, "done")
        finally:
            process.kill()
    assert done.pid == process.pid == stamps.pids()["w0"]
    assert stamps.of("born")[0].value < stamps.of("begin")[0].value < done.value
    return (tmp_path / "log").read_bytes()


def complaint(child: list[str], *files: Path) -> str:
    """What `check` says."""
    command = [*child, "/dev/null", "w0", "check", str(LINE), str(TOTAL), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert bool(done.returncode) == bool(done.stdout + done.stderr)
    return done.stdout + done.stderr


@pytest.mark.parametrize("chunk", [200, 10_000])
def test_lines_are_numbered(child: list[str], stamps: Stamps, tmp_path: Path, chunk: int) -> None:
    lines = written(child, stamps, tmp_path, chunk).splitlines(keepends=True)
    assert [line[:14] for line in lines] == [f"w0 {number:010} ".encode() for number in range(100)]
    assert {len(line) for line in lines} == {LINE}


def damages(good: bytes) -> Iterator[bytes]:
    """A log that has suffered."""
    yield good[:-1]
    yield good[LINE:]
    yield good + b"x"
    yield good[:400] + good[600:] + good[400:600]
    yield good[:1000] + good[800:]
    yield good[:301] + b"y" + good[302:]


def test_damage_is_found(child: list[str], stamps: Stamps, tmp_path: Path) -> None:
    good = written(child, stamps, tmp_path, 200)
    parts = tmp_path / "first", tmp_path / "second"
    parts[0].write_bytes(good[:777])
    parts[1].write_bytes(good[777:])
    assert complaint(child, tmp_path / "log") == ""
    assert complaint(child, *parts) == ""
    assert complaint(child, *reversed(parts)) != ""
    assert complaint(child, tmp_path / "none") != ""
    for bad in damages(good):
        (tmp_path / "bad").write_bytes(bad)
        assert complaint(child, tmp_path / "bad") != ""


def test_lag(child: list[str], stamps: Stamps, tmp_path: Path) -> None:
    command = [*child, str(stamps.path), "w0", "lag", str(tmp_path / "log"), "3"]
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(command, stdout=log) as process:
        try:
            assert all(stamp.value > 0 for stamp in stamps.wait(3, "lag"))
        finally:
            process.kill()
    assert (tmp_path / "log").stat().st_size == 600


def test_keep_starts_again_what_ended_and_ends_with_all(stamps: Stamps, tmp_path: Path) -> None:
    need("cc")
    command = build(tmp_path)
    (tmp_path / "list").write_text("".join(f"{command} {stamps.path} {name} sit\n" for name in "ab"))
    with subprocess.Popen([command, "/dev/null", "keep", "keep", str(tmp_path / "list")]) as process:
        try:
            stamps.wait(2)
            first = stamps.pids()["a"]
            subprocess.run(["kill", "-9", str(first)], check=True)
            stamps.wait(3)
            assert stamps.pids()["a"] != first
            process.terminate()
            assert process.wait(60) == 0
        finally:
            process.kill()


def test_stamps_are_read_when_they_are_whole(stamps: Stamps) -> None:
    with stamps.path.open("a") as file:
        file.write("a born 1 10\nb bor")
        file.flush()
        assert [stamp.name for stamp in stamps.of("born")] == ["a"]
        file.write("n 2 20\na born 3 30\n")
    assert stamps.pids() == {"a": 3, "b": 2}
    assert [stamp.value for stamp in stamps.of("born")] == [10, 20, 30]
    assert stamps.of("done") == []


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.bench.children.PATIENCE", 0.05)
    with pytest.raises(TimeoutError, match="a miracle"):
        until(lambda: None, "a miracle")
