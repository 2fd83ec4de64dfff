"""The listener protocol: stories, the table, and hypothesis over every way of cutting and every kind of garbage."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervise.core.listener import (
    MAX_LINE,
    MAX_RESULT,
    READERS,
    TRANSITIONS,
    BecameReady,
    ListenerMachine,
    ListenerState,
    Misuse,
    Outcome,
    Result,
    Token,
    Violation,
    result_length,
)

READY, BUSY = ListenerState.READY, ListenerState.BUSY
ACKNOWLEDGED, UNKNOWN = ListenerState.ACKNOWLEDGED, ListenerState.UNKNOWN


def busy() -> ListenerMachine:
    machine = ListenerMachine()
    assert machine.receive(b"READY\n") == [BecameReady()]
    machine.sent()
    return machine


def test_the_numbers_are_supervisords() -> None:
    assert {state.name: state.value for state in ListenerState} == {
        "READY": 10,
        "BUSY": 20,
        "ACKNOWLEDGED": 30,
        "UNKNOWN": 40,
    }


def test_the_tables_are_whole() -> None:
    assert set(TRANSITIONS) == set(READERS) == set(ListenerState)
    for state, token in itertools.product(ListenerState, Token):
        if token is Token.NOISE and state is not UNKNOWN:
            assert TRANSITIONS[state][token] is UNKNOWN


def test_one_event_after_another() -> None:
    machine = ListenerMachine()
    assert machine.state is ACKNOWLEDGED
    assert machine.receive(b"READY\n") == [BecameReady()]
    assert machine.state is READY
    machine.sent()
    assert machine.state is BUSY
    assert machine.receive(b"RESULT 2\nOK") == [Result(b"OK")]
    assert machine.state is BUSY  # until somebody has judged it
    assert machine.judged(Token.ACCEPTED) == []
    assert machine.state is ACKNOWLEDGED
    assert machine.receive(b"READY\n") == [BecameReady()]


def test_what_comes_with_the_result_waits_for_the_verdict() -> None:
    machine = busy()
    assert machine.receive(b"RESULT 4\nFAILREADY\n") == [Result(b"FAIL")]
    assert machine.judging
    assert machine.receive(b"") == []
    assert machine.judged(Token.REJECTED) == [BecameReady()]
    assert machine.state is READY


def test_a_result_may_be_empty_and_may_contain_anything() -> None:
    machine = busy()
    assert machine.receive(b"RESULT 0\n") == [Result(b"")]
    machine.judged(Token.ACCEPTED)
    machine.receive(b"READY\n")
    machine.sent()
    assert machine.receive(b"RESULT 9\nREADY\n\x00\xff\n") == [Result(b"READY\n\x00\xff\n")]


def test_a_handler_that_fails_may_end_it() -> None:
    machine = busy()
    machine.receive(b"RESULT 2\nOKREADY\n")
    assert machine.judged(Token.NOISE) == []
    assert machine.state is UNKNOWN


@pytest.mark.parametrize("said", [b"hello", b"\n", b"ready\n", b"READY \n", b"READX", b"RESULT 2\nOK", b"\xff"])
def test_nonsense_instead_of_ready(said: bytes) -> None:
    machine = ListenerMachine()
    (outcome,) = machine.receive(said)
    assert isinstance(outcome, Violation)
    assert outcome.line is None
    assert "READY was expected" in outcome.reason
    assert machine.state is UNKNOWN


def test_the_beginning_of_ready_is_waited_for() -> None:
    machine = ListenerMachine()
    assert [outcome for byte in b"READY" for outcome in machine.receive(bytes([byte]))] == []
    assert machine.receive(b"\n") == [BecameReady()]


def test_anything_while_ready() -> None:
    machine = ListenerMachine()
    machine.receive(b"READY\n")
    (outcome,) = machine.receive(b"x")
    assert isinstance(outcome, Violation)
    assert machine.state is UNKNOWN


@pytest.mark.parametrize(
    "line", [b"RESULT", b"RESULT x", b"RESULT -1", b"RESULT ", b"", b"RESULT 99999999999", b"garbage", b"READY"]
)
def test_a_bad_result_line(line: bytes) -> None:
    machine = busy()
    (outcome,) = machine.receive(line + b"\nOK")
    assert isinstance(outcome, Violation)
    assert outcome.line == line
    assert machine.state is UNKNOWN


def test_a_result_line_without_end() -> None:
    machine = busy()
    assert machine.receive(b"R" * (MAX_LINE - 1)) == []
    (outcome,) = machine.receive(b"R" * 100_000)
    assert isinstance(outcome, Violation)
    assert len(outcome.line or b"") == MAX_LINE
    assert len(outcome.reason) < 200
    (outcome,) = busy().receive(b"RESULT 2".ljust(MAX_LINE) + b"\nOK")
    assert isinstance(outcome, Violation)


@pytest.mark.parametrize(
    "line, length",
    [
        (b"RESULT 2", 2),
        (b"RESULT  2 \r", 2),
        (b"RESULT 007", 7),
        (b"RESULT 4194304", MAX_RESULT),
        (b"RESULT +2", 2),
        (b"RESULT 1_0", 10),
        (b"result 2", 2),
        (b"garbage 2", 2),
    ],
)
def test_result_lengths(line: bytes, length: int) -> None:
    """As supervisord 4.3.0 takes them."""
    assert result_length(line) == length


def test_a_result_that_is_too_large() -> None:
    assert result_length(b"RESULT %d" % (MAX_RESULT + 1)) is None


def test_after_a_violation_nothing_matters() -> None:
    machine = ListenerMachine()
    machine.receive(b"nonsense")
    assert machine.receive(b"READY\n" * 1000) == []
    assert machine.state is UNKNOWN
    assert not machine._buffer


@pytest.mark.parametrize("said", [b"", b"READY\n"])
def test_it_can_be_given_up_at_any_time(said: bytes) -> None:
    machine = ListenerMachine()
    machine.receive(said)
    for _ in range(2):
        machine.give_up()
        assert machine.state is UNKNOWN
    machine = busy()
    machine.receive(b"RESULT 2\nOKREADY\n")
    machine.give_up()
    assert (machine.state, machine.judging) == (UNKNOWN, False)


def test_misuse_is_told() -> None:
    machine = ListenerMachine()
    with pytest.raises(Misuse):
        machine.sent()
    with pytest.raises(Misuse):
        machine.judged(Token.ACCEPTED)
    with pytest.raises(Misuse):
        busy().sent()


def converse(pieces: list[bytes], verdicts: list[Token]) -> tuple[list[Outcome], ListenerState]:
    """Feed the pieces to a machine whose pool always has an event; results are judged by turns."""
    machine, turn = ListenerMachine(), itertools.cycle(verdicts)
    found: list[Outcome] = []
    for piece in pieces:
        coming = machine.receive(piece)
        while coming:
            outcome = coming.pop(0)
            found.append(outcome)
            if isinstance(outcome, BecameReady):
                machine.sent()
            elif isinstance(outcome, Result):
                coming += machine.judged(next(turn))
    return found, machine.state


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The data in pieces, cut at some places."""
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(ends)]


