"""What a pool remembers: events until they are settled, listeners until they have ended, and nothing for ever."""

import logging
import os
import resource
from pathlib import Path

import pytest

from supervise.core.pool import Item
from supervise.core.wire import Event
from supervise.daemon import eventlog
from supervise.daemon.eventlog import EventLog, Standing, forget_others, path_of

BUSY = Standing(stdin=1, stdout=2, state=20, stamp=7, item=1, length=50, unsent=3, characters=True, text=True)


def item(number: int, payload: bytes = b"data") -> Item:
    """Its serial is 10 more than its poolserial."""
    return Item(Event(number + 10, "REMOTE_COMMUNICATION", payload), number)


def numbers(log: EventLog) -> list[int]:
    return [each.poolserial for each in log.take_waiting()]


def again(log: EventLog, tmp_path: Path) -> EventLog:
    """What the next daemon finds."""
    log.close(remove=False)
    return EventLog(str(tmp_path), "p")


def test_events_are_known_until_they_are_settled(tmp_path: Path) -> None:
    log = EventLog(str(tmp_path), "p")
    assert (log.poolserial, log.take_waiting()) == (0, [])
    for number in range(4):
        log.put(item(number, b"%d\n\0" % number), [])
    log.put(item(4), [item(0)])
    log.settle(item(2))
    log.settle(item(2))
    for _ in range(2):
        log = again(log, tmp_path)
        assert log.poolserial == 5
        assert [(each.event, each.poolserial) for each in log.take_waiting()][:2] == [
            (Event(11, "REMOTE_COMMUNICATION", b"1\n\0"), 1),
            (Event(13, "REMOTE_COMMUNICATION", b"3\n\0"), 3),
        ]
        assert numbers(log) == [1, 3, 4]
    for number in (1, 3, 4):
        log.settle(item(number))
    log = again(log, tmp_path)
    assert (log.poolserial, log.take_waiting()) == (5, [])
    log.close(remove=True)
    assert os.listdir(tmp_path) == []


def test_a_listener_has_an_event_in_hands(tmp_path: Path) -> None:
    log = EventLog(str(tmp_path), "p")
    log.put(item(0), [])
    log.put(item(1), [])
    log.stand("a", Standing(stdin=5, stdout=6, state=30, stamp=0), b"REA")
    log.stand("b", BUSY, b"RESULT 2\nO")
    for _ in range(2):
        log = again(log, tmp_path)
        assert sorted(log.listeners) == ["a", "b"]
        assert numbers(log) == [0]
        stood = log.stood("b")
        assert stood is not None
        assert stood.standing == BUSY
        assert (stood.said, stood.item and stood.item.event.serial) == (b"RESULT 2\nO", 11)
        a = log.stood("a")
        assert a is not None
        assert (a.standing.item, a.item, a.said) == (None, None, b"REA")
    log.stand("b", Standing(stdin=1, stdout=2, state=30, stamp=8), b"", settled=item(1))
    log = again(log, tmp_path)
    assert numbers(log) == [0]
    stood = log.stood("b")
    assert stood is not None
    assert stood.item is None


def test_a_listener_that_is_given_up_gives_its_event_back(tmp_path: Path) -> None:
    log = EventLog(str(tmp_path), "p")
    log.put(item(1), [])
    log.stand("b", BUSY, b"")
    log = again(log, tmp_path)
    assert numbers(log) == []
    given_back = log.unclaimed("b")
    assert given_back is not None
    assert given_back.poolserial == 1
    assert log.unclaimed("b") is None
    log = again(log, tmp_path)
    assert (log.listeners, log.stood("b"), numbers(log)) == ([], None, [1])


def test_the_file_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eventlog, "SLACK", 20_000)
    log = EventLog(str(tmp_path), "p")
    path, largest = Path(path_of(str(tmp_path), "p")), 0
    log.put(item(0), [])
    for number in range(1, 2000):
        log.put(item(number, b"x" * 100), [])
        log.stand("b", BUSY, b"y" * 50, settled=item(number))
        largest = max(largest, path.stat().st_size)
    assert largest < 30_000
    log = again(log, tmp_path)
    assert numbers(log) == [0]
    assert log.poolserial == 2000


def test_without_room_it_goes_on_and_is_whole_again_when_there_is_some(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = EventLog(str(tmp_path), "p")
    log.put(item(0), [])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        for number in (1, 2, 3):
            log.put(item(number, b"x" * 40_000), [])
        log.settle(item(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert Path(path_of(str(tmp_path), "p")).stat().st_size == 0  # half of it would be a lie
    log.stand("b", BUSY, b"")
    log = again(log, tmp_path)
    assert numbers(log) == [0, 3]
    assert log.listeners == ["b"]


def test_without_a_directory_nothing_is_remembered() -> None:
    for directory in (None, "/nonexistent"):
        log = EventLog(directory, "p")
        log.put(item(0), [])
        log.stand("a", BUSY, b"")
        log.close(remove=True)


def test_pools_that_are_not_configured_any_more(tmp_path: Path) -> None:
    for name in ("p", "q"):
        EventLog(str(tmp_path), name).close(remove=False)
    forget_others(str(tmp_path), ["q"])
    assert os.listdir(tmp_path) == [Path(path_of(str(tmp_path), "q")).name]


def test_a_file_that_was_removed_is_made_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log, place = EventLog(str(tmp_path), "p"), str(tmp_path / "place")
    for number in range(3):
        log.put(item(number), [])
    log.stand("a", BUSY, b"said")
    assert not log.renew(str(tmp_path))
    os.unlink(path_of(str(tmp_path), "p"))
    log.settle(item(0))
    assert log.renew(str(tmp_path))
    assert not log.renew(str(tmp_path))
    log.put(item(3), [])
    assert not log.renew(place)
    assert len(caplog.records) == 1
    os.mkdir(place)
    assert log.renew(place)
    found = EventLog(place, "p")
    assert numbers(found) == [2, 3]
    stood = found.stood("a")
    assert stood is not None
    assert (stood.standing, stood.said, stood.item and stood.item.poolserial) == (BUSY, b"said", 1)
    assert not EventLog(None, "p").renew(place)
