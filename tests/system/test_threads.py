"""Threads that take no signals."""

import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from supervise.system.threads import begin, within
from tests.tools import ROOT, need_root, wait_for

REFUSED = """
import os, resource
from supervise.system.threads import begin
os.setuid(61234)
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
try:
    begin(print, "one too many")
except OSError as error:
    print(error.errno)
"""


def test_no_signal_reaches_it_from_its_birth_on() -> None:
    """All others are kept from us by the mask; the two that cannot be kept, and the C library's own, remain."""
    before, go = signal.pthread_sigmask(signal.SIG_BLOCK, ()), threading.Event()
    thread = begin(go.wait, "a thread")
    try:
        status = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
    finally:
        go.set()
        thread.join()
    mask = int(re.findall(r"SigBlk:\s*(\w+)", status)[0], 16)
    blocked = {number for number in range(1, 65) if mask & 1 << number - 1}
    assert blocked == set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
    assert (thread.daemon, thread.name) == (True, "a thread")


def test_where_there_can_be_no_thread() -> None:
    need_root()
    done = subprocess.run([sys.executable, "-c", REFUSED], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("11\n", "")


@pytest.mark.parametrize("path", sorted(Path(ROOT, "supervise").rglob("*.py")), ids=lambda path: path.name)
def test_nothing_else_makes_threads(path: Path) -> None:
    if path.name not in {"threads.py", "foreground.py"}:  # that is no daemon
        assert "threading.Thread(" not in path.read_text()


def test_what_answers_in_time() -> None:
    assert within(60, lambda: "yes", "a thread") == "yes"
    assert within(60, lambda: None, "a thread") is None
    with pytest.raises(KeyError, match="no"):
        within(60, lambda: dict[str, str]()["no"], "a thread")


def test_what_answers_too_late() -> None:
    go, late = threading.Event(), list[bool]()
    with pytest.raises(TimeoutError, match=r"no answer within 0\.01 seconds"):
        within(0.01, lambda: go.wait(60), "a thread", late=late.append)
    go.set()
    wait_for(lambda: late == [True])
