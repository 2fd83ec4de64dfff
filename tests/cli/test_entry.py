"""What comes before supervisectl itself."""

import subprocess
import sys
from pathlib import Path

from tests.daemons import client_command, environment


def said(place: Path, *words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, cwd=place, env=environment(place), timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_nobody_looks_for_garbage_before_all_is_imported(tmp_path: Path) -> None:
    code = (
        "import gc\n"
        "from supervise.cli.entry import supervisectl\n"
        "gc.callbacks.append(lambda *_: print('looked'))\n"
        "gc.freeze = exit\n"
        "supervisectl()"
    )
    assert said(tmp_path, sys.executable, "-c", code) == ""


def test_afterwards_it_is_looked_for(tmp_path: Path) -> None:
    """A shell may be open for days."""
    code = (
        "import gc\n"
        "from supervise.cli import entry, supervisectl\n"
        "supervisectl.main = lambda: print(gc.isenabled(), gc.get_freeze_count() > 1000)\n"
        "entry.supervisectl()"
    )
    assert said(tmp_path, sys.executable, "-c", code) == "True True\n"


def test_it_is_supervisectl(tmp_path: Path) -> None:
    assert said(tmp_path, *client_command("supervise"), "--help").startswith("Usage: supervisectl ")
