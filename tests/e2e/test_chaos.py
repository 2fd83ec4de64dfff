"""A short chaos run; the long one is `python -m tests.e2e.chaos`."""

import subprocess
import sys

import pytest

from tests.tools import ROOT

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize("seed", [1])
def test_chaos(seed: int) -> None:
    """Ten programs, up to five deaths of the daemon: no line lost or doubled, no second copy, no wrong exit code."""
    argv = [sys.executable, "-m", "tests.e2e.chaos", "--seed", str(seed)]
    argv += ["--minutes", "0.25", "--kills", "5", "--programs", "10"]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
