import configparser
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from supervise.config import ini
from supervise.config.document import Document
from supervise.config.problems import Problems


def read(text: str) -> tuple[dict[str, dict[str, str]], Problems]:
    document, problems = Document("x.conf", "/"), Problems()
    ini.read(text, "x.conf", document, problems)
    found = {
        name: {key: entry.raw for key, entry in section.own.items()} for name, section in document.sections.items()
    }
    if document.defaults:
        found["DEFAULT"] = {key: entry.raw for key, entry in document.defaults.items()}
    return found, problems


def real(text: str) -> dict[str, dict[str, str]]:
    """What the parser of supervisord makes of it. Raises configparser.Error."""
    parser: Any = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"), strict=False)
    parser.read_string(text)
    found = {name: dict(parser._sections[name]) for name in parser.sections()}
    if parser.defaults():
        found["DEFAULT"] = dict(parser.defaults())
    return found


# Whether this Python looks at the n-th # and the n-th ; together, as the one of the reference (3.11) does
PAIRED_SIGNS = real("[s]\nk=a;b ;c #d") == {"s": {"k": "a;b ;c"}}

PIECES = st.sampled_from(
    [
        *"abAB =:;#[]%'\"\t,\\é\u2028\x0b",
        "[a]",
        "[DEFAULT]",
        "[b c]",
        "key=",
        "other: ",
        "\n",
        "\n ",
        "\n\n",
        "\n\t",
        " ; ",
        " # ",
    ]
)


@given(st.lists(PIECES, max_size=40).map("".join))
@example("[a]\nk=v\n  more ; cut\n\n  last\n[a]\nk2=x;y z#w\nK=again")
@example("[a]\n k=1\n  k2=2\n k3=3")
@example("[a]b]c\nk = v = w : x")
@example("; comment\n[a] ; comment\n# comment\nk=v\n ; inside\n\n w")
@example("[a]\nk=\n  first\n\n\n")
def test_reads_what_configparser_reads(text: str) -> None:
    if not PAIRED_SIGNS:
        text = text.replace("#", ";")
    ours, problems = read(text)
    try:
        theirs = real(text)
    except configparser.Error:
        assert problems.errors
    else:
        assert not problems.errors
        assert ours == theirs


@given(st.text())
def test_never_fails(text: str) -> None:
    read(text)


@pytest.mark.parametrize(
    ("line", "start"),
    [
        ("plain", None),
        ("a;b", None),
        ("a ;b", 2),
        ("a #b", 2),
        ("a\t;b", 2),
        (";b", 0),
        ("   # b", 0),
        ("a;b ;c", 4),
        ("a;b ;c #d", 7),  # both second signs would do, but the first # comes with the first ;
        ("", None),
    ],
)
def test_where_a_comment_starts(line: str, start: int | None) -> None:
    assert ini.comment_start(line) == start


@pytest.mark.parametrize(
    ("text", "quote"),
    [
        ("", ""),
        ("a 'b", "'"),
        ('a "b', '"'),
        ("'a' \"b\"", ""),
        (r"a \" b", ""),
        (r"'a\'", ""),
        (r'"a\"', '"'),
        ("\"it's", '"'),
    ],
)
def test_the_quote_that_is_open(text: str, quote: str) -> None:
    assert ini.open_quote(text) == quote


def test_lines_are_kept_for_every_option() -> None:
    document, problems = Document("x.conf", "/"), Problems()
    ini.read("\n[program:a]\ncommand=x\n  y\n\nuser=z\n[program:a]\ncommand=w", "x.conf", document, problems)
    section = document.sections["program:a"]
    assert section.line == 2
    assert {key: (entry.raw, entry.line) for key, entry in section.own.items()} == {
        "command": ("w", 8),
        "user": ("z", 6),
    }


def test_every_bad_line_is_reported() -> None:
    _, problems = read("x=1\ny=2\n[a]\n)\nk=v\n= no name\n")
    assert [(error.line, error.message.split(".")[0].split(":")[0]) for error in problems.errors] == [
        (1, "File contains no section headers"),
        (4, "Source contains parsing errors"),
        (6, "Source contains parsing errors"),
    ]


@pytest.mark.parametrize(
    "value",
    ["bash -c 'a ; b'", 'sh -c "echo #1; x #2"', "sh -c 'one\n  two ; three'", "sh -c 'one ; two\n  three'"],
)
def test_a_cut_inside_quotes_warns(value: str) -> None:
    _, problems = read(f"[program:a]\ncommand={value}")
    assert [warning.option for warning in problems.warnings] == ["command"]
    assert "looks cut" in problems.warnings[0].message


@pytest.mark.parametrize(
    "value", ["it's ; a comment", "'a' ; b", "a ; don't", "sh -c 'a; b'", "a # 'b'", "a ; it\n  isn't"]
)
def test_an_ordinary_comment_does_not_warn(value: str) -> None:
    assert not read(f"[program:a]\ncommand={value}")[1].warnings
