"""The time of birth that we take from the clock, beside the one that the kernel tells."""

import os
import subprocess
import sys
import time

import pytest

from supervise.system.births import DOUBTS, TICK, Births
from supervise.system.journal import start_time
from tests.tools import ROOT, need, need_root

SAME = """
import os
from supervise.system.births import Births
from supervise.system.journal import start_time
births, trusted, count = Births(), False, 0
while count < 200 or not trusted:  # on a slow machine few of them are born within a tick
    births.begin()
    pid = os.posix_spawn("/bin/true", ["true"], {})
    mine, told = births.of(pid), start_time(pid)
    assert mine == told is not None, (mine, told)
    os.waitpid(pid, 0)
    births.begin()
    trusted, count = trusted or births.of(0) is not None, count + 1
print("there is no such process, and nobody has asked")
"""


@pytest.mark.parametrize("prefix", [(), ("unshare", "--time", "--boottime", "86400", "--fork")])
def test_it_is_the_one_that_proc_tells(prefix: tuple[str, ...]) -> None:
    """Also where the clock is another one (time_namespaces(7))."""
    if prefix:
        need_root("CAP_SYS_ADMIN")
        need(prefix[0])
    done = subprocess.run(
        [*prefix, sys.executable, "-c", SAME], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
    )
    assert (done.stdout, done.stderr) == ("there is no such process, and nobody has asked\n", "")


def test_a_birth_that_took_long_is_asked_for() -> None:
    births = Births()
    births.begin()
    pid = os.posix_spawn("/bin/sleep", ["sleep", "1000"], {})
    try:
        time.sleep(5 * TICK / 1e9)
        assert births.of(pid) == start_time(pid)
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    assert births.of(pid) is None


@pytest.mark.parametrize("lucky", [0, DOUBTS - 1])
def test_a_clock_that_was_wrong_once_is_not_trusted(lucky: int) -> None:
    """Though it was right before. It is what a kernel that counts otherwise looks like: the process is older than the
    clock says."""
    births = Births()
    for _ in range(lucky):
        births.begin()
        pid = os.posix_spawn("/bin/true", ["true"], {})
        assert births.of(pid) == start_time(pid)
        os.waitpid(pid, 0)
    for _ in range(100):
        births.begin()
        assert births.of(os.getpid()) == start_time(os.getpid())
