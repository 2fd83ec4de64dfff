"""Handing listening sockets to a program as descriptors 3, 4, … by the protocol of sd_listen_fds(3).

Two things about that protocol cannot be done by `subprocess`, and Python may not run between fork and exec:

1. *The numbers.* `pass_fds` keeps the numbers that descriptors have here. So the daemon leaves 3 to 34 to this purpose
   (`Slots`): for the moment of the fork the sockets are put there, in the daemon itself.
2. *LISTEN_PID*, the program's own pid, which nobody knows before the fork. A shell says it after exec: `$$` is its pid
   and stays the pid of what it execs. That costs 1 ms where a Python that does the same costs 10 (measured: 2.7 against
   36 on a busy machine), and /bin/sh may be executed by every user, which cannot be said of a Python in root's home.
   POSIX's sh could not do the numbers too: dash takes no descriptor above 9 in a redirection.
"""

import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from supervise.config.model import MAX_SOCKETS

FIRST = 3  # SD_LISTEN_FDS_START
SHELL = "/bin/sh"
ENV = "/usr/bin/env"
# What shells change in the environment that they pass on. (Where /bin/sh is bash, `_` and SHLVL are changed as well.)
TOUCHED = ("PWD", "OLDPWD")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class Launch(NamedTuple):
    """What to execute, and which descriptors it has beside its output. `stdin` None: the usual pipe."""

    filename: str
    argv: Sequence[str]
    env: Mapping[str, str]
    stdin: int | None = None
    fds: Sequence[int] = ()


class Slots:
    """Descriptors 3 to 34 of this process. None of them is free, so nothing of ours is ever given their numbers.

    To be made before anything else is opened. What we inherited there stays, and is out of its place only while a
    program is being spawned.
    """

    def __init__(self) -> None:
        self._null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self.fill()

    def fill(self) -> None:
        """Occupy whichever of them are free. To be called again after inherited ones were closed."""
        for number in range(FIRST, FIRST + MAX_SOCKETS):
            try:
                os.fstat(number)
            except OSError:
                os.dup2(self._null, number, inheritable=False)

    @contextmanager
    def placed(self, sockets: Sequence[int]) -> Iterator[Sequence[int]]:
        """Inside, `sockets` are descriptors 3, 4, … of this process, and can be passed to a child by these numbers.

        Nothing may run in between but the spawn itself. Raises OSError (EMFILE).
        """
        numbers = range(FIRST, FIRST + len(sockets))
        kept: list[int] = []
        try:
            kept += [os.dup(number) for number in numbers]
            for number, fd in zip(numbers, sockets, strict=True):
                os.dup2(fd, number, inheritable=False)
            yield numbers
        finally:
            for number, fd in zip(numbers, kept, strict=False):
                os.dup2(fd, number, inheritable=False)
                os.close(fd)


def activated(filename: str, argv: Sequence[str], env: Mapping[str, str], names: Sequence[str]) -> Launch:
    """What to execute so that the program finds LISTEN_FDS, LISTEN_FDNAMES, and its own pid in LISTEN_PID.

    Its argv[0] is its path: a shell cannot give it another. Everything else of the environment reaches it unchanged:
    names that a shell does not know as variables (BASH_FUNC_x%%, spring.datasource.url) go round the shell by env(1).
    If the program cannot be executed, the shell says so on stderr and exits with 126 or 127.
    """
    env = {**env, "LISTEN_FDS": str(len(names)), "LISTEN_FDNAMES": ":".join(names)}
    env.pop("LISTEN_PID", None)
    kept = [f"export {name}={shlex.quote(env[name])}" if name in env else f"unset {name}" for name in TOUCHED]
    unspeakable = [f"{name}={value}" for name, value in env.items() if not _NAME.fullmatch(name)]
    program = filename if filename.startswith("/") else f"./{filename}"
    script = "; ".join([*kept, "export LISTEN_PID=$$", 'exec "$@"'])
    chain = [*([ENV, *unspeakable] if unspeakable else []), program, *argv[1:]]
    return Launch(SHELL, [SHELL, "-c", script, argv[0], *chain], env)
