"""What waits for a file that hangs: its order and its bounds, with and without a place that outlives us."""

from collections.abc import Iterator
from tempfile import TemporaryDirectory

import pytest

from supervise.daemon.backlog import LIMIT, Backlog
from supervise.system.intent import Intent, Intents
from supervise.system.pump import BUFFER
from supervise.system.spool import Spool


@pytest.fixture
def intents() -> Iterator[Intents]:
    with TemporaryDirectory(dir="/dev/shm") as directory:  # a full disk is no matter of ours
        yield Intents(directory, 512 * 1024)


def reading(intents: Intents, pipe: int) -> Intent:
    area = intents.new()
    assert area is not None
    area.begin(pipe, 100, "/log")
    area.have(100)
    return area


def taken(backlog: Backlog) -> list[bytes]:
    found = []
    while (kept := backlog.take()) is not None:
        found.append(bytes(kept.content) if isinstance(kept, Spool) else kept)
    return found


def test_without_a_record_it_is_in_memory(intents: Intents) -> None:
    backlog = Backlog("/log")
    assert backlog.add(b"one", None, None)
    assert backlog.add(b"two", intents.new(), None)
    assert taken(backlog) == [b"one", b"two"]


def test_what_is_from_pipes_outlives_us(intents: Intents) -> None:
    one, two = reading(intents, 5), reading(intents, 6)
    idle = intents.new()
    assert idle is not None
    backlog = Backlog("/log")
    assert all(
        backlog.add(data, step, intents) for data, step in ((b"a", one), (b"b", two), (b"main", idle), (b"c", one))
    )
    first = backlog.take()
    assert isinstance(first, Spool)
    assert (bytes(first.content), first.pipe) == (b"ac", 5)
    assert backlog.add(b"d", one, intents)  # not to what is being written already
    assert bytes(first.content) == b"ac"
    assert taken(backlog) == [b"b", b"main", b"d"]


def test_bounds(intents: Intents) -> None:
    step = reading(intents, 5)
    backlog, piece = Backlog("/log"), b"x" * (200 * 1024)
    assert [backlog.add(piece, step, intents) for _ in range(21)] == [True] * 20 + [False]
    assert backlog.add(b"y" * (LIMIT - 20 * len(piece)), None, None)
    assert not backlog.add(b"z", None, None)
    assert sum(map(len, taken(backlog))) == LIMIT
    assert backlog.add(piece, step, intents)  # there is room again


def test_no_room_beside_the_journal(intents: Intents) -> None:
    """Then it is in memory: lost if we are killed, but only then."""
    step = reading(intents, 5)
    backlog, large = Backlog("/log"), b"x" * (513 * 1024)
    assert backlog.add(large, step, intents)  # more than a spool takes
    intents.directory += "/missing"
    step.begin(7, 1, "/log")
    assert backlog.add(b"y", step, intents)
    assert taken(backlog) == [b"", large, b"y"]


def test_it_is_full_when_another_reading_might_be_too_much() -> None:
    backlog = Backlog("/log")
    assert backlog.add(b"x" * (LIMIT - BUFFER), None, None)
    assert not backlog.full
    assert backlog.add(b"y", None, None)
    assert backlog.full
    assert backlog.add(b"z" * (BUFFER - 1), None, None), "one that had begun"
