"""The filters of one pipe, and what they hold over the daemon's death."""

from hypothesis import given
from hypothesis import strategies as st

from supervise.core.capture import BEGIN, END
from supervise.daemon.filters import Filters

PIECES = st.lists(
    st.sampled_from([BEGIN, END, b"\x1b[31m", b"plain\n", b"<", b"\x1b", BEGIN[:7], b"x" * 50]), max_size=12
)


def passed(pieces: list[bytes], *, renewed: bool) -> tuple[bytes, list[bytes]]:
    filters, output, passages = Filters(100, strip=True), b"", []
    for piece in pieces:
        output += filters.feed(piece)
        passages += [passage for _, passage in filters.passages]
        if renewed:
            state = filters.state
            filters = Filters(100, strip=True)
            assert filters.restore(state) == b""
    held = filters.holds
    flushed = filters.flush()
    assert held == bool(flushed)
    assert not filters.holds
    return output + flushed, passages


@given(pieces=PIECES, cut=st.integers(1, 40))
def test_a_state_says_all(pieces: list[bytes], cut: int) -> None:
    text = b"".join(pieces)
    parts = [text[start : start + cut] for start in range(0, len(text), cut)]
    assert passed(parts, renewed=True) == passed(parts, renewed=False)


def test_passages_first_then_sequences() -> None:
    filters = Filters(100, strip=True)
    assert filters.feed(b"a\x1b[3") == b"a"
    assert filters.holds
    assert filters.feed(b"1mb" + BEGIN + b"\x1b[1mre\x1b[0md\x1b[" + END + b"c\x1b") == b"bc"
    assert filters.passages == [(1, b"red\x1b[")]
    assert filters.flush() == b"\x1b"
    assert filters.flush() == b""


def test_what_a_filter_held_that_is_not_wanted_any_more() -> None:
    filters = Filters(100, strip=True)
    filters.feed(BEGIN + b"half")
    assert Filters(0, strip=True).restore(filters.state) == BEGIN + b"half"
    filters = Filters(0, strip=True)
    filters.feed(b"\x1b[3")
    assert Filters(100, strip=False).restore(filters.state) == b"\x1b[3"
