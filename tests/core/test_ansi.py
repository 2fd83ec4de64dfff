"""strip_ansi: sequences go, wherever the pieces are cut; everything else stays."""

from hypothesis import given
from hypothesis import strategies as st

from supervise.core.ansi import StripAnsi


def strip(*pieces: bytes) -> bytes:
    strip = StripAnsi()
    return b"".join(strip.feed(piece) for piece in pieces) + strip.flush()


def test_sequences_go() -> None:
    assert strip(b"\x1b[31mred\x1b[0m \x1b[2J\x1b[1;1Hhome\x1b[?25l.\x1b[38;5;196mx\x1b[K") == b"red home.x"


def test_other_bytes_stay() -> None:
    everything = bytes(range(256))
    assert strip(everything) == everything
    assert strip(b"\x1b]0;title\x07", b"\x1b", b"(B") == b"\x1b]0;title\x07\x1b(B"
    assert strip(b"\x1b[\xc3\xa4") == b"\x1b[\xc3\xa4"


def test_what_never_ends_is_let_through() -> None:
    endless = b"\x1b[" + b"1;" * 500
    assert len(strip(*[endless] * 50)) > 40_000


def test_held_back_bytes_come_at_the_end() -> None:
    assert strip(b"text\x1b[3") == b"text\x1b[3"


@given(st.lists(st.sampled_from([b"\x1b[31m", b"\x1b[0m", b"abc", b"\n", b"\x1b[1;2;3H", b"\xff"])), st.data())
def test_cutting_changes_nothing(parts: list[bytes], data: st.DataObject) -> None:
    text = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)))))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert strip(*pieces) == strip(text) == b"".join(part for part in parts if part[0] != 0x1B)
