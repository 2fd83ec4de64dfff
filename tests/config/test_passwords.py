"""Passwords as they are stored."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervise.config import passwords
from supervise.config.passwords import checked, doubt, hashed, is_empty, is_slow, matches, parse, same

SHA = "{SHA}82ab876d1387bfafe46cc1c8a2ef074eae50cb1d"  # thepassword
RFC7914 = (  # its second test vector: password "password", salt "NaCl"
    "{SCRYPT}1024$8$16$TmFDbA==$"
    "/bq+HJ00cgB4VucZDQHp/nxq18vII3gw53N2Y0s3MWIurzDZLiKjiG/xCSedmDDaxyevuUqD7m2DYMvfoswGQA=="
)


def test_one_that_was_made() -> None:
    stored = hashed("pässword")
    assert stored.startswith("{SCRYPT}16384$8$5$")
    assert "\n" not in stored
    assert not set(stored) & set(" ;#%")  # safe in an INI file
    assert matches(stored, "pässword".encode())
    assert not matches(stored, b"passwort")
    assert hashed("pässword") != stored  # another salt


def test_the_standard() -> None:
    assert matches(RFC7914, b"password")
    assert not matches(RFC7914, b"Password")


@pytest.mark.parametrize("stored", ["thepassword", SHA, SHA.replace("82ab", "82AB"), "{SHA}" + SHA[5:].upper()])
def test_the_forms_of_supervisord(stored: str) -> None:
    assert matches(stored, b"thepassword")
    assert not matches(stored, b"thepassword ")
    assert not matches(stored, stored.encode()) or stored == "thepassword"
    assert not is_slow(stored)


@pytest.mark.parametrize(
    "stored",
    [
        "{SCRYPT}",
        "{SCRYPT}16384$8$5",
        "{SCRYPT}16384$8$5$AAAA",
        "{SCRYPT}16384$8$5$AAAA$AAAA",
        "{SCRYPT}16384$8$5$AAAA$!!!!",
        "{SCRYPT}16384$8$5$AAAA$AAAA$AAAA",
        "{SCRYPT}1000$8$5$AAAA$" + "A" * 44,
        "{SCRYPT}0$8$5$AAAA$" + "A" * 44,
        "{SCRYPT}16384$0$5$AAAA$" + "A" * 44,
        "{SCRYPT}x$8$5$AAAA$" + "A" * 44,
        "{SCRYPT}1073741824$8$1$AAAA$" + "A" * 44,
        "{SCRYPT}16384$8$100000$AAAA$" + "A" * 44,
        "{SCRYPT}2$1$10000000$AAAA$" + "A" * 44,
    ],
)
def test_what_cannot_be_compared(stored: str) -> None:
    with pytest.raises(ValueError, match="SCRYPT") as caught:
        checked(stored)
    assert "AAAA" not in str(caught.value)  # a message is no place for a hash


@pytest.mark.parametrize(
    "stored",
    [
        *("{SHA}", "{SHA}abc", "{SHA}" + "g" * 40, "{SHA}" + "a" * 41, "{sha}" + "a" * 40, "{SSHA}abc", "{scrypt}1$2"),
        *("{PBKDF2-SHA256}abc", "$1$abc", "$2b$12$abc", "$6$abc$def", "$y$j9T$abc", "$argon2id$v=19$abc"),
    ],
)
def test_a_form_that_nothing_matches_is_doubted(stored: str) -> None:
    assert "`supervise passwd`" in doubt(stored)
    assert "abc" not in doubt(stored)


@pytest.mark.parametrize("stored", ["abc", SHA, SHA.upper(), RFC7914, "$", "$$$", "{}", "{ }x", "US$5$", "$x y$", ""])
def test_a_usual_form_is_not(stored: str) -> None:
    assert doubt(stored) == ""


@pytest.mark.parametrize(
    "stored, empty",
    [("", True), ("{SHA}DA39a3ee5e6b4b0d3255bfef95601890afd80709", True), (SHA, False), ("{SHA}", False), (" ", False)],
)
def test_the_empty_password(stored: str, empty: bool) -> None:
    assert is_empty(stored) is empty


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="0123456789$ABCD=/+-x", max_size=60))
def test_anything_is_a_password_or_refused(tail: str) -> None:
    try:
        found = parse(passwords.SCRYPT + tail)
    except ValueError:
        return
    assert 128 * found.n * found.r <= passwords.MAX_MEMORY


@given(st.binary(), st.binary())
def test_same(one: bytes, other: bytes) -> None:
    assert same(one, other) is (one == other)
