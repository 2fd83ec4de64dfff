"""Ending what a program has started, wherever it hangs: the members of its trees.

A tree is whatever knows its members: a `Cgroup`, where one could be made, and always the `Session`. Every child is made
the leader of a session of its own (`spawn`), so the session id is the leader's pid, and what it starts is in that
session unless it left it by setsid(2). The kernel gives no number to a new process while a session still bears it, so a
session cannot be mistaken for another one while anybody is in it. When it has been empty, its number may be another
one's: that is told from the start times of its members (`Session`).
"""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from supervise.system.journal import start_time, ticks_now
from supervise.system.reap import Watch

log = logging.getLogger("supervise")

MARK = "SUPERVISE_TREE"  # in the environment of a program without a cgroup: what has left its session is known by it
ENVIRON = 64 << 10  # bytes of an environment that are looked at
ROUND = 10  # clock ticks in which the kernel, which gives numbers in turn, cannot have come round to the same one
HASTE = 5  # looks in a row, without a pause, at what comes up while others end


class Leftover(NamedTuple):
    """A process as it was seen; the number of a pid and the start time (clock ticks since boot) name it for ever."""

    pid: int
    starttime: int


class Tree(Protocol):
    """A set of processes that can be looked up, and asked."""

    def pids(self) -> Iterable[int]:
        """Those that may be in it."""

    def has(self, pid: int) -> bool:
        """Whether that process is in it now. False where there is no such process."""

    def kill(self) -> None:
        """Kill as much of it as can be killed in one act, before it forks on."""


@dataclass(slots=True)
class Session:
    """All of a session, and with a `mark` (a value of MARK) what has left it: whoever inherited that environment.

    One look at all processes, about 2 µs for each, and 12 µs with a mark. Without `sid`, only the mark counts.

    With `start`, the start time of its leader, and `seen`, a moment at which it was certainly that leader's, every look
    begins with the question whether it still is; if not, only the mark counts. It is if the leader is there. It is not
    if another process has the leader's number. If nobody has it: another session of that number would have begun by a
    leader that was started after ours was empty, so after `seen`, and others come into a session only by a fork in it.
    So whoever was started until `seen` is ours, and with him all the session, now: which is the next `seen`.
    """

    sid: int | None
    mark: str = ""
    start: int | None = None
    seen: float = 0.0  # clock ticks since boot
    _ours: bool = field(default=True, init=False, compare=False)

    def pids(self) -> Iterable[int]:
        if self.start is not None:
            self._ours = self._is_ours()
        return (int(name) for name in os.listdir("/proc") if name.isdecimal())

    def _is_ours(self) -> bool:
        if self.sid is None:
            return False
        now, leader = ticks_now(), start_time(self.sid)
        members = leftovers([Session(self.sid)]) if leader is None else set()
        ours = leader == self.start if leader is not None else any(m.starttime <= self.seen + ROUND for m in members)
        if ours:
            self.seen = now
        elif self._ours and (leader is not None or any(not self._is_marked(one.pid) for one in members)):
            log.warning("session %d may be another one's by now: what is in it is left alone", self.sid)
        return ours

    def has(self, pid: int) -> bool:
        try:
            session = os.getsid(pid)
            inside = (session == self.sid and self._ours) or (self.mark != "" and session != 0 and self._is_marked(pid))
        except OSError:  # it is gone, or may not be looked at
            return False
        return inside and pid not in {os.getpid(), os.getppid()}  # we may have been started by a program of ours

    def _is_marked(self, pid: int) -> bool:
        try:
            fd = os.open(f"/proc/{pid}/environ", os.O_RDONLY | os.O_CLOEXEC)  # a Path would take three times as long
        except OSError:  # it is gone, or may not be looked at
            return False
        try:
            environ = os.read(fd, ENVIRON)
        except OSError:
            return False
        finally:
            os.close(fd)
        return f"{MARK}={self.mark}".encode() in environ.split(b"\0")

    def kill(self) -> None:
        """By process group: a process that is about to fork, in a group that is killed, does not."""
        groups = set()
        for pid in self.pids():
            with suppress(ProcessLookupError):
                if self.has(pid):
                    groups.add(os.getpgid(pid))
        for group in groups - {0, 1, os.getpgrp()}:  # 0: of another pid namespace; 1: would be everybody
            with suppress(OSError):
                os.killpg(group, signal.SIGKILL)


