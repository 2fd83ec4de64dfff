import contextlib
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervise.config.environment import parse, text_of, without_secrets
from supervise.config.secrets import HIDDEN


def legacy(text: str) -> dict[str, str] | None:
    """What 4.3 makes of it."""
    lexer = shlex.shlex(text)
    lexer.wordchars += "/.+-():"
    try:
        tokens = list(lexer)
    except ValueError:
        return None
    found = {}
    for at in range(0, len(tokens), 4):
        triple = tokens[at : at + 3]
        if len(triple) != 3 or triple[1] != "=":
            return None
        found[triple[0]] = triple[2].strip("'\"")
    return found


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("", {}),
        ("  \n", {}),
        ("A=b", {"A": "b"}),
        ('A="b c",D=e', {"A": "b c", "D": "e"}),
        ("A='b,c', D = \"e\" ,\n F=/g/h:i.j-k+l(m),", {"A": "b,c", "D": "e", "F": "/g/h:i.j-k+l(m)"}),
        ('A="say \\"hi\\"",B=\'\\"\'', {"A": 'say "hi"', "B": '\\"'}),
        ('A="C:\\\\x\\y"', {"A": "C:\\x\\y"}),
        ('A=""', {"A": ""}),
        ("A=\"a\"b'c'", {"A": "abc"}),
        ("A=b # comment, C=d\n,E=f", {"A": "b", "E": "f"}),
        ('A="multi\nline"', {"A": "multi\nline"}),
        ("A=1,A=2", {"A": "2"}),
        ("A=\\ b", {"A": " b"}),
        ("A=1;B=2", {"A": "1", "B": "2"}),  # 4.3 takes any fourth token
        ('A="C:\\dir\\"', {"A": "C:\\dir\\"}),  # 4.3 knows no escapes
        ("A=@", {"A": "@"}),
    ],
)
def test_pairs(text: str, pairs: dict[str, str]) -> None:
    assert parse(text) == pairs


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("A", "at the end: expected '='"),
        ("A=", "at the end: expected a value"),
        ("A=b C=d", "at character 5: expected ','"),
        ("LANG=POSIX, PYTHONPATH=lib:$PYTHONPATH", "at character 28: expected ','"),
        ('A="b', "at character 3: this quote is never closed"),
        (",A=b", "at character 1: expected a name"),
        ("A=,B=c", "at character 3: expected a value"),
        ("A=me@example.com", "at character 5: expected ','"),
    ],
)
def test_mistakes_are_pointed_at(text: str, where: str) -> None:
    with pytest.raises(ValueError, match="Unexpected end of key/value pairs") as refused:
        parse(text)
    assert str(refused.value).startswith(
        f"Unexpected end of key/value pairs in value '{without_secrets(text)}': {where}"
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("KEY=s,PASS='s,s', A = \"x\",", 'KEY=*,PASS=*, A = "x",'),
        ('A=x,B="s,C=s', "A=x,B=*"),
        ("A=s s,B=s", "A=*"),
        ("s,A=s", "*"),
        ("LANG=POSIX, A=b:$A", "LANG=POSIX, A=b:$A"),
        ("A='--token s',B=http://u:s@h,PASSWORD=s", "A='--token *',B=http://u:*@h,PASSWORD=*"),
        ("A", "A"),
        ('"A=s"="s"', "*"),
        ("", ""),
    ],
)
def test_what_a_message_shows(text: str, shown: str) -> None:
    assert without_secrets(text) == shown.replace("*", HIDDEN)


def test_a_name_is_told_without_what_may_be_its_value() -> None:
    with pytest.raises(ValueError, match=r"^'DB_PASSWORD' cannot be the name of a variable") as refused:
        parse('"DB_PASSWORD=s3cret"=x')
    assert "s3cret" not in str(refused.value)


TEXTS = st.text(alphabet="aA0_=,;\"' \n#/.:@$\\é%", max_size=12)


@given(
    st.lists(
        st.sampled_from(["A", "b", "=", "=", ",", '"', "'", " ", "\n", "#", "x/y", "@", "$", "\\", '"v w"']),
        max_size=12,
    )
)
def test_what_43_accepts_is_accepted(pieces: list[str]) -> None:
    text = "".join(pieces)
    wanted = legacy(text)
    if wanted is None or any("=" in key or not key.strip("\"'") for key in wanted):
        return  # no pairs, or names with which no program can be started
    found = parse(text)
    if not set(text) & set("\\\"'"):  # escapes and inner quotes are what 4.4 reads differently
        assert found == wanted


@given(TEXTS)
def test_any_text_is_pairs_or_a_mistake(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(parse(text), dict)


@pytest.mark.parametrize("text", ['"A=B"=1', "''=1", '"="=""'])
def test_names_that_no_variable_can_have(text: str) -> None:
    with pytest.raises(ValueError, match="cannot be the name of a variable"):
        parse(text)


@given(st.dictionaries(TEXTS.filter(lambda key: bool(key) and "=" not in key), TEXTS))
def test_what_is_written_is_read(pairs: dict[str, str]) -> None:
    assert parse(text_of(pairs)) == pairs
