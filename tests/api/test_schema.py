"""Our few words of JSON Schema: they must say what the real thing says."""

from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervise.api.schema import BOOLEAN, INTEGER, NUMBER, STRING, array, check, from_text, record

ACTION = record(
    {
        "action": {"type": "string", "enum": ["start", "stop"]},
        "names": array(STRING, minItems=1),
        "wait": BOOLEAN,
        "count": {"type": "integer", "minimum": 0, "maximum": 9},
    },
    required=("action", "names"),
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.sampled_from(["start", "x", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["action", "names", "wait", "count", "other"]), inner, max_size=5)
    ),
    max_leaves=8,
)


@given(JSON)
def test_agrees_with_jsonschema(value: Any) -> None:
    assert (check(ACTION, value) == []) == jsonschema.Draft202012Validator(ACTION).is_valid(value) or (
        isinstance(value, dict) and isinstance(value.get("count"), float)  # 1.0 is an integer to JSON Schema, not to us
    )


@pytest.mark.parametrize(
    "value, problems",
    [
        ({"action": "start", "names": ["a"]}, []),
        ([], ["the body must be an object, not []"]),
        ({}, ["action is missing", "names is missing"]),
        ({"action": "fly", "names": ["a"]}, ["action must be one of start, stop, not 'fly'"]),
        ({"action": "stop", "names": "a"}, ["names must be an array, not 'a'"]),
        ({"action": "stop", "names": []}, ["names must not be empty"]),
        (
            {"action": "stop", "names": [1, None]},
            ["names[0] must be a string, not 1", "names[1] must be a string, not None"],
        ),
        ({"action": "stop", "names": ["a"], "wait": 1}, ["wait must be a boolean, not 1"]),
        ({"action": "stop", "names": ["a"], "count": True}, ["count must be an integer, not True"]),
        ({"action": "stop", "names": ["a"], "count": 10}, ["count must be at most 9, not 10"]),
        ({"action": "stop", "names": ["a"], "count": -1}, ["count must be at least 0, not -1"]),
        (
            {"action": "stop", "names": ["a"], "wiat": True},
            ["unknown field 'wiat' (known: action, count, names, wait)"],
        ),
        ({"action": "stop", "names": ["a"] * 10_001}, ["names has more than 10000 items"]),
        ({"action": "stop", "names": ["x" * 2_000_000]}, ["names[0] is longer than 1048576 characters"]),
    ],
)
def test_what_is_said(value: Any, problems: list[str]) -> None:
    assert check(ACTION, value) == problems


@pytest.mark.parametrize(
    "schema, text, value",
    [
        (INTEGER, "12", 12),
        (INTEGER, "-3", -3),
        (NUMBER, "1.5", 1.5),
        (BOOLEAN, "1", True),
        (BOOLEAN, "TRUE", True),
        (BOOLEAN, "0", False),
        (STRING, "", ""),
    ],
)
def test_query_values(schema: Any, text: str, value: Any) -> None:
    assert from_text(schema, text, "x") == value


@pytest.mark.parametrize(
    "schema, text",
    [
        (INTEGER, ""),
        (INTEGER, "1.5"),
        (INTEGER, "9" * 5000),
        (NUMBER, "nan"),
        (NUMBER, "inf"),
        (NUMBER, "x"),
        (BOOLEAN, "yes"),
        ({"type": "integer", "minimum": 0}, "-1"),
        ({"type": "string", "enum": ["a"]}, "b"),
    ],
)
def test_query_values_that_are_wrong(schema: Any, text: str) -> None:
    with pytest.raises(ValueError, match="lines must be"):
        from_text(schema, text, "lines")