class Leader(NamedTuple):
    """One process, without what it has started: its pid, and its start time."""

    pid: int
    start: int

    def pids(self) -> Iterable[int]:
        return (self.pid,)

    def has(self, pid: int) -> bool:
        return pid == self.pid and start_time(pid) == self.start

    def kill(self) -> None:
        """It alone cannot fork on."""


def leftovers(trees: Iterable[Tree], among: Collection[int] | None = None) -> set[Leftover]:
    """The living members of trees, session leaders included. `among`: where to look, if that is known already."""
    found = (pid for tree in trees for pid in (tree.pids() if among is None else among) if tree.has(pid))
    return {member for pid in found if (member := _living(pid)) is not None}


def describe(pid: int) -> str:
    """A process for the person on call: its name, and where it sleeps if nothing can wake it."""
    if (found := _stat(pid)) is None:
        return str(pid)
    name, fields = found
    if fields[0] != b"D":
        return f"{pid} ({name})"
    place = ""
    with suppress(OSError):
        place = Path(f"/proc/{pid}/wchan").read_text().strip("0")
    return f"{pid} ({name}, in uninterruptible sleep{place and ' at '}{place})"


def _living(pid: int) -> Leftover | None:
    """The process, unless it is a zombie."""
    if (found := _stat(pid)) is None:
        return None
    fields = found[1]
    if fields[0] in {b"Z", b"X"} and int(fields[17]) <= 1:  # else its first thread has ended, and others go on
        return None
    return Leftover(pid, int(fields[19]))


def _stat(pid: int) -> tuple[str, list[bytes]] | None:
    """The name of a process, and what follows it (proc_pid_stat(5): 0 is the state, 17 the threads, 19 the start)."""
    try:
        head, _, tail = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")
    except OSError:
        return None
    return head.partition(b"(")[2].decode(errors="replace"), tail.split()


class Sweeper:
    """Ends what is in trees: signals the members by pidfd, and calls `gone` when none is left, once for every `signal`.

    Members that appear while others are signalled are found when those have ended, and get the last signal too. `gone`
    is never called from within `signal`. Only for the thread of the running loop; nothing here polls.
    """

    def __init__(self, trees: Sequence[Tree], gone: Callable[[], None]) -> None:
        self._trees, self._gone, self._closed = trees, gone, False
        self._empty = False
        self._loop = asyncio.get_running_loop()
        self._watches: dict[Leftover, Watch] = {}
        self._signal, self._rounds = signal.SIGKILL.value, 0
        self._again: asyncio.Handle | None = None

    def signal(self, number: int) -> None:
        """Signal every member that there is now."""
        self._signal, self._rounds = number, 0
        self._send()

    def _send(self) -> None:
        if self._closed:
            return
        if self._empty:
            self._look(0.0)
            return
        number, missed = self._signal, False
        members = leftovers(self._trees)
        if number == signal.SIGKILL and members:
            for tree in self._trees:
                tree.kill()
        for member in members:
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
            self._look(self._pause())

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
        if _living(member.pid) != member or not any(tree.has(member.pid) for tree in self._trees):
            watch.cancel()
            raise ProcessLookupError(member.pid)
        self._watches[member] = watch
        return watch

    def _ended(self, member: Leftover) -> None:
        self._watches.pop(member, None)
        if not self._watches and not self._closed:
            self._look(self._pause())

    def _pause(self) -> float:
        """Before the next look: none, but for those who multiply as fast as they are found."""
        self._rounds += 1
        return 0.0 if self._rounds < HASTE else 0.05

    def _look(self, delay: float) -> None:
        if self._again:
            self._again.cancel()
        self._again = (
            self._loop.call_later(delay, self._look_again) if delay else self._loop.call_soon(self._look_again)
        )

    def _look_again(self) -> None:
        self._again = None
        if not self._empty and leftovers(self._trees):
            self._send()
        else:
            self._empty = (
                True  # for ever: nobody is there to start anything, and the session's number is free for others
            )
            self._gone()
