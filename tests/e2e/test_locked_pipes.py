"""Programs that keep their pipes locked, since the memory that they write from does not answer: nobody else waits."""

import signal
import sys
from pathlib import Path
from xmlrpc.client import Fault

import pytest

from tests import locking
from tests.daemons import Daemon, Supervisors
from tests.tools import ROOT, wait_for

PROGRAMS = """
[program:locker]
command = {python} {root}/tests/locking.py {what} {place} {leave}
stdout_logfile = {place}/locker.log
stdout_logfile_maxbytes = 0
autorestart = false
startsecs = 0
[program:bystander]
command = cat
stdout_logfile = {place}/bystander.log
startsecs = 0
"""
WHOLE = (locking.FIRST + locking.SECOND).decode()


@pytest.fixture(autouse=True)
def _possible() -> None:
    try:
        locking.Memory()
    except OSError as error:
        pytest.skip(f"no userfaultfd(2) here: {error.strerror}")  # up to the kernel, and who made the container


def start(supervisors: Supervisors, place: Path, what: str = "write", leave: str = "") -> Daemon:
    programs = PROGRAMS.replace("{python}", sys.executable).replace("{root}", str(ROOT)).replace("{what}", what)
    programs = programs.replace("{place}", str(place)).replace("{leave}", leave)
    daemon = supervisors.start("supervise", programs, place=place)
    daemon.wait_state("bystander", "RUNNING")
    return daemon


def lock(daemon: Daemon, place: Path) -> None:
    """Have the program lock its pipe before the daemon can have read the first page."""
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        go(place)
    finally:
        daemon.process.send_signal(signal.SIGCONT)


def go(place: Path) -> None:
    """Have it lock its pipe."""
    (place / "go").touch()
    wait_for(lambda: locking.is_inside(int((place / "locking").read_text())))
    (place / "go").unlink()


def release(place: Path) -> None:
    (place / "release").touch()


def is_locked(daemon: Daemon) -> bool:
    return "locked" in daemon.api("/processes/locker")["log_problem"]


def serves_others(daemon: Daemon) -> None:
    before = daemon.read("bystander.log")
    daemon.rpc.supervisor.sendProcessStdin("bystander", "well\n")
    wait_for(lambda: daemon.read("bystander.log") == before + "well\n")


def test_others_go_on(supervisors: Supervisors, place: Path) -> None:
    daemon = start(supervisors, place)
    lock(daemon, place)
    wait_for(lambda: is_locked(daemon))
    serves_others(daemon)
    release(place)
    wait_for(lambda: daemon.read("locker.log") == WHOLE)
    wait_for(lambda: not is_locked(daemon))
    assert "keeps its stdout locked" in daemon.log
    assert "can be read again" in daemon.log
    assert daemon.stop() == 0


def test_its_end_is_told(supervisors: Supervisors, place: Path) -> None:
    """The program ends, and a child of it has the pipe locked."""
    daemon = start(supervisors, place, leave="leave")
    lock(daemon, place)
    daemon.wait_state("locker", "EXITED")
    wait_for(lambda: is_locked(daemon))
    serves_others(daemon)
    (place / "locking").unlink()
    daemon.rpc.supervisor.startProcess("locker")  # its next run, with a pipe of its own
    lock(daemon, place)
    daemon.wait_state("locker", "EXITED")
    daemon.rpc.supervisor.removeProcessGroup("locker")
    assert [one["name"] for one in daemon.rpc.supervisor.getAllProcessInfo()] == ["bystander"]
    serves_others(daemon)
    release(place)
    wait_for(lambda: daemon.read("locker.log").count("b" * 100) and len(daemon.read("locker.log")) == 2 * len(WHOLE))
    assert daemon.stop() == 0


def test_killed_meanwhile(supervisors: Supervisors, place: Path) -> None:
    daemon = start(supervisors, place)
    lock(daemon, place)
    wait_for(lambda: is_locked(daemon))
    daemon.process.send_signal(signal.SIGKILL)  # it cannot end before the pipe is free
    release(place)
    daemon.process.wait()
    daemon.disconnect()
    supervisors.running.remove(daemon)
    daemon = supervisors.run("supervise", daemon.config, place)
    wait_for(lambda: daemon.read("locker.log") == WHOLE)
    assert daemon.stop() == 0


def test_locked_when_the_next_daemon_comes(supervisors: Supervisors, place: Path) -> None:
    daemon = start(supervisors, place)
    wait_for(lambda: locking.is_ready(daemon.api("/processes/locker")["pid"]))
    daemon.process.kill()
    daemon.process.wait()
    daemon.disconnect()
    supervisors.running.remove(daemon)
    go(place)
    daemon = supervisors.run("supervise", daemon.config, place)
    serves_others(daemon)
    assert "cannot be read since" in daemon.api("/processes/locker")["log_problem"]
    release(place)
    daemon.rpc.supervisor.stopProcess("locker")
    daemon.rpc.supervisor.startProcess("locker")
    assert not daemon.api("/processes/locker")["log_problem"]
    assert daemon.stop() == 0


def test_its_stdin(supervisors: Supervisors, place: Path) -> None:
    """It reads into memory that does not answer."""
    daemon = start(supervisors, place, "read")
    (place / "go").touch()

    def refusal() -> str:
        try:
            daemon.rpc.supervisor.sendProcessStdin("locker", "x")
        except Fault as fault:
            return fault.faultString
        return ""

    assert not refusal()
    wait_for((place / "locking").exists)
    wait_for(lambda: "locked" in refusal())  # one may be read, and one is taken over
    serves_others(daemon)
    release(place)
    wait_for(lambda: not refusal())
    assert daemon.stop() == 0
