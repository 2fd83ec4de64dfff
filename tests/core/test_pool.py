"""The backlog of a pool of listeners."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from supervise.core.pool import MAX_BYTES, PATIENCE, PAUSES, Backlog, Item
from supervise.core.wire import Event


def event(serial: int, size: int = 10, type: str = "PROCESS_LOG_STDOUT") -> Event:
    return Event(serial, type, b"x" * size)


def serials(backlog: Backlog) -> list[int]:
    return [item.event.serial for item in backlog._waiting]


def take(backlog: Backlog, now: float = 0.0) -> Item:
    item = backlog.take(now)
    assert item is not None
    return item


def test_first_in_first_out_with_serials_of_its_own() -> None:
    backlog = Backlog(10)
    for serial in (5, 7, 9):
        assert backlog.put(event(serial)).given_up == []
    taken = [take(backlog) for _ in range(3)]
    assert [(item.event.serial, item.poolserial) for item in taken] == [(5, 0), (7, 1), (9, 2)]
    assert backlog.take(0.0) is None
    assert backlog.size == 0


def test_it_goes_on_where_another_stood() -> None:
    former, backlog = Backlog(10), Backlog(10)
    items = [former.put(event(serial, 30)).item for serial in (3, 4, 5)]
    backlog.resume(items[1:], 7)
    assert (len(backlog), backlog.size, backlog.put(event(6)).item.poolserial) == (2, 60, 7)
    assert serials(backlog) == [4, 5, 6]


def test_the_oldest_gives_way_when_there_are_too_many() -> None:
    backlog = Backlog(2)
    assert [item.event.serial for serial in range(4) for item in backlog.put(event(serial)).given_up] == [0, 1]
    assert backlog.dropped == 2
    assert serials(backlog) == [2, 3]


def test_the_oldest_give_way_when_they_are_too_large() -> None:
    backlog = Backlog(100, max_bytes=100)
    for serial in range(4):
        backlog.put(event(serial, 30))
    assert serials(backlog) == [1, 2, 3]
    backlog.put(event(4, 500))  # larger than the bound by itself: it alone
    assert serials(backlog) == [4]
    backlog.put(event(5, 1))
    assert serials(backlog) == [5]
    assert backlog.size == 1
    assert Backlog(1000).max_bytes == MAX_BYTES


def test_a_tick_takes_the_place_of_the_one_before() -> None:
    backlog = Backlog(10)
    backlog.put(event(0, type="TICK_5"))
    backlog.put(event(1))
    backlog.put(event(2, type="TICK_60"))
    assert [item.event.serial for item in backlog.put(event(3, type="TICK_5")).replaced] == [0]
    assert serials(backlog) == [1, 2, 3]
    assert backlog.dropped == 0
    assert backlog.size == 30


def test_what_is_put_back_comes_first_and_costs_nobody_its_place() -> None:
    backlog = Backlog(2)
    backlog.put(event(0))
    item = take(backlog)
    backlog.put(event(1))
    backlog.put(event(2))
    backlog.put_back(item)
    assert serials(backlog) == [0, 1, 2]
    assert backlog.dropped == 0
    assert take(backlog) is item


def test_what_is_rejected_again_and_again_is_slowed_down() -> None:
    backlog = Backlog(10)
    backlog.put(event(0))
    for _ in range(PATIENCE):
        backlog.reject(take(backlog), 100.0)
    assert backlog.due == 0.0
    backlog.reject(take(backlog), 100.0)
    assert backlog.due == 100.0 + PAUSES[0]
    assert backlog.take(100.0) is None
    for _ in range(60):
        backlog.reject(take(backlog, 1000.0), 100.0)
    assert backlog.due == 100.0 + PAUSES[1]


class Life(RuleBasedStateMachine):
    """Members that take, accept, reject and die, in any order: nothing is lost but what is said to be dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.backlog = Backlog(5, max_bytes=200)
        self.serial = 0
        self.out: list[Item] = []
        self.done: set[int] = set()
        self.dropped: set[int] = set()

    @rule(size=st.integers(0, 120))
    def put(self, size: int) -> None:
        self.dropped |= {item.event.serial for item in self.backlog.put(event(self.serial, size)).given_up}
        self.serial += 1

    @precondition(lambda self: len(self.out) < 2)
    @rule()
    def take(self) -> None:
        if (item := self.backlog.take(1e9)) is not None:
            self.out.append(item)

    @precondition(lambda self: self.out)
    @rule()
    def accept(self) -> None:
        self.done.add(self.out.pop(0).event.serial)

    @precondition(lambda self: self.out)
    @rule()
    def reject(self) -> None:
        self.backlog.reject(self.out.pop(), 0.0)

    @precondition(lambda self: self.out)
    @rule()
    def die(self) -> None:
        self.backlog.put_back(self.out.pop())

    @invariant()
    def every_event_is_somewhere(self) -> None:
        places = [serials(self.backlog), [item.event.serial for item in self.out], list(self.done), list(self.dropped)]
        assert sorted(serial for place in places for serial in place) == list(range(self.serial))

    @invariant()
    def it_is_bounded(self) -> None:
        assert len(self.backlog) <= 5 + 2
        assert self.backlog.size == sum(len(item.event.payload) for item in self.backlog._waiting)
        assert self.backlog.dropped == len(self.dropped)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
