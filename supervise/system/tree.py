"""Ending what a program has started, wherever it hangs: the members of its trees.

A tree is whatever knows its members: a `Cgroup`, where one could be made, and always the `Session`. Every child is made
the leader of a session of its own (`spawn`), so the session id is the leader's pid, and what it starts is in that
session unless it left it by setsid(2). The kernel gives no number to a new process while a session still bears it, so a
session cannot be mistaken for another one while anybody is in it.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol

from supervise.system.reap import Watch

MARK = "SUPERVISE_TREE"  # in the environment of a program without a cgroup: what has left its session is known by it
ENVIRON = 64 << 10  # bytes of an environment that are looked at
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


class Session(NamedTuple):
    """All of a session, and with a `mark` (a value of MARK) what has left it: whoever inherited that environment.

    One look at all processes, about 2 µs for each, and 12 µs with a mark. Without `sid`, only the mark counts.
    """

    sid: int | None
    mark: str = ""

    def pids(self) -> Iterable[int]:
        return (int(name) for name in os.listdir("/proc") if name.isdecimal())

    def has(self, pid: int) -> bool:
        try:
            session = os.getsid(pid)
            inside = session == self.sid or (self.mark != "" and session != 0 and self._is_marked(pid))
        except OSError:  # it is gone, or may not be looked at
            return False
        return inside and pid not in {os.getpid(), os.getppid()}  # we may have been started by a program of ours

    def _is_marked(self, pid: int) -> bool:
        fd = os.open(f"/proc/{pid}/environ", os.O_RDONLY | os.O_CLOEXEC)  # a Path would take three times as long
        try:
            environ = os.read(fd, ENVIRON)
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
