"""What a pool of event listeners remembers beyond our death: the events that wait, and how each listener stands.

Every event is written down before a listener may be sent it, and again when somebody has accepted it or it is given
up; every step of a listener is written down when it is done, and that something is about to be written into its stdin
before it is. So the next daemon knows of each event whether it is settled, and of each listener what it owes: it goes
on talking to it as if nothing had happened. Only where it cannot tell whether a listener has got an event (the
microsecond between a write and its record) must that listener be started again, and gets the event then.
"""

import hashlib
import logging
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from supervise.core.pool import Item
from supervise.core.wire import Event
from supervise.system.entries import Entries, Entry, forget

log = logging.getLogger("supervise")

PREFIX = "events-"
SLACK = 256 * 1024  # bytes that the file may grow by, and then by its own length, before it is written anew


class Standing(NamedTuple):
    """How a listener stands."""

    stdin: int  # inodes of its pipes
    stdout: int
    state: int  # `ListenerState`
    stamp: int  # of the last reading from its stdout
    item: int | None = None  # poolserial of the event that it has in hands
    length: int = 0  # of that as it is sent, and how many bytes of it are not written yet
    unsent: int = 0
    sure: bool = True  # False: something is being written
    characters: bool = False  # whether that event's length counts characters
    text: bool = False  # it was found to read text


class Stood(NamedTuple):
    """What an earlier daemon knew of a listener."""

    standing: Standing
    said: bytes  # since it was in that state
    item: Item | None  # the event that it has in hands


class EventLog:
    """One pool's file, on the memory file system of the journal. Loop thread only; nothing raises.

    Without a directory (no memory) nothing is remembered.
    """

    def __init__(self, directory: str | None, pool: str) -> None:
        self.poolserial = 0  # of the next event
        self._pool, self._entries, self._failed = pool, None, False
        self._items: dict[int, Item] = {}  # that are not settled
        self._standings: dict[str, Entry] = {}
        self._limit = 0
        if directory is None:
            return
        try:
            self._entries = Entries(path_of(directory, pool))
        except OSError as error:
            self._fail(error)
            return
        for entry in self._entries.found:
            self._replay(entry)
        self._rewrite()

    def _replay(self, entry: Entry) -> None:
        facts, data = entry
        self.poolserial = max(self.poolserial, facts.get("poolserial", 0))
        if "type" in facts:
            number = facts["poolserial"] - 1
            self._items[number] = Item(Event(facts["serial"], facts["type"], data), number)
        for number in facts.get("settled", ()):
            self._items.pop(number, None)
        if "listener" in facts:
            self._standings[facts["listener"]] = Entry({**facts, "settled": []}, data)
        self._standings.pop(facts.get("ended", ""), None)

    # What was found

    def take_waiting(self) -> list[Item]:
        """The events that no listener has in hands, the oldest first."""
        held = {entry.facts["item"] for entry in self._standings.values()}
        return [item for number, item in sorted(self._items.items()) if number not in held]

    def stood(self, listener: str) -> Stood | None:
        """How a listener stands."""
        if (entry := self._standings.get(listener)) is None:
            return None
        facts = {name: entry.facts[name] for name in Standing._fields if name in entry.facts}
        standing = Standing(**facts)
        return Stood(standing, entry.data, self._items.get(standing.item) if standing.item is not None else None)

    def unclaimed(self, listener: str) -> Item | None:
        """Give a listener up that nobody talks to any more; the event that it has had."""
        stood = self.stood(listener)
        self.ended(listener)
        return stood.item if stood is not None else None

    @property
    def listeners(self) -> list[str]:
        """Of whom it is known how they stand."""
        return list(self._standings)

    # What happens

    def put(self, item: Item, gone: list[Item]) -> None:
        """There is a new event, which these have given way to."""
        self.poolserial = item.poolserial + 1
        self._items[item.poolserial] = item
        for each in gone:
            self._items.pop(each.poolserial, None)
        self._add(self._event(item, [each.poolserial for each in gone]))

    def _event(self, item: Item, settled: list[int]) -> Entry:
        facts = {"serial": item.event.serial, "poolserial": item.poolserial + 1, "type": item.event.type}
        return Entry(facts | ({"settled": settled} if settled else {}), item.event.payload)

    def stand(self, listener: str, standing: Standing, said: bytes, settled: Item | None = None) -> None:
        """So a listener stands; with that an event is settled, perhaps."""
        entry = Entry({"listener": listener, **standing._asdict()}, said)
        self._standings[listener] = entry
        if settled is None:
            self._add(entry)
        else:
            self._items.pop(settled.poolserial, None)
            self._add(Entry({**entry.facts, "settled": [settled.poolserial]}, said))

    def settle(self, item: Item) -> None:
        """Nobody need be told of an event any more."""
        if self._items.pop(item.poolserial, None) is not None:
            self._add(Entry({"settled": [item.poolserial]}))

    def ended(self, listener: str) -> None:
        """There is no such listener any more."""
        if self._standings.pop(listener, None) is not None:
            self._add(Entry({"ended": listener}))

    def close(self, *, remove: bool) -> None:
        """The end of the pool, or of the daemon."""
        if self._entries is not None:
            self._entries.close(remove=remove)
            self._entries = None

    # The file

    def renew(self, directory: str) -> bool:
        """If the file was removed, make it anew, there; whether that was done."""
        path = path_of(directory, self._pool)
        if self._entries is None or (self._entries.intact and self._entries.path == path):
            return False
        try:
            former, self._entries = self._entries, Entries(path)
        except OSError as error:
            self._fail(error)
            return False
        former.close(remove=False)
        self._rewrite()
        return True

    def _add(self, entry: Entry) -> None:
        """Add what everything in memory tells already."""
        if self._entries is None:
            return
        if self._failed or self._entries.size > self._limit:
            self._rewrite()
            return
        try:
            self._entries.append(entry)
        except OSError as error:
            self._fail(error)

    def _rewrite(self) -> None:
        assert self._entries is not None
        try:
            self._entries.rewrite(self._all())
        except OSError as error:
            self._fail(error)
        else:
            self._failed, self._limit = False, 2 * self._entries.size + SLACK

    def _all(self) -> Iterator[Entry]:
        yield Entry({"poolserial": self.poolserial})
        for item in self._items.values():
            yield self._event(item, [])
        yield from self._standings.values()

    def _fail(self, error: OSError) -> None:
        """Half of it would be worse than nothing: it is tried again, as a whole, with the next entry."""
        if not self._failed:
            log.error("the events of pool %s would be lost with this daemon: %s", self._pool, error)
        self._failed = True
        if self._entries is not None:
            self._entries.clear()


def path_of(directory: str, pool: str) -> str:
    """The file of a pool."""
    return f"{directory}/{PREFIX}{hashlib.sha256(pool.encode()).hexdigest()[:16]}"


def forget_others(directory: str, pools: Iterable[str]) -> None:
    """Remove the files of all other pools: they are not configured any more."""
    forget(directory, PREFIX, [path_of(directory, pool) for pool in pools])
