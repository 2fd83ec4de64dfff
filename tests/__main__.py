"""`python -m tests`: all that must be true before a commit. With words after it: only pytest, with those words."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTEST = ["pytest", "-q", "-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]
CHECKS = [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"], PYTEST]


def main(words: list[str]) -> int:
    """Run the checks one after another; the exit code says whether all of them passed."""
    failed = []
    for check in [["pytest", *words]] if words else CHECKS:
        print("==>", *check, flush=True)
        if subprocess.run([sys.executable, "-m", *check], cwd=ROOT, check=False).returncode:
            failed.append(check[0])
    print("failed: " + ", ".join(failed) if failed else "all passed")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
