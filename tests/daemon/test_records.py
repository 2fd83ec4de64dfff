"""What a record of the journal may be."""

from typing import Any

import pytest

from supervise.core.events import State
from supervise.daemon.records import FACTS, MACHINE, SHAPES, flaw

GOOD = {"group": "g", "name": "p"}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"state": int(State.RUNNING), "pid": 17, "start_time": 3, "deadline": 7, "since": 1.5},
        {"pid": None, "deadline": None, "status": -9, "colour": "green", "wanted": True},
        {"pipes": {"stdout": [1, 2], "stderr": []}, "files": {"stdout": ["/log", 0, 3]}, "auto": {"stdout": "/log"}},
        {"exits": [[1.5, None, "text", True, 3]], "untold": [[10, 20, True, 0, 17, 1.5]]},
        {"stop": [15, 10, False, "tree"]},
    ],
)
def test_what_is_in_order(fields: dict[str, Any]) -> None:
    assert flaw(GOOD | fields) == ""


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"name": None}, "name is None"),
        ({"group": ["g"]}, "group is ['g']"),
        ({"state": "PAUSED"}, "state is 'PAUSED'"),
        ({"state": 12345}, "state is 12345"),
        ({"pid": "abc"}, "pid is 'abc'"),
        ({"pid": -1}, "pid is -1"),
        ({"pid": True, "sweeping": 0}, "pid is True, sweeping is 0"),
        ({"deadline": "soon"}, "deadline is 'soon'"),
        ({"deadline": float("nan")}, "deadline is nan"),
        ({"pipes": []}, "pipes is []"),
        ({"pipes": {"stdout": ["x"]}}, "pipes is {'stdout': ['x']}"),
        ({"exits": [[1.5]]}, "exits is [[1.5]]"),
        ({"untold": [[10, 21, True, 0, 17, 1.5]]}, "untold is [[10, 21, True, 0, 17, 1.5]]"),
        ({"stop": [15]}, "stop is [15]"),
        ({"reason": 7 * [1000000]}, "reason is [1000000, 1000000, 1000000, 1000000, 100"),
    ],
)
def test_what_is_not(fields: dict[str, Any], says: str) -> None:
    assert flaw(GOOD | fields) == says


def test_all_that_is_restored_is_looked_at() -> None:
    assert {*MACHINE, *FACTS} <= SHAPES.keys()
