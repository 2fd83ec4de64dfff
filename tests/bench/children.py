"""The programs that are supervised in the benchmarks, and what they tell of themselves."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

HERE = Path(__file__).parent
T = TypeVar("T")
PATIENCE = 120.0  # seconds for anything that must come


def compiler() -> str | None:
    """A C compiler of this machine."""
    return shutil.which("cc") or shutil.which("gcc")


def build(place: Path) -> str:
    """The command of a child: child.c compiled into `place`, or child.py where there is no compiler."""
    command = compiler()
    if command is None:
        return f"{sys.executable} -I -S {HERE / 'child.py'}"
    subprocess.run([command, "-static", "-O2", "-o", place / "child", HERE / "child.c"], check=True)
    return str(place / "child")


class Stamp(NamedTuple):
    """One line of a child's: `value` is a time or a span of CLOCK_MONOTONIC, in ns."""

    name: str
    word: str
    pid: int
    value: int


@dataclass
class Stamps:
    """What the children of one place have said so far."""

    path: Path
    _by_word: dict[str, list[Stamp]] = field(default_factory=dict)
    _read: int = 0

    def __post_init__(self) -> None:
        self.path.touch()
        self.path.chmod(0o666)  # children may be of any user

    def of(self, word: str) -> list[Stamp]:
        """Those with that word, oldest first."""
        if self.path.stat().st_size > self._read:
            with self.path.open("rb") as file:
                file.seek(self._read)
                data, _, _ = file.read().rpartition(b"\n")
            self._read += len(data) + bool(data)
            for line in data.decode().splitlines():
                name, said, pid, value = line.split()
                self._by_word.setdefault(said, []).append(Stamp(name, said, int(pid), int(value)))
        return self._by_word.get(word, [])

    def pids(self) -> dict[str, int]:
        """Name -> pid of the last one that was born."""
        return {stamp.name: stamp.pid for stamp in self.of("born")}

    def wait(self, count: int, word: str = "born") -> list[Stamp]:
        """Until the word has been said so often."""
        return until(lambda: found if len(found := self.of(word)) >= count else None, f"{count} × {word}")


def until(probe: Callable[[], T | None], what: str, pause: float = 0.003) -> T:
    """Wait for what must come; raises TimeoutError."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if answer := probe():
            return answer
        time.sleep(pause)
    raise TimeoutError(what)
