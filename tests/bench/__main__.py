"""`python -m tests.bench`: us and our peers on the same work, in one run.

Every measure (catalogue.py) is run by all peers in turns, several times; the table shows medians, and beside them the
goals, most of which are ratios to a peer within the same run: absolute times move with the machine. Nothing fails on a
time; what a log or an answer contains is checked, and fails.

    peers       who runs the programs, and `limit`: what the machine can do at all
    running     one of them at work; calls: a client that costs nothing; children: child.c, and what it tells
    reaction, output, upkeep, asking        the measures; gauges: what the kernel knows of processes
    rows, catalogue, table                  what a row is, all of them, and from figures to lines
    scale                                   what grows with the number of programs
"""

import argparse
import json
import sys
from pathlib import Path

from tests.bench import catalogue, scale
from tests.bench.peers import Peer, available, raise_limits
from tests.bench.rows import Row
from tests.bench.table import Results, Run, lines, machine, markdown
from tests.tools import ROOT

ROWS = (*catalogue.ROWS, *scale.ROWS)
README = ROOT / "README.md"
MARKS = "<!-- benchmarks -->\n", "<!-- end of benchmarks -->"


def main(words: list[str]) -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", metavar="NAME", action="append", default=[], help="only this row; again for more")
    parser.add_argument("--peer", metavar="NAME", action="append", default=[], help="only this peer; again for more")
    parser.add_argument("--runs", type=int, metavar="N", help="runs of each row (3)")
    parser.add_argument("--quick", action="store_true", help="only see that it works: little work, one run")
    parser.add_argument("--json", type=Path, metavar="FILE", help="add the runs to those in FILE, and show them all")
    parser.add_argument("--show", action="store_true", help="measure nothing, show what is in FILE")
    parser.add_argument("--readme", action="store_true", help="also write the tables into README.md")
    given = parser.parse_args(words)
    if unknown := set(given.only) - {row.name for row in ROWS}:
        parser.error(f"no such row: {', '.join(sorted(unknown))}; there are {', '.join(row.name for row in ROWS)}")
    where, results = machine(), Results()
    if given.json and given.json.exists():
        kept = json.loads(given.json.read_text())
        where, results = kept["machine"], kept["rows"]
    if not given.show:
        raise_limits()
        peers, runs = available(given.peer), given.runs or (1 if given.quick else 3)
        for row in ROWS:
            if not given.only or row.name in given.only:
                measure(row, [peer for peer in peers if peer.name in row.peers], runs, given.quick, results)
                if given.json:  # after each row: nothing is lost when somebody is interrupted
                    given.json.write_text(json.dumps({"machine": where, "rows": results}, indent=1) + "\n")
    text = report(where, results)
    print(text)
    if given.readme:
        README.write_text(with_report(README.read_text(), text))
    return 0


def report(where: str, results: Results) -> str:
    """Both tables."""
    tables = markdown(lines(catalogue.ROWS, results)), scale.curves(scale.ROWS, results)
    return "\n\n".join((f"Medians, {where}.", *filter(None, tables))) + "\n"


def with_report(readme: str, text: str) -> str:
    """README's text with these tables between its marks."""
    begin, end = (readme.index(mark) for mark in MARKS)
    return readme[: begin + len(MARKS[0])] + text + readme[end:]


def measure(row: Row, peers: list[Peer], runs: int, quick: bool, results: Results) -> None:
    """All runs of a row, the peers in turns, added to the results."""
    size = row.quick if quick else row.full
    found = results.setdefault(row.name, {})
    for turn in range(runs):
        for peer in peers:
            figures: Run = dict(row.run(peer, size))
            found.setdefault(peer.name, []).append(figures)
            said = ", ".join(f"{key} {value:.4g}" for key, value in figures.items())
            print(f"{row.name}, run {turn + 1}, {peer.name}: {said}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
