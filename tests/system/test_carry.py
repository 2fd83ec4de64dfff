"""What filters hold back, on file."""

from pathlib import Path

from supervise.system.carry import Carry, drop, forget, load, save


def test_there_and_back(tmp_path: Path) -> None:
    place = str(tmp_path)
    assert load(place, 5) is None
    save(place, 5, Carry(7, b"state", b"output"))
    save(place, 6, Carry(8, b"", b""))
    save(place, 5, Carry(9, b"other", b""))
    assert load(place, 5) == Carry(9, b"other", b"")
    assert load(place, 6) == Carry(8, b"", b"")
    drop(place, 5)
    drop(place, 5)
    assert load(place, 5) is None
    forget(place)
    assert not list(tmp_path.iterdir())