# A listener that answers an event only when it has got one never says READY and RESULT in one breath, so the two
# belong to different pieces; everything else may be cut anywhere.
honest = st.lists(st.binary(max_size=60), min_size=1, max_size=5)


@given(honest, st.lists(st.integers(0, 1000), max_size=10))
def test_honest_listeners_are_understood_however_their_words_are_cut(bodies: list[bytes], places: list[int]) -> None:
    pieces: list[bytes] = []
    for body in bodies:
        pieces += cut(b"READY\n", places)
        pieces += cut(b"RESULT %d\n%s" % (len(body), body), places)
    found, state = converse(pieces, [Token.ACCEPTED, Token.REJECTED])
    assert found == [outcome for body in bodies for outcome in (BecameReady(), Result(body))]
    assert state is ACKNOWLEDGED


words = st.sampled_from([b"READY\n", b"RESULT 2\nOK", b"RESULT 5\nhello", b"RESULT ", b"\n", b"READY", b"\x00"])


@given(st.lists(words | st.binary(max_size=20)), st.sampled_from([Token.ACCEPTED, Token.NOISE]))
def test_nothing_that_is_said_makes_it_raise(pieces: list[bytes], verdict: Token) -> None:
    found, state = converse(pieces, [verdict])
    violations = [outcome for outcome in found if isinstance(outcome, Violation)]
    assert violations == [outcome for outcome in found[-1:] if isinstance(outcome, Violation)]
    if violations:
        assert state is UNKNOWN


@given(st.binary(), st.lists(st.integers(0, 1000), max_size=10))
def test_how_the_answer_is_cut_does_not_change_its_meaning(said: bytes, places: list[int]) -> None:
    whole, pieces = busy(), busy()
    expected = whole.receive(b"RESULT 3\n" + said)
    found = [outcome for piece in cut(b"RESULT 3\n" + said, places) for outcome in pieces.receive(piece)]
    assert found == expected
    assert (pieces.state, pieces.judging) == (whole.state, whole.judging)


@given(body=st.binary(max_size=20), place=st.integers(0, 100))
def test_another_machine_goes_on_wherever_one_stood(body: bytes, place: int) -> None:
    said = b"RESULT %d\n%bREADY\n" % (len(body), body)
    first = busy()
    first.receive(said[:place])
    second = ListenerMachine(first.state)
    second.receive(first.said)
    for machine in (first, second):
        assert machine.said == said[:place]
        machine.receive(said[place:])
        assert machine.judging
        assert machine.judged(Token.ACCEPTED) == [BecameReady()]
        assert (machine.state, machine.said) == (READY, b"")
