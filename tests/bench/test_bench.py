"""Every row of the benchmarks works. Their figures are nobody's business here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.__main__ import MARKS, README, ROWS, with_report
from tests.bench.rows import Row
from tests.bench.scale import COUNTS
from tests.tools import ROOT, need


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.bench", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("row", ROWS[: -len(COUNTS) + 1], ids=lambda row: row.name)
def test_quick(row: Row, tmp_path: Path) -> None:
    for tool in ("supervisord", "runsvdir", "cc"):
        need(tool)
    done = bench("--quick", "--only", row.name, "--json", str(tmp_path / "figures"))
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "figures").read_text())["rows"][row.name]
    assert sorted(found) == sorted(row.peers)
    for peer, (run,) in found.items():
        assert run or peer != "supervise"
    if "limit" in found and row.name.startswith("logs"):
        assert found["limit"][0]["cpu"] > 0
    for figure in row.figures:
        assert figure.key in found["supervise"][0]
        assert f"| {figure.what}" in done.stdout


def test_runs_are_added_and_shown(tmp_path: Path) -> None:
    words = ("--quick", "--only", "memory", "--peer", "supervise", "--json", str(tmp_path / "figures"))
    for _ in range(2):
        assert bench(*words).returncode == 0
    assert len(json.loads((tmp_path / "figures").read_text())["rows"]["memory"]["supervise"]) == 2
    shown = bench("--show", "--json", str(tmp_path / "figures"))
    assert "memory (PSS), 1 program" in shown.stdout
    assert "getState" not in shown.stdout


def test_unknown_row() -> None:
    done = bench("--only", "speed")
    assert done.returncode == 2
    assert "no such row: speed; there are crash," in done.stderr


def test_the_tables_go_between_the_marks_of_readme() -> None:
    before = README.read_text()
    after = with_report(before, "a table\n")
    begin, end = (before.index(mark) for mark in MARKS)
    assert after == f"{before[:begin]}{MARKS[0]}a table\n{before[end:]}"
    assert with_report(after, "a table\n") == after
