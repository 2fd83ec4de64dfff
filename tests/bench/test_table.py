"""Medians, goals, and how they are shown."""

import pytest

from tests.bench.rows import Figure, Goal, Row, Size
from tests.bench.table import Results, lines, markdown, number

SLOW = Row("slow", lambda peer, size: {}, (Figure("wall", "it", "ms", Goal(1.2, "runit")),), Size(), Size())
RESULTS: Results = {
    "slow": {"supervise": [{"wall": 3.0}, {"wall": 1.0}, {"wall": 2.0}], "runit": [{"wall": 1.0}, {"wall": 2.0}]}
}


def test_a_goal_beside_a_peer() -> None:
    (line,) = lines([SLOW], RESULTS)
    assert line.values == {"supervise": 2.0, "runit": 1.5}
    assert line.bound == pytest.approx(1.8)
    assert line.reached is False
    assert markdown([line]).splitlines()[2] == "| it [ms] | **2** | – | 1.5 | – | ≤ 1.2 × runit = 1.8 | **no** |"


@pytest.mark.parametrize(
    "goal, ours, reached",
    [
        (Goal(40), 40.0, True),
        (Goal(40), 40.1, False),
        (Goal(40, least=True), 40.0, True),
        (Goal(40, least=True), 39.9, False),
        (Goal(1, "runit", plus=5), 6.5, True),
        (Goal(1, "runit", plus=5), 6.6, False),
        (Goal(3, "supervise", "other/rate", least=True), 6.0, True),
        (Goal(3, "supervise", "other/rate", least=True), 5.9, False),
        (Goal(1, "limit"), 1.0, None),  # nobody to compare with
        (None, 1.0, None),
    ],
)
def test_goals(goal: Goal | None, ours: float, reached: bool | None) -> None:
    row = Row("r", lambda peer, size: {}, (Figure("wall", "it", "ms", goal),), Size(), Size())
    results: Results = {"r": {"supervise": [{"wall": ours}], "runit": [{"wall": 1.5}]}}
    results["other"] = {"supervise": [{"rate": 2.0}]}
    (line,) = lines([row], results)
    assert line.reached is reached


@pytest.mark.parametrize(
    "goal, text",
    [
        (Goal(1.2, "runit"), "≤ 1.2 × runit"),
        (Goal(1, "runit", plus=5), "≤ runit + 5 ms"),
        (Goal(1, "limit", least=True), "≥ 1 × cat"),
        (Goal(200), "≤ 200 ms"),
        (Goal(3, "supervise", "x/y", said="≥ 3 × our own"), "≥ 3 × our own"),
    ],
)
def test_goals_in_words(goal: Goal, text: str) -> None:
    assert goal.text("ms") == text


@pytest.mark.parametrize(
    "value, text",
    [(None, "–"), (0.0, "0"), (0.0123, "0.012"), (1.0, "1"), (2.345, "2.35"), (98.76, "98.8"), (12345.6, "12346")],
)
def test_numbers(value: float | None, text: str) -> None:
    assert number(value) == text


def test_rows_that_were_not_measured_are_not_shown() -> None:
    assert list(lines([SLOW], {})) == []
