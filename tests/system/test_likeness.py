"""A program cannot see which way it was started, whatever the daemon was started with, and becomes later."""

import os
import subprocess
import sys

import pytest

from tests.system.likeness import CHANGES
from tests.tools import ROOT, need, need_root

STARTERS = (
    "nohup",
    "nice -n 5 ionice -c 2 -n 7",
    "chrt -b 0",
    f"taskset -c {min(os.sched_getaffinity(0))}",
    "choom -n 100 --",
    "prlimit --core=0 --rttime=1000000 --nofile=400 --stack=20000000",
    "setarch -R",
    "setsid",
    "setpriv --no-new-privs",
    "setpriv --bounding-set -sys_time,-net_raw --inh-caps +chown --ambient-caps +chown",
    "setpriv --securebits +no_setuid_fixup --pdeathsig TERM",
    "setpriv --groups 7,8,9",
    "unshare --pid --fork --mount-proc",
    "env LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0",
)


DEAF = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGHUP, signal.SIGCHLD, signal.SIGRTMIN})
for name in "INT HUP TERM USR2 TSTP XFSZ".split():
    signal.signal(getattr(signal, f"SIG{name}"), signal.SIG_IGN)
os.umask(0o007)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.parametrize("starter", STARTERS)
def test_what_the_daemon_was_started_with(starter: str) -> None:
    need(starter.split(maxsplit=1)[0])
    assert differences(*starter.split()) == ""


@pytest.mark.parametrize("change", CHANGES)
def test_what_others_make_of_the_daemon_later(change: str) -> None:
    assert differences(change=change) == ""


def test_signals_that_are_blocked_or_ignored() -> None:
    assert differences(sys.executable, "-c", DEAF) == ""


def differences(*starter: str, change: str = "nothing") -> str:
    need_root("CAP_SYS_ADMIN")
    command = [*starter, sys.executable, "-m", "tests.system.likeness", change]
    ran = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return "" if ran.returncode == 0 and not ran.stdout else f"{ran.returncode}: {ran.stdout}"
