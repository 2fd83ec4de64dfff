"""Somebody removes what the daemon remembers, and nothing comes of it."""

import shutil
import stat
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.daemons import CAPTURES, CAT, LATE, LINES, Daemon, Supervisors, journals
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


def remove(directory: Path) -> None:
    """All at once. Else some of what the daemon makes anew meanwhile would be removed, too."""
    aside = directory.with_name(f"{directory.name}.removed")
    directory.rename(aside)
    shutil.rmtree(aside)


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
            remove(directory)
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
    remove(directory)
    wait_for((directory / "state").exists)

    def in_the_way() -> bool:  # unless the daemon is quicker
        (directory / "state").unlink(missing_ok=True)
        (directory / "state").mkdir()
        return True

    wait_for(in_the_way)
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


BESIDE = (
    CAPTURES
    + LATE
    + """\
[eventlistener:hears]
command = bash -c 'while ! test -e {place}/go; do sleep 0.01; done; while printf "READY\\n" && read -r header; do \
    IFS= read -r -N "${header##*len:}" payload; set -- $header; echo "$3 $(tail -n1 <<< "$payload")" \
    >> {place}/heard; printf "RESULT 2\\nOK"; done'
events = REMOTE_COMMUNICATION,PROCESS_COMMUNICATION
startsecs = 0
"""
)
FILES = {"state", "serial", "transit", "events", "stdin", "carry", "output"}


@pytest.mark.parametrize("how", ["all at once", "one after the other", "twice"])
def test_what_is_beside_the_journal_is_made_anew_with_it(supervisors: Supervisors, how: str) -> None:
    """Events that wait, and their serials, input that waits, half a passage: all of it outlives the next kill."""
    daemon = supervisors.start("supervise", BESIDE)
    rpc = daemon.rpc.supervisor
    daemon.wait_state("hears", "RUNNING")
    wait_for(lambda: daemon.read("captures.log") == "one ")
    rpc.sendProcessStdin("late", "x" * 500_000)
    rpc.sendRemoteCommEvent("said", "first")
    [directory] = [journal for journal in journals(daemon.place) if journal.exists()]

    def kinds() -> set[str]:
        return {path.name.partition("-")[0] for path in directory.iterdir()}

    wait_for(lambda: kinds() == FILES)
    for _ in range(2 if how == "twice" else 1):
        if how == "one after the other":  # the journal first, which the daemon notices
            for path in sorted(directory.iterdir(), key=lambda path: path.name != "state"):
                path.unlink(missing_ok=True)
                time.sleep(0.02)
        else:
            remove(directory)
        wait_for(lambda: kinds() == FILES)
    wait_for(
        lambda: all(path.stat().st_mode & stat.S_ISVTX for path in directory.iterdir()), "cleaners are to spare it"
    )
    rpc.sendRemoteCommEvent("said", "second")

    daemon = supervisors.another(daemon)
    (daemon.place / "go").touch()
    for _ in range(2):
        daemon.rpc.supervisor.sendProcessStdin("captures", "\n")
        time.sleep(0.1)
    wait_for(lambda: daemon.read("late.log") == "x" * 500_000)
    wait_for(lambda: daemon.read("captures.log") == "one two\n")
    wait_for(lambda: daemon.read("heard").count("\n") == 3)
    assert daemon.read("heard") == "serial:0 first\nserial:1 second\nserial:2 half-whole\n"
    assert daemon.stop() == 0
    assert not directory.exists()
