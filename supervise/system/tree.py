"""What remains of a process after its leader is gone: the rest of its session.

Every child is made the leader of a session of its own (`spawn`), so the session id is the leader's pid, and what it
starts is in that session unless it left it by setsid(2). The kernel gives no number to a new process while a session
still bears it, so a session cannot be mistaken for another one.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

from supervise.system.reap import Watch


class Leftover(NamedTuple):
    """A process as it was seen; the number of a pid and the start time (clock ticks since boot) name it for ever."""

    pid: int
    starttime: int
    name: str


def leftovers(sid: int) -> list[Leftover]:
    """The living members of a session, its leader included. One look at all processes: about 1 µs for each."""
    found = []
    for pid in _pids():
        with suppress(OSError):  # it went away meanwhile
            if os.getsid(pid) == sid and (member := _member(pid, sid)):
                found.append(member)
    return found


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdecimal())


def _member(pid: int, sid: int) -> Leftover | None:
    """The process, unless it is a zombie or of another session (proc_pid_stat(5): 3 state, 6 session, 22 start)."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        head, _, tail = file.read().rpartition(b")")
    fields = tail.split()
    if fields[0] in {b"Z", b"X"} or int(fields[3]) != sid:
        return None
    return Leftover(pid, int(fields[19]), head.partition(b"(")[2].decode(errors="replace"))


class Sweeper:
    """Ends what remains of a session: signals its members by pidfd, and calls `gone` once when none is left.

    Members that appear while others are signalled are found when those have ended, and get the last signal too. `gone`
    is never called from within `signal`. Only for the thread of the running loop; nothing here polls.
    """

    def __init__(self, sid: int, gone: Callable[[], None]) -> None:
        self._sid, self._gone, self._closed = sid, gone, False
        self._loop = asyncio.get_running_loop()
        self._watches: dict[Leftover, Watch] = {}
        self._signal = signal.SIGKILL.value
        self._again: asyncio.Handle | None = None

    def signal(self, number: int) -> None:
        """Signal every member that there is now."""
        self._signal = number
        if self._closed:
            return
        missed = False
        for member in leftovers(self._sid):
            try:
                self._watch(member).signal(number)
            except (ProcessLookupError, PermissionError):
                continue  # it has ended; or it is another user's now, and stays to be reported
            except OSError:
                missed = True  # no descriptor to watch it by
                with suppress(OSError):
                    os.kill(member.pid, number)
        if missed:
            self._look(0.1)
        elif not self._watches:
            self._look(0.0)

    def close(self) -> tuple[int, ...]:
        """Stop caring; returns the pids of members that have not ended. `gone` will not be called any more."""
        self._closed = True
        if self._again:
            self._again.cancel()
        for watch in self._watches.values():
            watch.cancel()
        left = tuple(sorted(member.pid for member in self._watches))
        self._watches.clear()
        return left

    def _watch(self, member: Leftover) -> Watch:
        """A pidfd that is certainly of this member: looked at again after the pidfd was opened."""
        if watch := self._watches.get(member):
            return watch
        watch = Watch(self._loop, member.pid, lambda: self._ended(member))
        try:
            same = _member(member.pid, self._sid) == member
        except OSError:
            same = False
        if not same:
            watch.cancel()
            raise ProcessLookupError(member.pid)
        self._watches[member] = watch
        return watch

    def _ended(self, member: Leftover) -> None:
        self._watches.pop(member, None)
        if not self._watches and not self._closed:
            self._look(0.0)

    def _look(self, delay: float) -> None:
        if self._again:
            self._again.cancel()
        self._again = (
            self._loop.call_later(delay, self._look_again) if delay else self._loop.call_soon(self._look_again)
        )

    def _look_again(self) -> None:
        self._again = None
        if leftovers(self._sid):
            self.signal(self._signal)
        else:
            self.close()
            self._gone()
