import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervise.config.expand import expand

NAMES = {"here": "/etc", "process_num": 7, "ENV_PW": "100%(here)s%%", "program_name": "web"}
PIECES = st.sampled_from(
    [
        "%(here)s",
        "%(process_num)d",
        "%(process_num)02d",
        "%(ENV_PW)s",
        "%%",
        "%",
        "x",
        "%(",
        ")",
        "(",
        "%(nope)s",
        " ",
        "5",
        ".",
        "d",
        "%(here)d",
        "%(process_num)x",
        "%(here)-8s",
        "%(here).2s",
    ]
)


@given(st.lists(PIECES, max_size=8).map("".join))
def test_expands_as_python_does_and_complains_in_its_words(text: str) -> None:
    try:
        wanted = text % NAMES
    except KeyError as why:
        assert_refused(
            text, f"Format string {text!r} for 'l' contains names ({why}) which cannot be expanded. Available"
        )
    except (TypeError, ValueError) as why:
        assert_refused(text, f"Format string {text!r} for 'l' is badly formatted: {why}")
    else:
        if re.sub(r"%%|%\([^()]*\)", "", text).count("%"):
            return  # Python prints all names for a bare %s; ours refuses it
        assert expand(text, NAMES, "l") == wanted


def assert_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        expand(text, NAMES, "l")
    # Python may have found the other of two mistakes first
    assert str(refused.value).startswith((message, f"Format string {text!r} for 'l' "))


@given(st.text())
def test_text_without_percent_is_itself(text: str) -> None:
    text = text.replace("%", "")
    assert expand(text, {}, "l") == text


def test_values_are_not_expanded_again() -> None:
    assert expand("p=%(ENV_PW)s", NAMES, "l") == "p=100%(here)s%%"


UNKNOWN = " which cannot be expanded. Available names: ENV_PW, here, process_num, program_name"
FIX = "; write %% for a percent sign"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("%(hree)s", f"contains names ('hree'){UNKNOWN}; did you mean %(here)s?"),
        ("%(ENV_X)s", f"contains names ('ENV_X'){UNKNOWN}; X is not set in the environment of the daemon"),
        ("50%", f"is badly formatted: incomplete format{FIX}"),
        ("%h", f"is badly formatted: incomplete format{FIX}"),
        ("date +%Y", f"is badly formatted: unsupported format character 'Y' (0x59) at index 7{FIX}"),
        ("%(here)d", f"is badly formatted: %d format: a real number is required, not str{FIX}"),
        ("date +%s", f"is badly formatted: % without a (name) means nothing here{FIX}"),
        ("date +%d", f"is badly formatted: % without a (name) means nothing here{FIX}"),
        ("%(here)99999999s", f"is badly formatted: bad format{FIX}"),
    ],
)
def test_messages(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        expand(text, NAMES, "program:x.command")
    assert str(refused.value) == f"Format string {text!r} for 'program:x.command' {message}"
