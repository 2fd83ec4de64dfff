"""A counter: no number twice, whatever becomes of the one who counts."""

import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervise.system.counter import Counter


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """What a test leaves open is closed, as it would be at the end of a daemon."""
    before = opened()
    yield
    for fd in opened() - before:
        os.close(fd)


def opened() -> set[int]:
    """Our descriptors, without that of the directory itself."""
    return {int(fd) for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")}


def test_it_goes_on_where_another_one_stood(tmp_path: Path) -> None:
    path = tmp_path / "serial"
    counter = Counter(str(path))
    assert [counter.take(), counter.take()] == [0, 1]
    assert path.stat().st_mode & 0o777 == 0o600
    other = Counter(str(path))  # the first has been killed
    assert other.take() == 2
    other.close(remove=True)
    other.close(remove=True)
    assert os.listdir(tmp_path) == []
    assert Counter(str(path)).take() == 0


def test_killed_at_any_moment(tmp_path: Path) -> None:
    path, before = str(tmp_path / "serial"), 0
    for _ in range(20):
        reader, writer = os.pipe()
        if (pid := os.fork()) == 0:
            counter = Counter(path)
            while True:
                os.write(writer, b"%d\n" % counter.take())
        os.close(writer)
        with open(reader, "rb") as told:
            first = int(told.readline())
            os.kill(pid, signal.SIGKILL)
            last = [first, *map(int, told.read().splitlines())][-1]
        os.waitpid(pid, 0)
        assert before <= first <= last
        before = last + 1


@pytest.mark.parametrize("content", ["", "x" * 40, "-" + "0" * 19])
def test_a_file_that_says_nothing(tmp_path: Path, content: str) -> None:
    path = tmp_path / "serial"
    path.write_text(content)
    assert Counter(str(path)).take() == 0
    assert Counter(str(path)).take() == 1


def test_without_a_file(tmp_path: Path) -> None:
    counter = Counter(None)
    assert [counter.take(), counter.take()] == [0, 1]
    counter.close(remove=True)
    with pytest.raises(OSError, match="No such file"):
        Counter(str(tmp_path / "nowhere" / "serial"))


def test_without_room(tmp_path: Path) -> None:
    """That shows at the beginning, and not when the numbers are needed."""
    counter = Counter(str(tmp_path / "one"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            Counter(str(tmp_path / "two"))
        assert counter.take() == 0
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(os.listdir("/proc/self/fd")) <= before
    assert counter.take() == 1
    assert Counter(str(tmp_path / "one")).take() == 2


def test_a_file_that_was_removed_is_made_anew(tmp_path: Path) -> None:
    path, other = str(tmp_path / "serial"), str(tmp_path / "elsewhere")
    counter = Counter(path)
    counter.take()
    assert not counter.renew(path)
    os.unlink(path)
    assert counter.take() == 1
    assert counter.renew(path)
    assert not counter.renew(path)
    assert Counter(path).take() == 2
    with pytest.raises(OSError, match="No such file"):
        counter.renew(str(tmp_path / "nowhere" / "serial"))
    assert counter.take() == 2
    assert counter.renew(other)
    assert Counter(other).take() == 3
    assert not Counter(None).renew(path)
