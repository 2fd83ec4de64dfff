"""Characters at the edges of a piece of a log."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervise.api.text import decode, skip_partial, split_partial


@given(st.text(max_size=40), st.data())
def test_pieces_of_utf8_come_out_whole(text: str, data: st.DataObject) -> None:
    encoded = text.encode("utf-8", "replace")
    kept, out = b"", []
    while encoded:
        cut = data.draw(st.integers(1, len(encoded)))
        whole, kept = split_partial(kept + encoded[:cut])
        encoded = encoded[cut:]
        out.append(whole.decode())  # never inside a character
    assert kept == b""
    assert "".join(out) == text.encode("utf-8", "replace").decode()


@given(st.text(min_size=1, max_size=20), st.integers(0, 80))
def test_the_rest_of_a_character_is_skipped(text: str, cut: int) -> None:
    tail = skip_partial(text.encode("utf-8", "replace")[cut:])
    assert text.encode("utf-8", "replace").decode().endswith(tail.decode())


@pytest.mark.parametrize("data", [b"", b"\xff", b"abc\xff", b"\x80\x80\x80\x80", b"caf\xe9 au lait", b"\xc0", b"\xf5"])
def test_what_is_not_utf8_is_not_held_back(data: bytes) -> None:
    assert split_partial(data) == (data, b"")


def test_at_most_three_bytes_are_skipped() -> None:
    assert skip_partial(b"\x80\x80\x80\x80abc") == b"\x80abc"
    assert skip_partial(b"abc") == b"abc"
    assert skip_partial(b"") == b""


def test_decoding_never_fails() -> None:
    assert decode(b"a\xffb\xe4") == "a\ufffdb\ufffd"
