"""Output on its way to listeners: found again, until it has been delivered."""

import logging
import os
from pathlib import Path

import pytest

from supervise.core.events import Communication, Output
from supervise.daemon.transit import PREFIX, Transit, forget_all

ONE = Output("g", "n", 7, "stdout", b"one\n")
TWO = Communication("g", "n", 0, "stderr", b"\0two")
THREE = Output("g", "n", 7, "stdout", b"three")


def found(tmp_path: Path) -> list[Output]:
    transit = Transit(str(tmp_path))
    transit.close(remove=False)
    return transit.found


def test_it_is_found_until_it_has_been_delivered(tmp_path: Path) -> None:
    transit = Transit(str(tmp_path))
    assert transit.found == []
    transit.add(ONE)
    transit.add(TWO)
    transit.close(remove=False)
    transit = Transit(str(tmp_path))
    assert transit.found == [ONE, TWO]
    transit.turn()
    transit.add(THREE)  # comes while the others are delivered
    transit.delivered()
    transit.close(remove=False)
    transit = Transit(str(tmp_path))
    assert transit.found == [THREE]
    transit.turn()
    transit.delivered()
    transit.close(remove=False)
    transit = Transit(str(tmp_path))
    assert transit.found == []
    transit.close(remove=True)
    assert os.listdir(tmp_path) == []


def test_what_is_in_both_files_is_found_once(tmp_path: Path) -> None:
    """A daemon has died when it had put all into the first, before it had cleared the second."""
    transit = Transit(str(tmp_path))
    transit.add(ONE)
    transit.turn()
    transit.add(TWO)
    transit.close(remove=False)
    second = tmp_path / f"{PREFIX}1"
    content = second.read_bytes()
    assert found(tmp_path) == [ONE, TWO]
    second.write_bytes(content)
    assert found(tmp_path) == [ONE, TWO]


def test_the_order_is_kept_over_a_death(tmp_path: Path) -> None:
    transit = Transit(str(tmp_path))
    transit.turn()
    transit.add(ONE)
    transit.turn()
    transit.add(TWO)
    transit.close(remove=False)
    again = Transit(str(tmp_path))
    assert again.found == [ONE, TWO]
    again.add(THREE)
    again.close(remove=False)
    assert found(tmp_path) == [ONE, TWO, THREE]
    assert [type(each) for each in found(tmp_path)] == [Output, Communication, Output]


def test_what_cannot_be_kept_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for transit in (Transit(None), Transit(str(tmp_path / "nowhere"))):
        transit.add(ONE)
        transit.turn()
        transit.delivered()
        transit.close(remove=True)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_forgetting(tmp_path: Path) -> None:
    transit = Transit(str(tmp_path))
    transit.add(ONE)
    transit.close(remove=False)
    forget_all(str(tmp_path))
    assert os.listdir(tmp_path) == []


def test_files_that_were_removed_are_made_anew(tmp_path: Path) -> None:
    transit, place = Transit(str(tmp_path)), tmp_path / "place"
    transit.add(ONE)
    transit.turn()
    transit.add(TWO)
    assert not transit.renew(str(tmp_path), [ONE, TWO])
    (tmp_path / "transit-1").unlink()
    assert transit.renew(str(tmp_path), [ONE, TWO])
    assert found(tmp_path) == [ONE, TWO]
    assert not transit.renew(str(place), [ONE, TWO])
    place.mkdir()
    assert transit.renew(str(place), [TWO])
    transit.add(THREE)
    assert found(place) == [TWO, THREE]
    assert not Transit(None).renew(str(place), [ONE])
