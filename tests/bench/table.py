"""From figures to lines: medians over runs, goals, and the table."""

import os
import platform
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, TypeAlias

from tests.bench.rows import EVERYBODY, Figure, Row

Run: TypeAlias = dict[str, float]
Results: TypeAlias = dict[str, dict[str, list[Run]]]  # row -> peer -> runs
HEADINGS = {"supervisord": "supervisord 4.3.0", "limit": "limit (C loop, cat)"}


class Line(NamedTuple):
    """One line: the median of each peer, ours against the goal."""

    figure: Figure
    values: Mapping[str, float]
    bound: float | None
    reached: bool | None


def median(results: Results, row: str, peer: str, key: str) -> float | None:
    """Over all runs that have the figure."""
    found = [run[key] for run in results.get(row, {}).get(peer, ()) if key in run]
    return statistics.median(found) if found else None


def lines(rows: Iterable[Row], results: Results) -> Iterator[Line]:
    """Those of every row that was measured."""
    for row in rows:
        for figure in row.figures if row.name in results else ():
            yield line(row, figure, results)


def line(row: Row, figure: Figure, results: Results) -> Line:
    """One figure of a row."""
    medians = {peer: median(results, row.name, peer, figure.key) for peer in EVERYBODY}
    values = {peer: value for peer, value in medians.items() if value is not None}
    ours, bound, reached = values.get("supervise"), None, None
    if figure.goal:

        def find(peer: str, name: str) -> float | None:
            row_name, _, key = name.partition("/")
            return median(results, row_name, peer, key)

        bound = figure.goal.bound(find, f"{row.name}/{figure.key}")
        if bound is not None and ours is not None:
            reached = figure.goal.reached(ours, bound)
    return Line(figure, values, bound, reached)


def markdown(found: Iterable[Line]) -> str:
    """The table, as README shows it; empty without lines."""
    found = list(found)
    if not found:
        return ""
    heads = ["", *(HEADINGS.get(peer, peer) for peer in EVERYBODY), "goal", "reached"]
    text = [f"| {' | '.join(heads)} |", "|---|" + "---:|" * len(EVERYBODY) + "---|---|"]
    for one in found:
        unit = one.figure.unit
        values = [number(one.values.get(peer)) for peer in EVERYBODY]
        values[0] = f"**{values[0]}**"
        goal = one.figure.goal.text(unit) if one.figure.goal else ""
        if one.bound is not None and one.figure.goal and one.figure.goal.of:
            goal += f" = {number(one.bound)}"
        verdict = "" if one.reached is None else "yes" if one.reached else "**no**"
        what = f"{one.figure.what} [{unit}]" if unit else one.figure.what
        text.append(f"| {' | '.join([what, *values, goal, verdict])} |")
    return "\n".join(text)


def number(value: float | None) -> str:
    """Three digits that count."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}" if abs(value) >= 1 else f"{value:.2g}"


def machine() -> str:
    """What the figures depend on, and when they were taken."""
    kernel, python = platform.release().partition("-")[0], platform.python_version()
    return f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, Linux {kernel}, Python {python}"
