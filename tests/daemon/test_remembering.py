"""Somebody removes what the daemon remembers, and nothing comes of it."""

import shutil
from collections.abc import Callable
from functools import partial

import pytest

from tests.daemons import CAT, LINES, Daemon, Supervisors, journals
from tests.tools import wait_for

PROGRAMS = (
    LINES
    + CAT
    + """\
[program:off]
command = sleep 1000
autostart = false
"""
)


def killed(supervisors: Supervisors, daemon: Daemon) -> Daemon:
    return supervisors.another(daemon)


def upgraded(supervisors: Supervisors, daemon: Daemon) -> Daemon:
    assert daemon.ctl("upgrade", "--wait").returncode == 0
    daemon.disconnect()
    return daemon


def was_made_anew(daemon: Daemon, times: int) -> bool:
    return daemon.log.count("state was removed; made it anew") == times


@pytest.mark.parametrize("die", [killed, upgraded])
def test_programs_are_adopted_all_the_same(
    supervisors: Supervisors, die: Callable[[Supervisors, Daemon], Daemon]
) -> None:
    daemon = supervisors.start("supervise", PROGRAMS)
    pids = {name: daemon.wait_state(name, "RUNNING")["pid"] for name in ("lines", "cat")}
    wait_for(lambda: daemon.read("lines.log"))
    daemon.rpc.supervisor.startProcess("off", False)
    daemon.rpc.supervisor.stopProcess("off")
    for times in (1, 2):
        [directory] = [journal for journal in journals(daemon.place) if journal.exists()]
        if times == 1:
            shutil.rmtree(directory)
        else:
            (directory / "state").unlink()
        if die is killed:
            wait_for(partial(was_made_anew, daemon, times))
        daemon = die(supervisors, daemon)
        assert {name: daemon.info(name)["pid"] for name in pids} == pids
        assert daemon.info("off")["statename"] == "STOPPED"
    assert was_made_anew(daemon, 2)
    daemon.rpc.supervisor.stopProcess("lines")
    numbers = [int(line.split()[1]) for line in daemon.read("lines.log").splitlines()]
    assert numbers == list(range(1, len(numbers) + 1)), "no line lost or doubled"
    assert daemon.stop() == 0
    assert not any(journal.exists() for journal in journals(daemon.place)), "it does not come back at the end"


def test_where_it_cannot_be_made_anew_no_upgrade_is_begun(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", PROGRAMS)
    pid = daemon.wait_state("cat", "RUNNING")["pid"]
    [directory] = [journal for journal in journals(daemon.place) if journal.exists()]
    shutil.rmtree(directory)
    wait_for((directory / "state").exists)
    (directory / "state").unlink()
    (directory / "state").mkdir()
    daemon.wait_log("state was removed, and programs will not survive a crash: ")
    done = daemon.ctl("upgrade", "--wait")
    assert done.returncode == 1
    assert "what is remembered of programs was removed" in done.stdout
    assert any("will not survive a crash" in problem for problem in daemon.api("/daemon")["problems"])
    (directory / "state").rmdir()
    assert daemon.ctl("upgrade", "--wait").returncode == 0
    daemon.disconnect()
    assert daemon.info("cat")["pid"] == pid
    assert daemon.stop() == 0
