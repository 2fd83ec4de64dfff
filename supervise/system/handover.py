"""What comes from the daemon before us, and what is kept for the one after us: descriptors, each under a name.

    pipe-INODE            our end of a log pipe, or of the stdout of an event listener
    stdin-INODE           our end of a program's stdin, where it cannot be opened anew (see `Stdin`), or of a listener's
    tee-INODE             the end of a log pipe through which we pass on what a listener says
    process-PID-START     a pidfd, through which the kernel tells how that process ended
    control-…             listening sockets of the control interface
    socket-INODE          listening sockets of programs, known again by their address
    fd-NUMBER             what the first daemon has inherited and the configuration names as a log, under its number
    lock                  the pidfile

They reach us by inheritance (`bequest`: an upgrade in place, or the keeper) or from systemd's store of descriptors
(sd_listen_fds(3)). A pipe that nobody has kept is opened anew through /proc, where a process that still has it shows it
(proc_pid_fd(5)). What was written into it before the last such process ended is lost then.
"""

import os
import time
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from supervise.system.bequest import duplicate, inherit, move
from supervise.system.fsuser import look_into
from supervise.system.pidfd import exit_status
from supervise.system.threads import within

FIRST_PASSED = 3  # SD_LISTEN_FDS_START
ENDS_KEPT = 4096  # how many processes that somebody else has reaped are remembered
PATIENCE = 1.0  # seconds that the opening of a pipe may take, which a program can keep locked (see `pipes`)
LOOKS = 50  # at who should have a pipe, and runs meanwhile: of a shell in a busy loop, a third of them see nothing
LOOKING = 0.1  # seconds of processor time for them, once all have been looked at: some have a million descriptors open


class Safe(Protocol):
    """Somebody who keeps copies of descriptors beyond our death. Any thread; never blocks, never raises."""

    reaps: bool  # and takes, and tells, the exit statuses of our children after that

    def hold(self, name: str, fd: int) -> None: ...

    def release(self, name: str) -> None: ...


