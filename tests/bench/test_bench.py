"""The benchmarks work. Their figures are nobody's business here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools import ROOT, need


@pytest.mark.timeout(300)
def test_quick(tmp_path: Path) -> None:
    need("supervisord")
    command = [sys.executable, "-m", "tests.bench", "--quick", "--json", str(tmp_path / "figures")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "figures").read_text())["rows"]
    assert len(rows) == done.stdout.count("\n| ") - 1
    for row in rows:
        assert row["supervise"] >= 0, row
        assert row["supervisord"] >= 0, row
