"""The forker, as seen from the daemon: a small process that starts the programs of other users for it."""

import array
import ctypes
import json
import os
import platform
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Literal, TypeAlias

from supervise.system import forker
from supervise.system.reap import Reaper

TRIES = 2
PATIENCE = 3.0  # seconds for one step of a start, before another way is taken
ANSWER = 100  # bytes, at most
TITLE = ("forker", "of", "supervise")  # for ps(1)
AVAILABLE = platform.machine() in forker.CLONE and ctypes.sizeof(ctypes.c_void_p) == 8


Stage: TypeAlias = Literal["lookup", "fork", "user", "chdir", "exec"]


class NotStarted(Exception):
    """`stage` says how far the child came, `number` is the errno."""

    def __init__(self, stage: Stage, number: int) -> None:
        super().__init__(f"{stage}: {os.strerror(number)}")
        self.stage, self.number = stage, number


class Forker:
    """Runs when it is needed, and again if it has died. Loop thread only."""

    def __init__(self, reaper: Reaper) -> None:
        self._reaper = reaper
        self._program = Path(forker.__file__).read_bytes()  # ours, whatever is installed in its place later
        self._link: socket.socket | None = None
        self._pid = 0

    def begin(self) -> bool:
        """Have it run: it needs 20 ms to get ready, which need not be waited for. False: there can be none."""
        if self._link is None and AVAILABLE:
            try:
                self._begin()
            except OSError:  # no descriptors, no processes, no interpreter any more
                return False
        return self._link is not None

    def _begin(self) -> None:
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        number = its.fileno()
        command = [sys.executable, "-I", "-S", "-", str(number), str(os.getpid()), *TITLE]
        with ExitStack() as failed, its:
            failed.callback(ours.close)
            quiet = subprocess.DEVNULL
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=quiet,
                stderr=quiet,
                env={},
                pass_fds=[number],
                start_new_session=True,
            )
            process.returncode = 0  # reaping is the reaper's business
            failed.pop_all()
        ours.settimeout(PATIENCE)
        self._link, self._pid = ours, process.pid
        self._reaper.watch(self._pid, lambda *_: self._gone(process.pid))
        assert process.stdin is not None
        with suppress(BrokenPipeError), process.stdin:
            process.stdin.write(self._program)

    def start(
        self,
        filename: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        fds: tuple[int, int, int],
        directory: str | None,
        umask: int | None,
        *,
        group: int,
        user: int | None = None,
        extra_groups: Sequence[int] | None = None,
    ) -> int | None:
        """The pid of a new child of ours, which has executed that in a session of its own; None: use another way.

        Blocks until then, for about 1 ms. Raises NotStarted, ValueError (a null byte).
        """
        if any("\0" in word for word in (filename, *argv, *env.keys(), *env.values(), directory or "")):
            raise ValueError("embedded null byte")
        order = {"filename": filename, "argv": argv, "env": env, "directory": directory, "umask": umask}
        message = json.dumps(order | {"user": user, "group": group, "groups": extra_groups}).encode()
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        for _ in range(TRIES):
            if not self.begin() or self._link is None:
                return None
            try:
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
        known, killed = 0, False
        while True:
            try:
                message = link.recv(ANSWER)
            except ConnectionResetError:
                message = b""
            except TimeoutError:  # the forker is stopped, or its child waits for a disk that hangs
                if killed:  # nobody is ready from here on; who was ready before this can still be read
                    link.shutdown(socket.SHUT_RDWR)
                elif self._pid:
                    os.kill(self._pid, signal.SIGKILL)
                killed = True
                continue
            if not message:  # the forker was killed. Its child goes on if it was ready, and else cannot say that it is
                self.close()
                return known or None
            pid, stage, number = json.loads(message)
            match stage:
                case "ready":
                    known = pid
                case "":
                    return int(pid)
                case _:
                    if pid:
                        self._reaper.take(pid)
                    if stage == "fork":
                        return None
                    raise NotStarted(stage, number)

    def _gone(self, pid: int) -> None:
        if pid == self._pid:
            self._pid = 0
            self.close()

    def close(self) -> None:
        """Have it end at once. The next `start` makes another."""
        if self._link is not None:
            self._link.close()
            self._link = None
        if self._pid:  # our child, which keeps its pid until it is reaped
            os.kill(self._pid, signal.SIGKILL)
            self._reaper.take(self._pid)
            self._pid = 0
