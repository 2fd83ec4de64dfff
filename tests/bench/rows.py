"""What a row of the table is: a measure, the figures it gives, and the goal that each has."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from tests.bench.peers import LIMIT, RUNIT, SUPERVISE, SUPERVISORD, Peer

Figures: TypeAlias = Mapping[str, float]
EVERYBODY = (SUPERVISE, SUPERVISORD, RUNIT, LIMIT)
TALKING = (SUPERVISE, SUPERVISORD)  # those that have a control socket


class Size(NamedTuple):
    """How much is done in one run; a measure uses what it knows."""

    programs: int = 1
    times: int = 1
    seconds: float = 0
    megabytes: int = 0


@dataclass(frozen=True)
class Goal:
    """Our figure shall be at most (`least`: at least) `factor` times a reference, plus `plus`.

    The reference is the same figure of the peer `of`; with `figure` (ROW/FIGURE) another one of that peer; without a
    peer, 1.
    """

    factor: float
    of: str = ""
    figure: str = ""
    plus: float = 0
    least: bool = False
    said: str = ""

    def bound(self, find: Callable[[str, str], float | None], own: str) -> float | None:
        """The number not to be missed; None while the reference is unknown. `find(peer, figure)`."""
        reference = find(self.of, self.figure or own) if self.of else 1.0
        return None if reference is None else self.factor * reference + self.plus

    def reached(self, ours: float, bound: float) -> bool:
        return ours >= bound if self.least else ours <= bound

    def text(self, unit: str) -> str:
        """As the table says it."""
        if self.said:
            return self.said
        sign = "≥" if self.least else "≤"
        if not self.of:
            return f"{sign} {self.factor:g} {unit}".rstrip()
        reference = "cat" if self.of == LIMIT else self.of
        times = "" if self.factor == 1 and self.plus else f"{self.factor:g} × "
        return f"{sign} {times}{reference}" + (f" + {self.plus:g} {unit}" if self.plus else "")


@dataclass(frozen=True)
class Figure:
    """One line of the table: a number that the measure gives."""

    key: str
    what: str
    unit: str
    goal: Goal | None = None


@dataclass(frozen=True)
class Row:
    """A measure and its lines. `run(peer, size)` does the work once, and checks it."""

    name: str
    run: Callable[[Peer, Size], Figures]
    figures: tuple[Figure, ...]
    full: Size
    quick: Size
    peers: tuple[str, ...] = EVERYBODY
