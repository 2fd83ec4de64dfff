"""The capture filter: stories, and hypothesis against the simplest possible reading of the whole stream."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervise.core.capture import BEGIN, END, Capture, beginning_at_end


def run(pieces: list[bytes], limit: int = 1000) -> tuple[bytes, list[bytes]]:
    """All that goes to the log, and all passages."""
    capture = Capture(limit)
    output, passages = b"", []
    for piece in pieces:
        more, found = capture.feed(piece)
        output += more
        passages += [passage for _, passage in found]
    return output + capture.flush(), passages


def test_a_passage_is_taken_out() -> None:
    assert run([b"before" + BEGIN + b"inside" + END + b"after"]) == (b"beforeafter", [b"inside"])


def test_two_passages_and_an_empty_one() -> None:
    assert run([BEGIN + b"1" + END + b"x" + BEGIN + END + BEGIN + b"2\n" + END]) == (b"x", [b"1", b"", b"2\n"])


def test_passages_know_their_places() -> None:
    found = Capture(100).feed(b"one" + BEGIN + b"1" + END + b"two" + BEGIN + END + BEGIN + b"3" + END + b"three")
    assert found == (b"onetwothree", [(3, b"1"), (6, b""), (6, b"3")])


def test_byte_by_byte() -> None:
    stream = b"a<!--" + BEGIN + b"<!-- <!--XSUPERVISOR:BEGIN" + END + b"<"
    assert run([bytes([byte]) for byte in stream]) == (b"a<!--<", [b"<!-- <!--XSUPERVISOR:BEGIN"])


def test_only_what_may_be_a_token_is_held_back() -> None:
    capture = Capture(10)
    assert capture.feed(b"short") == (b"short", [])
    assert capture.feed(b"x<!--XSUP") == (b"x", [])
    assert capture.feed(b"ERB") == (b"<!--XSUPERB", [])


def test_nothing_is_lost_at_the_end() -> None:
    assert run([b"8 bytes\n"]) == (b"8 bytes\n", [])
    assert run([b"text<!--XSUPERVISOR:"]) == (b"text<!--XSUPERVISOR:", [])


def test_a_passage_that_never_ends_goes_to_the_log() -> None:
    assert run([b"a" + BEGIN + b"lost?<!--XSU"]) == (b"a" + BEGIN + b"lost?<!--XSU", [])


def test_after_a_flush_a_new_stream_begins() -> None:
    capture = Capture(10)
    capture.feed(BEGIN + b"unfinished")
    capture.flush()
    assert capture.feed(b"plain" + END) == (b"plain" + END, [])


def test_of_a_long_passage_the_oldest_bytes_go() -> None:
    capture = Capture(10)
    assert capture.feed(BEGIN + b"0123456789abc" + END) == (b"", [(0, b"3456789abc")])
    assert capture.dropped == 3


def test_an_endless_passage_is_bounded() -> None:
    capture = Capture(1000)
    capture.feed(BEGIN)
    for _ in range(1000):
        capture.feed(b"x" * 1000)
    assert len(capture.passage or b"") == 1000


@pytest.mark.parametrize("data, count", [(b"", 0), (b"ab<", 1), (b"<<!", 2), (b"<!-", 3), (b"<!x", 0), (b"<!--", 0)])
def test_beginning_at_end(data: bytes, count: int) -> None:
    assert beginning_at_end(data, b"<!--") == count


def naive(stream: bytes) -> tuple[bytes, list[bytes]]:
    """The same over the whole stream at once."""
    output, passages = b"", list[bytes]()
    while True:
        before, begin, rest = stream.partition(BEGIN)
        output += before
        if not begin:
            return output, passages
        inside, end, stream = rest.partition(END)
        if not end:
            return output + BEGIN + inside, passages
        passages.append(inside)


parts = st.sampled_from([BEGIN, END, BEGIN[:-1], END[:5], b"<", b"<!--", b"-->", b"word"]) | st.binary(max_size=5)


@given(st.lists(parts, max_size=12).map(b"".join), st.lists(st.integers(0, 300), max_size=12))
def test_any_cut_of_any_stream(stream: bytes, places: list[int]) -> None:
    ends = sorted({place % (len(stream) + 1) for place in places} | {0, len(stream)})
    assert run([stream[a:b] for a, b in itertools.pairwise(ends)]) == naive(stream)
