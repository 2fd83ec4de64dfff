"""Which pipes flow."""

import os
import select
from collections.abc import Iterator

import pytest

from supervise.system.flows import EAGER, FLOW, SHY, SOON, Flows


class Pipe:
    """One with something in it, so that an epoll that watches it says so."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self.flows = Flows(self.epoll)
        self.fd, self.end = os.pipe()
        os.write(self.end, b"x")
        self.epoll.register(self.fd, select.EPOLLIN)

    def watched(self) -> bool:
        found = bool(self.epoll.poll(0))
        assert found is not (self.fd in self.flows.now)
        return found

    def look(self, count: int, times: int = 1, *, alone: bool = True) -> None:
        for _ in range(times):
            self.flows.note(self.fd, count, alone=alone)

    def wanted(self) -> int:
        """How many full looks it takes now until it flows; it does then."""
        for times in range(1, 2 * SHY):
            self.look(FLOW)
            if not self.watched():
                return times
        raise AssertionError("it never flows")

    def close(self) -> None:
        self.epoll.close()
        os.close(self.fd)
        os.close(self.end)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def test_one_of_several_flows_when_it_is_full_and_until_it_is_dry(pipe: Pipe) -> None:
    pipe.look(FLOW - 1, 1000, alone=False)
    assert pipe.watched()
    pipe.look(FLOW, alone=False)
    assert not pipe.watched()
    pipe.look(1, 1000, alone=False)
    assert not pipe.watched()
    pipe.look(0, alone=False)
    assert pipe.watched()


def test_one_alone_has_to_be_full_some_times_in_a_row(pipe: Pipe) -> None:
    for _ in range(10):
        pipe.look(FLOW, EAGER - 1)
        pipe.look(100)
    assert pipe.watched()
    assert pipe.wanted() == EAGER


def test_the_sooner_it_dries_up_the_longer_it_has_to_prove_itself(pipe: Pipe) -> None:
    proofs = []
    for _ in range(12):
        proofs.append(pipe.wanted())
        pipe.look(0)
    assert proofs[:3] == [EAGER, 2 * EAGER, 4 * EAGER]
    assert proofs[-2:] == [SHY, SHY]
    pipe.wanted()
    pipe.look(FLOW, SOON)
    pipe.look(0)
    assert pipe.wanted() == EAGER, "it has flowed for long enough"


def test_what_is_ignored_is_looked_at_in_neither_way(pipe: Pipe) -> None:
    for flowing in (False, True):
        if flowing:
            pipe.look(FLOW, alone=False)
        pipe.flows.ignore(pipe.fd)
        assert not pipe.flows.now
        assert not pipe.epoll.poll(0)
        pipe.look(FLOW, alone=False)  # the look during which it was to be ignored
        assert not pipe.flows.now
        pipe.epoll.register(pipe.fd, select.EPOLLIN)


def test_what_is_forgotten_leaves_nothing(pipe: Pipe) -> None:
    pipe.look(FLOW, alone=False)
    pipe.flows.forget(pipe.fd)
    assert not pipe.flows.now
    assert not pipe.flows._proofs
    assert not pipe.epoll.poll(0)
    pipe.look(FLOW, alone=False)  # the look that closed it
    assert not pipe.flows.now
    pipe.flows.forget(pipe.fd)
