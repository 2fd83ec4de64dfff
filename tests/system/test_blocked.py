import os
import subprocess
import sys
import time

from supervise.system.blocked import is_python, waits_for_stdin
from tests.tools import wait_for


def test_a_reader_and_a_sleeper() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as reader, subprocess.Popen(["sleep", "1000"]) as sleeper:
        try:
            wait_for(lambda: waits_for_stdin(reader.pid), "cat reads")
            time.sleep(0.1)
            assert not waits_for_stdin(sleeper.pid)
        finally:
            reader.kill()
            sleeper.kill()


def test_who_runs_python() -> None:
    assert is_python(os.getpid())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as python:
        wait_for(lambda: is_python(python.pid) and waits_for_stdin(python.pid), "Python reads")
        python.kill()
    assert not is_python(1) or os.path.basename(os.readlink("/proc/1/exe")).startswith(("python", "pypy"))


def test_nobody() -> None:
    assert not waits_for_stdin(2**22 + 1)
    assert not is_python(2**22 + 1)
