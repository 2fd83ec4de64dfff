"""`python -m tests.bench [--quick] [--json FILE]`: us against supervisord, on the same work, in one run.

The two take turns (A B A B), every figure is a median, and what counts is the ratio: absolute times move with the
machine. Nothing here fails on a time.
"""

import argparse
import json
import os
import platform
import statistics
import sys
from pathlib import Path

from tests.bench.measures import MEASURES, Measure
from tests.daemons import KINDS, Kind


def main(words: list[str]) -> int:
    """Run the measures and print the table; with --json also write it."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only see that it works: few programs, one round")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every figure there")
    parser.add_argument("--only", default="", metavar="WORD", help="measures whose name contains the word")
    given = parser.parse_args(words)
    rows = [row(measure, given.quick) for measure in MEASURES if given.only in measure.name]
    print(table(rows))
    if given.json:
        given.json.write_text(json.dumps({"machine": machine(), "quick": given.quick, "rows": rows}, indent=2) + "\n")
    return 0


def row(measure: Measure, quick: bool) -> dict[str, object]:
    """All rounds of one measure, in turns."""
    found: dict[Kind, list[float]] = {kind: [] for kind in KINDS}
    for number in range(1 if quick else measure.rounds):
        print(f"{measure.name}, round {number + 1}", file=sys.stderr, flush=True)
        for kind in KINDS:
            found[kind] += measure.run(kind, measure.quick if quick else measure.size)
    ours, theirs = (statistics.median(found[kind]) for kind in KINDS)
    return {
        "what": measure.name.replace("{n}", str(measure.quick if quick else measure.size)),
        "unit": measure.unit,
        "supervise": round(ours, 2),
        "supervisord": round(theirs, 2),
        "ratio": round(theirs / ours, 1) if ours else None,
        "all": found,
    }


def table(rows: list[dict[str, object]]) -> str:
    """The rows in Markdown, as README shows them."""
    lines = [f"Medians on {machine()}.", "", "| what | supervise | supervisord 4.3.0 | ratio |", "|---|---:|---:|---:|"]
    for one in rows:
        ratio = f"{one['ratio']} ×" if one["ratio"] is not None else "–"
        lines.append(
            f"| {one['what']} | {one['supervise']} {one['unit']} | {one['supervisord']} {one['unit']} | {ratio} |"
        )
    return "\n".join(lines)


def machine() -> str:
    """What the figures depend on."""
    return f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
