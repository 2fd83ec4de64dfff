"""A client in a terminal: a real pty, typed into and read from."""

import codecs
import os
import pty
import select
import time
from collections.abc import Sequence
from types import TracebackType

from tests.daemons import Daemon, client_command
from tests.tools import PATIENCE


class Terminal:
    """supervisectl with a person in front of it. `with Terminal(daemon, "fg", "cat") as terminal: …`"""

    def __init__(self, daemon: Daemon, *words: str, argv: Sequence[str] = (), **env: str) -> None:
        """`argv`: something else than the client."""
        argv = [*(argv or client_command("supervise")), *words]
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(daemon.place)
            os.execvpe(argv[0], argv, daemon.env | {"TERM": "xterm", "COLUMNS": "200"} | env)
        self.text = ""
        self._decode = codecs.getincrementaldecoder("utf-8")().decode  # a character may come in two pieces

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.pid:
            os.kill(self.pid, 9)
            os.waitpid(self.pid, 0)
        os.close(self.fd)

    def expect(self, wanted: str) -> str:
        """Read until the text has appeared; returns what came up to its end, and forgets it."""
        deadline = time.monotonic() + PATIENCE
        while wanted not in self.text:
            assert time.monotonic() < deadline, f"no {wanted!r} in {self.text!r}"
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self._read()
                except OSError:
                    raise AssertionError(f"no {wanted!r}, it ended: {self.text!r}") from None
        before, _, self.text = self.text.partition(wanted)
        return before + wanted

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self.fd, text.encode())

    def ended(self, seconds: float) -> bool:
        """Read whatever comes in the next `seconds`; whether that was the end."""
        deadline = time.monotonic() + seconds
        while select.select([self.fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
            try:
                self._read()
            except OSError:
                return True
        return False

    def _read(self) -> None:
        self.text = (self.text + self._decode(os.read(self.fd, 65536))).replace("\r\n", "\n")

    def code(self) -> int:
        """Read to the end, and wait for it; returns the exit code (minus the signal)."""
        assert self.ended(PATIENCE), f"it goes on: {self.text!r}"
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)