class Handover:
    """Descriptors by name: received ones until they are taken, and those in use, to be handed on.

    `hold` and `release` may be called in any thread, everything else is for one.
    """

    def __init__(self, received: Mapping[str, int] | None = None, facts: Mapping[str, Any] | None = None) -> None:
        self.facts: Mapping[str, Any] = facts or {}
        self.safe: Safe | None = None
        self._received = dict(received or {})
        self._kept = frozenset(self._received)  # whoever gave them to us keeps them still
        self._held: dict[int, str] = {}
        self._numbers: dict[str, int] = {}
        self._ends: dict[tuple[int, int], int] = {}
        self._seen: dict[int, list[str]] | None = None
        self.locked = set[int]()  # pipes that could not be opened, since their program keeps them locked
        self.sockets = [fd for name in self.names("socket-") if (fd := self.take(name)) is not None]
        for name in self.names("fd-"):
            self.take(name)
        for pid, start, status in self.facts.get("ends", ()):
            self.ended(pid, start, status)

    @classmethod
    def receive(cls, environ: MutableMapping[str, str], pid: int) -> "Handover":
        """All that was given to us; its variables are taken out of `environ`."""
        received, facts = inherit(environ)
        return cls(put_back({**passed(environ, pid), **received}), facts)

    # Descriptors

    def attach(self, safe: Safe) -> None:
        """There is somebody now who keeps what is held, and what will be."""
        self.safe = safe
        for name, fd in self._numbers.items():
            if name not in self._kept:
                safe.hold(name, fd)

    def take(self, name: str) -> int | None:
        """What was received under this name: the caller's to close, and still held. None if there is nothing."""
        fd = self._received.pop(name, None)
        if fd is not None:
            self._held[fd], self._numbers[name] = name, fd
        return fd

    def names(self, prefix: str) -> list[str]:
        """The names of what was received and not taken yet that begin so."""
        return [name for name in self._received if name.startswith(prefix)]

    def hold(self, fd: int, name: str) -> None:
        """From now on this descriptor outlives us, instead of another one held by that name. `release` comes before
        it is closed."""
        if self._numbers.get(name) == fd:
            return
        self._held[fd], self._numbers[name] = name, fd
        if self.safe is not None:
            self.safe.hold(name, fd)

    def hold_pipe(self, fd: int) -> None:
        """`hold` for our end of a log pipe."""
        self.hold(fd, f"pipe-{os.fstat(fd).st_ino}")

    def release(self, fd: int) -> None:
        """This descriptor is not to be kept any more. One that is not held is no mistake."""
        name = self._held.pop(fd, "")
        if self._numbers.get(name) == fd:
            del self._numbers[name]
            if self.safe is not None:
                self.safe.release(name)

    def drop(self, fd: int) -> None:
        """Close a descriptor that is not to be kept any more."""
        self.release(fd)
        os.close(fd)

    @property
    def held(self) -> dict[str, int]:
        """Everything that is to be handed on, received and not taken yet included."""
        return self._received | self._numbers

    def close(self) -> None:
        """Close and release what was received and not taken: nobody wants it any more."""
        for fd in [fd for name in self.names("") if (fd := self.take(name)) is not None] + self.sockets:
            self.drop(fd)
        self.sockets.clear()
        self._seen = None

    # Pipes

    def pipe(self, inode: int, pid: int | None = None) -> int | None:
        """Our end of a log pipe, non-blocking and the caller's to close: kept for us, or found with a process that has
        it, above all with `pid`, to whom it was given. None if nobody has it any more, or it is `locked`."""
        if (fd := self.take(f"pipe-{inode}")) is not None:
            return fd
        for path in self._places(inode, pid):
            with suppress(OSError):  # it has just closed it
                opening = partial(os.open, path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                look = partial(look_into, path.split("/")[2], opening)
                try:
                    fd = within(PATIENCE, look, "pipes", late=os.close)
                except TimeoutError:
                    self.locked.add(inode)
                    return None
                if os.fstat(fd).st_ino == inode:
                    return fd
                os.close(fd)
        return None

    def leader_with(self, inode: int) -> int | None:
        """The session leader whose stdout is that pipe: a child whose pid nobody wrote down."""
        for path in self._places(inode):
            pid = int(path.split("/")[2])
            with suppress(OSError):
                if path.endswith("/fd/1") and os.getsid(pid) == pid:
                    return pid
        return None

    def _places(self, inode: int, pid: int | None = None) -> Iterator[str]:
        """Where the pipe was seen; then where it is by now, with those who had it and with `pid`."""
        seen = self._holders(inode)
        yield from seen
        yield from places(inode, {path.split("/")[2] for path in seen} | ({str(pid)} if pid is not None else set()))

    def _holders(self, inode: int) -> Sequence[str]:
        """Where in /proc the pipe shows; all of /proc is looked at once."""
        if self._seen is None:
            self._seen = {}
            for found, path in pipes_in_use():
                self._seen.setdefault(found, []).append(path)
        return self._seen.get(inode, ())

    # Ends

    def entrust(self, pid: int, start: int | None) -> None:
        """A child has been spawned: if nobody takes its status after our death, have a pidfd kept that knows it."""
        if self.safe is not None and not self.safe.reaps:
            with suppress(OSError):
                pidfd = os.pidfd_open(pid)
                self.safe.hold(f"process-{pid}-{start}", pidfd)
                os.close(pidfd)

    def dismiss(self, pid: int, start: int | None) -> None:
        """It has ended, and its end is known."""
        if self.safe is not None and not self.safe.reaps:
            self.safe.release(f"process-{pid}-{start}")

    def ended(self, pid: int, start: int, status: int) -> None:
        """Somebody (the keeper) tells how a process ended that he has reaped."""
        self._ends[pid, start] = status
        if len(self._ends) > ENDS_KEPT:
            del self._ends[next(iter(self._ends))]

    def status(self, pid: int, start: int) -> int | None:
        """The wait status of a process, if we were told. A pid alone is not enough: it may have been used again."""
        return self._ends.get((pid, start))

    def end_of(self, pid: int, start: int | None) -> tuple[int | None, bool]:
        """How a process ended that is not there any more, as `Exited` wants it: None if nobody knows."""
        if start is None:
            return None, False
        status = self.status(pid, start)
        if (fd := self.take(f"process-{pid}-{start}")) is not None:
            status = exit_status(fd) if status is None else status
            self.drop(fd)
        if status is None:
            return None, False
        return os.waitstatus_to_exitcode(status), os.WIFSIGNALED(status) and os.WCOREDUMP(status)


def passed(environ: MutableMapping[str, str], pid: int) -> dict[str, int]:
    """What systemd has passed to us (sd_listen_fds(3)), by name. The variables are taken out of `environ`."""
    for_pid, count, names = (environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"))
    if for_pid != str(pid) or not count.isdecimal():
        return {}
    named = zip(range(FIRST_PASSED, FIRST_PASSED + int(count)), names.split(":"), strict=False)
    return {name: moved for fd, name in named if (moved := move(fd)) is not None}


def put_back(received: Mapping[str, int]) -> dict[str, int]:
    """The same, with every fd-NUMBER under its number."""
    placed = dict(received)
    for name in received:
        kind, _, number = name.rpartition("-")
        if kind != "fd" or not number.isdecimal() or placed[name] == int(number):
            continue
        with suppress(OSError):  # so many are not allowed any more
            for other in [other for other, fd in placed.items() if fd == int(number)]:
                placed[other] = duplicate(int(number))
            os.dup2(placed[name], int(number), inheritable=False)
            os.close(placed[name])
            placed[name] = int(number)
    return placed


def name_of(fd: int, kind: str = "pipe") -> str:
    """The name of a pipe. Raises OSError."""
    return f"{kind}-{os.fstat(fd).st_ino}"


def pipes_in_use() -> Iterator[tuple[int, str]]:
    """Every pipe of every process that we may look at: its inode, and /proc/PID/fd/N."""
    for pid in os.listdir("/proc"):
        if pid.isdecimal():
            with suppress(OSError):
                yield from look_into(pid, partial(_pipes_of, pid))


def _pipes_of(pid: str) -> list[tuple[int, str]]:
    found = []
    for number in os.listdir(f"/proc/{pid}/fd"):
        path = f"/proc/{pid}/fd/{number}"
        with suppress(FileNotFoundError):  # it has just been closed
            target = os.readlink(path)
            if target.startswith("pipe:["):
                found.append((int(target[6:-1]), path))
    return found


def places(inode: int, pids: Iterable[str]) -> Iterator[str]:
    """Where a pipe is with these processes, as /proc/PID/fd/N; looked at anew, many times, for whom that was wrong.

    A shell moves its stdout to another number while a command of its own (`echo … >> file`) writes elsewhere, some
    20 µs, and its stdin for `read x < file`: whoever looks at its descriptors one after the other, and opens one later,
    may miss the pipe. Who slept all the while has moved nothing, and is looked at once.
    """
    looking, since = set(pids), time.thread_time()
    for _ in range(LOOKS):
        for pid in tuple(looking):
            try:
                before = _asleep(pid)
                found = [path for number, path in look_into(pid, partial(_pipes_of, pid)) if number == inode]
                if not found and before is not None and before == _asleep(pid):
                    looking.remove(pid)
            except OSError:  # it is gone, or hidden
                looking.remove(pid)
                continue
            yield from found
        if not looking or time.thread_time() - since > LOOKING:
            return


def _asleep(pid: str) -> bytes | None:
    """How often that process had been switched away from when it fell asleep (proc_pid_status(5)); None if it runs, or
    the kernel does not tell. Raises OSError."""
    with open(f"/proc/{pid}/status", "rb") as file:
        status = file.read()
    _, _, switches = status.partition(b"\nvoluntary_ctxt_switches:")
    return switches if switches and b"\nState:\tR" not in status else None


def is_hidden(pid: int) -> bool:
    """Whether we may not look at what that process has open. (It is not dumpable, prctl(2), and we lack a right.)"""
    try:
        look_into(pid, partial(_pipes_of, str(pid)))
    except PermissionError:
        return True
    except OSError:
        pass
    return False
