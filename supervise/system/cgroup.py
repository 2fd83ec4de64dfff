"""A control group for each process tree (cgroups(7), version 2): nothing that a program starts leaves it by forking,
by a session of its own or by the death of its parent, and the kernel kills all of it at once (Linux 5.14).

1. *Only where it is ours to divide.* Groups are made below the one that we are in: if systemd has delegated that to us
   (Delegate=yes), or if no systemd is in charge and we may write there. No controller is enabled, so nothing is
   accounted or limited by it, and we may stay where we are.
2. *Born there.* We step into the group for the moment of a spawn. A child that is moved there afterwards may have
   started something before, and what that is nobody knows any more. The kernel takes one grace period for the step,
   0.02 ms when there was another one just before, else about 6 ms (measured).
3. *Known by its name.* It has that of the daemon and of the program, so another daemon after us finds it again.
"""

import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

LONGEST = 200  # bytes of a directory's name; NAME_MAX is 255

log = logging.getLogger("supervise")


class Cgroup(NamedTuple):
    """A group: its directory, and its name as processes bear it (/proc/PID/cgroup). It need not exist any more."""

    path: str
    name: str

    def pids(self) -> list[int]:
        """All processes in it and in groups below it; none if we are in it ourselves."""
        found: list[int] = []
        if self.has(os.getpid()):
            return found
        for directory, _, _ in os.walk(self.path):
            with suppress(OSError):
                found += map(int, Path(directory, "cgroup.procs").read_bytes().split())
        return [pid for pid in found if pid]  # 0: of another pid namespace

    def has(self, pid: int) -> bool:
        """Whether that process is in it, or in a group below it."""
        name = name_of(pid)
        return name is not None and _contains(self.name, name)

    def kill(self) -> None:
        """Kill all of it, without a chance to fork on. Nothing happens where the kernel cannot, or if we are in it."""
        if not self.has(os.getpid()):
            with suppress(OSError):
                Path(self.path, "cgroup.kill").write_bytes(b"1")

    def remove(self) -> None:
        """Remove it, with what is below it, as far as nothing runs there."""
        for directory, _, _ in os.walk(self.path, topdown=False):
            with suppress(OSError):
                os.rmdir(directory)


class Cgroups:
    """The groups of one daemon's programs. `problem` says why there are none, once somebody has asked for one."""

    def __init__(self, prefix: str) -> None:
        """`prefix` tells their names from those of other daemons."""
        self._prefix, self.problem = prefix, ""
        self._own: Cgroup | None = None
        self._looked = False

    def called(self, program: str) -> str:
        """The name of a program's group: that of its directory."""
        name = self._prefix + quote(program, safe=":")
        return name if len(name) <= LONGEST else self._prefix + hashlib.sha256(program.encode()).hexdigest()

    @contextmanager
    def within(self, program: str) -> Iterator[Cgroup | None]:
        """Inside, what is spawned is born in the program's group, made if need be; None: it cannot be.

        Nothing may run in between but the spawn itself: all of this process is in that group meanwhile.
        """
        cgroup = self._enter(program)
        try:
            yield cgroup
        finally:
            if cgroup is not None:
                self._leave()

    def find(self, program: str) -> Cgroup | None:
        """The program's group, if there is one, and we are not in it ourselves."""
        own = self._home()
        if own is None:
            return None
        cgroup = _below(own, self.called(program))
        return cgroup if os.path.isdir(cgroup.path) else None

    def around(self, pid: int, program: str) -> Cgroup | None:
        """The program's group, wherever a daemon before us has made it, if that process is in it, and we are not."""
        own, name, called = self._home(), name_of(pid), self.called(program)
        head, found, _ = f"{name}/".partition(f"/{called}/")
        if own is None or not found or _contains(f"{head}/{called}", own.name):
            return None
        mount = own.path.removesuffix(own.name)
        return Cgroup(f"{mount}{head}/{called}", f"{head}/{called}")

    def clean(self) -> None:
        """Remove those in which nothing runs any more."""
        own = self._own
        if own is not None:
            for directory in Path(own.path).glob(f"{self._prefix}*"):
                _below(own, directory.name).remove()

    def _home(self) -> Cgroup | None:
        """The group we are in, if it is ours to divide."""
        if not self._looked:
            self._looked, self._own = True, None
            try:
                self._own = _divisible()
                self.clean()
            except OSError as error:
                self.problem = error.strerror or str(error)
        return self._own

    def _enter(self, program: str) -> Cgroup | None:
        own = self._home()
        if own is not None and own.name != name_of(os.getpid()):  # somebody has moved us
            self._looked = False
            own = self._home()
        if own is None:
            return None
        cgroup = _below(own, self.called(program))
        try:
            with suppress(FileExistsError):
                os.mkdir(cgroup.path)
            if Path(cgroup.path, "cgroup.freeze").read_bytes().strip() != b"0":
                raise OSError(0, f"{cgroup.path} is frozen")  # as we should be
            _move(cgroup)
        except OSError as error:
            self.problem = error.strerror or str(error)
            return None
        return cgroup

    def _leave(self) -> None:
        own = self._own
        try:
            if own is not None:
                _move(own)
        except OSError as error:
            self._own, self.problem = None, f"cannot go back to {own and own.path}: {error.strerror}"
            log.critical("process trees cannot be told apart by cgroup any more: %s", self.problem)


def name_of(pid: int) -> str | None:
    """The group that a process is in, "" for the root; None if there is no such process, or no cgroup version 2."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_bytes().splitlines()
    except OSError:
        return None
    names = [os.fsdecode(line[3:]) for line in lines if line.startswith(b"0::")]
    return names[0].rstrip("/") if names else None


def _move(cgroup: Cgroup) -> None:
    """Move all of this process there. Raises OSError."""
    Path(cgroup.path, "cgroup.procs").write_bytes(b"0")


def _contains(outer: str, inner: str) -> bool:
    return inner == outer or inner.startswith(f"{outer}/")


def _below(own: Cgroup, called: str) -> Cgroup:
    return Cgroup(f"{own.path}/{called}", f"{own.name}/{called}")


def _divisible() -> Cgroup:
    """The group that we are in. Raises OSError: there is none, we cannot see or write it, or it is systemd's."""
    name = name_of(os.getpid())
    if name is None:
        raise OSError(0, "there is no cgroup version 2")
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        root, mount = before.split()[3:5]
        if after.startswith("cgroup2 ") and root == "/":
            path = mount + name
            break
    else:
        raise OSError(0, "cgroup version 2 is not mounted")
    if not os.access(f"{path}/cgroup.procs", os.W_OK) or not os.access(path, os.W_OK):
        raise OSError(0, f"{path} is not ours to write")
    if os.path.isdir("/run/systemd/system") and not _is_delegated(path):
        raise OSError(0, f"systemd has not delegated {path} (Delegate=yes)")
    own = Cgroup(path, name)
    _move(own)  # where we are, to see whether we may come back
    return own


def _is_delegated(path: str) -> bool:
    """systemd says so at the directory itself: for root since version 236, for everybody since 251."""
    for attribute in ("user.delegate", "trusted.delegate"):
        with suppress(OSError):
            if os.getxattr(path, attribute) == b"1":
                return True
    return False
