"""`supervise passwd`."""

import subprocess
import sys

import pytest

from supervise.config.passwords import matches


def passwd(said: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "supervise", "passwd"]
    return subprocess.run(argv, input=said, capture_output=True, text=True, timeout=60)


def test_a_line_of_input() -> None:
    done = passwd("correct horse, ü\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert matches(done.stdout.removesuffix("\n"), "correct horse, ü".encode())


@pytest.mark.parametrize("said, error", [("", "an empty password is none"), ("a\tb\n", "no control characters")])
def test_what_is_no_password(said: str, error: str) -> None:
    done = passwd(said)
    assert (done.returncode, done.stdout) == (2, "")
    assert error in done.stderr
