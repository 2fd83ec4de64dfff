"""When a pause pays for the log thread."""

from supervise.system.gathering import FAST, PAUSE, SMALL, Gathering


def flood(step: float, size: int, sources: int = 1) -> list[bool]:
    """What a hundred rounds `step` seconds apart, of `size` bytes each, are told."""
    gathering = Gathering()
    return [gathering.worthwhile(size, sources, 100 + number * step) for number in range(100)]


def test_a_pause_is_for_floods_of_small_writes_only() -> None:
    assert sum(flood(20e-6, 2000)) > 50
    assert not any(flood(0.01, 2000))  # now and then
    assert not any(flood(200e-6, 200))  # one line after the other has been seen
    assert not any(flood(100e-6, SMALL))  # there is enough to do
    assert sum(flood(100e-6, SMALL, 50)) > 50  # little each, from many
    assert PAUSE * FAST < SMALL  # a pause does not end its own reason
