"""Which pipes are read without asking epoll whether there is anything in them."""

import contextlib
import select

from supervise.system import swift

FLOW = 16 * 1024  # bytes at once from which on a pipe counts as full
EAGER, SHY = 8, 4096  # times in a row that one alone has been full before it flows: at first, at most
SOON = 200  # looks after which one has flowed for so long that it may dry up


class Flows:
    """The pipes that flow, of those that an epoll watches. Log thread.

    Epoll is told of every single write to a pipe that it watches, which takes the writer a fifth of its time: of those
    that flow, each is looked at in turn instead, until one look was in vain. A pipe that is read alone, by large writes
    above all, often has nothing for a moment, and would go to and fro: so it has to prove itself first, and for longer
    each time that it has dried up soon.
    """

    def __init__(self, epoll: select.epoll) -> None:
        self._epoll = epoll
        self.now: set[int] = set()
        self._proofs: dict[int, _Proof] = {}  # of those that were full once

    def note(self, fd: int, count: int, *, alone: bool) -> None:
        """A look at a pipe has just given `count` bytes; `alone`: it was the only one to look at."""
        proof = self._proofs.get(fd)
        if fd in self.now:
            assert proof is not None
            proof.times += 1
            if not count:
                proof.failed()
                self.now.remove(fd)
                with contextlib.suppress(FileExistsError):
                    self._epoll.register(fd, select.EPOLLIN)
        elif count >= FLOW:
            if proof is None:
                proof = self._proofs[fd] = _Proof()
            proof.times += 1
            if not alone or proof.times >= proof.wanted:
                proof.times = 0
                with contextlib.suppress(OSError):  # it was closed, or is to be ignored
                    self._epoll.unregister(fd)
                    self.now.add(fd)
        elif proof is not None:
            proof.times = 0

    def ignore(self, fd: int) -> None:
        """Look at it no more, in neither way."""
        self.now.discard(fd)
        with contextlib.suppress(OSError):  # it is not watched yet, or not any more
            self._epoll.unregister(fd)

    def forget(self, fd: int) -> None:
        """`ignore` one that is about to be closed."""
        self.now.discard(fd)
        self._proofs.pop(fd, None)
        swift.unregister(self._epoll, fd)


class _Proof:
    """How many times in a row it was full, or since it flows was looked at; and how many are wanted."""

    __slots__ = ("times", "wanted")

    def __init__(self) -> None:
        self.times, self.wanted = 0, EAGER

    def failed(self) -> None:
        self.wanted = min(2 * self.wanted, SHY) if self.times < SOON else EAGER
        self.times = 0
