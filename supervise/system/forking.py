"""The forker, as seen from the daemon: a small process that starts the programs of other users for it."""

import array
import ctypes
import json
import os
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, TypeAlias

from supervise.system import forker, script
from supervise.system.environment import encoded, variable
from supervise.system.inherited import inherited
from supervise.system.reap import Reaper

TRIES = 2
PATIENCE = 3.0  # seconds for the forker, and for a child until only its user or a disk can delay it
SLOW, QUICK = 0.5, 0.05  # seconds that a child may then take until it is executed, while we wait: at most, and always
REST = 10  # times as long as a child was waited for, only QUICK is waited again
TITLE = "forker of supervise"
AVAILABLE = os.uname().machine in forker.CLONE and ctypes.sizeof(ctypes.c_void_p) == 8


Stage: TypeAlias = Literal["lookup", "fork", "user", "chdir", "exec"]


class NotStarted(Exception):
    """`stage` says how far the child came, `number` is the errno."""

    def __init__(self, stage: Stage, number: int) -> None:
        super().__init__(f"{stage}: {os.strerror(number)}")
        self.stage, self.number = stage, number


class Forker:
    """Runs when it is needed, and again if it has died. Loop thread only.

    Whoever may do something to a child before it is executed can delay that: its user can stop it, a disk can hang.
    So we wait for it SLOW seconds at most, and seldom. Then it counts as begun, and that it was not executed is only
    seen by its end (status 127), as with supervisord.
    """

    def __init__(self, reaper: Reaper) -> None:
        self._reaper = reaper
        self._program = Path(forker.__file__).read_bytes()  # ours, whatever is installed in its place later
        self._link: socket.socket | None = None
        self._pid = 0
        self._inherited: tuple[object, ...] = ()
        self._slow = set[int]()  # children whose end or beginning we have not been told
        self._rest = 0.0  # until then, we only wait QUICK

    def begin(self) -> bool:
        """Have it run: it needs 20 ms to get ready, which need not be waited for. False: there can be none."""
        if self._link is None and AVAILABLE:
            try:
                self._begin()
            except OSError:  # no descriptors, no processes, no interpreter any more
                return False
        return self._link is not None

    def follow(self) -> bool:
        """`begin`, if need be anew: it has died, or others have changed what our children inherit from us."""
        if self._link is not None and (self._inherited != inherited() or self._has_died()):
            self.close()
        return self.begin()

    def _begin(self) -> None:
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        path = "LD_LIBRARY_PATH"
        env = {path: os.environ[path]} if path in os.environ else {}  # where the interpreter cannot do without
        with ExitStack() as failed, its:
            failed.callback(ours.close)
            self._inherited = inherited()
            pid = script.start(self._program, its, flags=("-I", "-S"), title=TITLE, env=env)
            failed.pop_all()
        self._link, self._pid = ours, pid
        self._reaper.watch(pid, lambda *_: self._gone(pid))

    def start(
        self,
        filename: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        fds: Sequence[int],
        directory: str | None,
        umask: int | None,
        *,
        group: int,
        user: int | None = None,
        extra_groups: Sequence[int] | None = None,
        cgroup: str | None = None,
    ) -> int | None:
        """The pid of a new child of ours, which executes that in a session of its own; None: use another way.

        `fds` are its descriptors 0, 1, 2, … Where it shall be in another `cgroup` (a directory), we may be in that
        ourselves. Blocks for about 1 ms, see above. Raises NotStarted, ValueError (a null byte).
        """
        order: dict[str, object] = {
            "words": len(argv),
            "directory": directory and _text(directory),
            "cgroup": cgroup and _text(cgroup),
            "umask": umask,
            "user": user,
            "group": group,
            "groups": extra_groups,
        }
        texts = [encoded(filename), *map(encoded, argv), *(variable(*item) for item in env.items())]
        message = b"\0".join([json.dumps(order).encode(), *texts])
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        for _ in range(TRIES):
            if (cgroup is None and not self.begin()) or self._link is None:
                return None
            try:
                self._link.settimeout(PATIENCE)
                self._link.sendmsg([message], rights, socket.MSG_NOSIGNAL)
            except (BrokenPipeError, TimeoutError):  # it has been killed, and we have not reaped it yet; or stopped
                self.close()
                continue
            except OSError:  # EMSGSIZE: so long an environment is nothing for us
                return None
            return self._answer(self._link)
        return None

    def _answer(self, link: socket.socket) -> int | None:
        """The answers to an order (see `forker`). Raises NotStarted."""
        known, since, killed = 0, 0.0, False
        while True:
            try:
                message = link.recv(forker.ANSWER.size)
            except ConnectionResetError:
                message = b""
            except TimeoutError:
                if known:  # its user keeps it, or a disk that hangs
                    self._slow.add(known)
                    self._waited(since)
                    return known
                if killed:  # nobody is ready from here on; who was ready before this can still be read
                    link.shutdown(socket.SHUT_RDWR)
                elif self._pid:  # the forker is stopped
                    os.kill(self._pid, signal.SIGKILL)
                killed = True
                continue
            if not message:  # the forker was killed. Its child goes on if it was ready, and else cannot say that it is
                self.close()
                return known or None
            pid, place, number = map(int, forker.ANSWER.unpack(message))
            stage = forker.STAGES[place]
            if stage == "ready":
                known, since = pid, time.monotonic()
                link.settimeout(SLOW if since >= self._rest else QUICK)
                continue
            if pid in self._slow:  # an earlier one
                self._slow.discard(pid)
                continue
            if known:
                self._waited(since)
            if not stage:
                return pid
            if pid:
                self._reaper.take(pid, QUICK)
            if stage == "fork":
                return None
            raise NotStarted(stage, number)

    def _waited(self, since: float) -> None:
        """A child that was ready then has kept us until now."""
        now = time.monotonic()
        if now - since > QUICK:
            self._rest = max(self._rest, now + REST * (now - since))

    def _has_died(self) -> bool:
        return os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _gone(self, pid: int) -> None:
        if pid == self._pid:
            self._pid = 0
            self.close()

    def close(self) -> None:
        """Have it end at once. The next `start` makes another."""
        self._slow.clear()
        if self._link is not None:
            self._link.close()
            self._link = None
        if self._pid:  # our child, which keeps its pid until it is reaped
            os.kill(self._pid, signal.SIGKILL)
            self._reaper.take(self._pid)
            self._pid = 0


def _text(text: str) -> str:
    """As a program shall see it, a character for a byte. Raises ValueError."""
    return encoded(text).decode("latin-1")
