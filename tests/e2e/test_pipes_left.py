"""Pipes of programs that outlive their daemon are read by the next one, whatever it is configured to do with them."""

import os
import signal
import sys

import pytest

from tests.daemons import Supervisors, sleepers
from tests.tools import alive, need, need_root, wait_for

pytestmark = pytest.mark.timeout(300)

MUCH = 300_000  # bytes; more than a pipe takes

# Writes as much to both when there is a file go-N, for N = 1, 2, 3, and says that it could.
WRITES = """\
[program:a]
command = bash -c 'for n in 1 2 3; do while ! test -e {place}/go-$n; do sleep 0.02; done; \
    head -c 300000 /dev/zero >&2; head -c 300000 /dev/zero; touch {place}/done-$n; done; exec sleep 1000'
startsecs = 0
stdout_logfile = {place}/out
"""
APART = WRITES + "stderr_logfile = {place}/err\n"
TOGETHER = WRITES + "redirect_stderr = true\n"
NOWHERE = WRITES + "stderr_logfile = NONE\n"
LISTENER = APART.replace("program:a", "eventlistener:a") + "events = TICK_3600\n"


@pytest.mark.parametrize("upgrade", [False, True])
@pytest.mark.parametrize(
    ("before", "after", "out", "err"),
    [
        (APART, TOGETHER, 1, 1),
        (TOGETHER, APART, 2, 0),
        (NOWHERE, TOGETHER, 2, 0),
        (APART, NOWHERE, 1, 0),
        (LISTENER, TOGETHER, 1, 1),
    ],
    ids=["redirected", "no-longer", "none-redirected", "none", "no-listener"],
)
def test_logs_that_were_edited_before_the_next_daemon(
    supervisors: Supervisors, before: str, after: str, out: int, err: int, upgrade: bool
) -> None:
    """`out`, `err`: how many times as much as is written to one channel comes to each file."""
    daemon = supervisors.start("supervise", before)
    pid = daemon.wait_state("a", "RUNNING")["pid"]
    for number in (1, 2):  # the second one has it from one that did not start it
        if upgrade and number == 1:
            daemon.configure(after)
            assert daemon.ctl("upgrade", "--wait").returncode == 0
        else:
            daemon.stop(signal.SIGKILL)
            daemon.configure(after)
            daemon = supervisors.run("supervise", daemon.config, daemon.place)
        (daemon.place / f"go-{number}").touch()
        wait_for((daemon.place / f"done-{number}").exists, "it can write")
        for name, times in (("out", out), ("err", err)):
            if times:
                path = daemon.place / name
                wait_for(lambda path=path, size=number * times * MUCH: path.exists() and path.stat().st_size == size)
            else:
                assert not (daemon.place / name).exists() or not (daemon.place / name).stat().st_size
    assert daemon.info("a")["pid"] == pid
    os.kill(pid, signal.SIGKILL)
    assert daemon.stop() == 0


# Writes lines, without end, and many more when it is told to end; counts are there to be looked at without a daemon.
SAVES = """\
[program:saves]
command = bash -c 'exec 2>/dev/null; trap "seq 60000; touch {place}/saved; exit" TERM; \
    i=0; while :; do echo line $((++i)); echo $i > {place}/count; sleep 0.01; done'
startsecs = 0
stopwaitsecs = 60
redirect_stderr = true
stdout_logfile = {place}/log
"""


@pytest.mark.parametrize("how", ["--stop-leftovers", "stop", "removed", "upgrade"])
def test_who_is_not_continued_is_read_until_it_has_ended(supervisors: Supervisors, how: str) -> None:
    daemon = supervisors.start("supervise", SAVES)
    pid = daemon.wait_state("saves", "RUNNING")["pid"]
    count = daemon.place / "count"
    wait_for(lambda: int(count.read_text()) > 2)
    if how == "upgrade":
        daemon.configure(sleepers("other"))
        assert daemon.ctl("upgrade", "--wait").returncode == 0
    else:
        daemon.stop(signal.SIGKILL)
        before = wait_for(lambda: int(count.read_text()))
        wait_for(lambda: int(count.read_text()) > before + 5, "output while there is no daemon")
        daemon.configure(
            sleepers("other") if how == "removed" else f"{SAVES}autostart = false\n",
            "on_leftover = stop" if how == "stop" else "",
        )
        options = ("-n", how) if how.startswith("--") else ("-n",)
        daemon = supervisors.run("supervise", daemon.config, daemon.place, options=options)
    wait_for(lambda: not alive(pid))
    assert (daemon.place / "saved").exists(), "it was not killed"
    wait_for(lambda: daemon.read("log").endswith("\n60000\n"))
    lines = daemon.read("log").splitlines()
    said = len(lines) - 60000
    assert said >= int(count.read_text() or 0)
    assert lines == [f"line {number}" for number in range(1, said + 1)] + [str(number) for number in range(1, 60001)]
    assert daemon.stop() == 0


# A root as in most containers, which may not look into processes of others; see `system.fsuser`.
WEAKER = ("--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace")


def test_a_root_that_may_not_look_into_others(supervisors: Supervisors) -> None:
    need_root()
    weaker = (need("setpriv"), *WEAKER)
    programs = APART + "user = nobody\n"
    daemon = supervisors.start("supervise", programs.replace("touch {place}/", "echo "), prefix=weaker)
    pid = daemon.wait_state("a", "RUNNING")["pid"]
    daemon.stop(signal.SIGKILL)
    daemon = supervisors.run("supervise", daemon.config, daemon.place, prefix=weaker)
    (daemon.place / "go-1").touch()
    wait_for(lambda: daemon.read("out").endswith("done-1\n"))
    assert len(daemon.read("err")) == MUCH
    assert daemon.info("a")["pid"] == pid
    assert "cannot be read" not in daemon.log
    assert daemon.stop() == 0


def test_a_pipe_that_is_out_of_reach(supervisors: Supervisors) -> None:
    """Nobody may look into a process that is not dumpable (prctl(2)): then somebody is told, until it is restarted."""
    need_root()
    weaker = (need("setpriv"), *WEAKER)
    hides = "import ctypes, time; ctypes.CDLL(None).prctl(4, 0, 0, 0, 0); print(1, flush=True); time.sleep(1000)"
    programs = f"[program:hides]\ncommand = {sys.executable} -c '{hides}'\nstartsecs = 0\n"
    programs += "stdout_logfile = {place}/log\nredirect_stderr = true\n"
    daemon = supervisors.start("supervise", programs, prefix=weaker)
    pid = daemon.wait_state("hides", "RUNNING")["pid"]
    wait_for(lambda: daemon.read("log") == "1\n")
    daemon.stop(signal.SIGKILL)
    daemon = supervisors.run("supervise", daemon.config, daemon.place, prefix=weaker)
    assert daemon.info("hides")["pid"] == pid
    said = f"the stdout of pid {pid} cannot be read since the daemon that started it was killed"
    assert f"CRIT hides: {said}" in daemon.log
    assert said in daemon.ctl("explain", "hides").stdout
    assert f"log: {said}" in daemon.ctl("status", "--wide").stdout
    assert daemon.ctl("restart", "hides").returncode == 0
    assert said not in daemon.ctl("status", "--wide").stdout
    assert daemon.stop() == 0


def test_what_was_lost_is_counted_on(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", APART)
    daemon.wait_state("a", "RUNNING")
    place = daemon.place
    wait_for((place / "out").exists)
    (place / "out").unlink()
    (place / "out").mkdir()  # nobody can write there
    for number in (1, 2):
        (place / f"go-{number}").touch()
        wait_for(lambda number=number, daemon=daemon: daemon.api("/processes/a")["log_dropped"] == number * MUCH)
        daemon = supervisors.another(daemon)
        assert daemon.api("/processes/a")["log_dropped"] == number * MUCH
        (place / f"go-{number}").unlink()
    assert daemon.stop() == 0
    daemon = supervisors.run("supervise", daemon.config, place)
    assert daemon.api("/processes/a")["log_dropped"] == 0, "nothing is left of it after an end in peace"
    assert daemon.stop() == 0
