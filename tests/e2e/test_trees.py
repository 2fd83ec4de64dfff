"""Stopping a program with tree scope leaves nothing of it behind, with a cgroup of its own and without."""

import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from supervise.system.cgroup import name_of
from supervise.system.tree import MARK
from tests.daemons import Daemon, Supervisors, proxy
from tests.disks import mounted
from tests.e2e.test_survival import in_background, info, kill, pid_of
from tests.tools import alive, belonging_to, need, need_cgroup, need_root, wait_for

pytestmark = pytest.mark.timeout(240)

WILD = f"""#!{sys.executable} -IS
import os, signal, sys, time
END = time.monotonic() + 120  # whatever happens

def deaf():
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)

def stay(name):
    with open(name, "a") as file:
        file.write(f"{{os.getpid()}}\\n")
    while time.monotonic() < END:
        time.sleep(1)
    os._exit(0)

def away(name):
    "Fork twice, with a session of its own in between, as daemons do."
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            deaf()
            stay(name)
        os._exit(0)
    os.wait()

def walk(name, setsid):
    "A child, which goes on, and the end, again and again: never there long enough to be found."
    deaf()
    if os.fork():
        return
    for step in range(1_000_000):
        if setsid:
            os.setsid()
        with open(name, "w") as file:
            file.write(str(step))
        if time.monotonic() > END or os.fork():
            os._exit(0)

def multiply(name):
    "As many children as are killed, and a few more."
    deaf()
    for _ in range(20):
        if os.fork() == 0:
            while time.monotonic() < END:
                if os.fork() == 0:
                    time.sleep(0.01)
                    os._exit(0)
                try:
                    os.waitpid(-1, os.WNOHANG)
                except ChildProcessError:
                    pass
                with open(name, "w") as file:
                    file.write("x" * (int(time.monotonic() * 1000) % 1000))
                time.sleep(0.002)
            os._exit(0)

match sys.argv[1]:
    case "away":
        away("away.pids")
    case "many":
        for number in range(20):
            if os.fork() == 0:
                if number % 2:
                    os.setsid()
                for _ in range(9):
                    if os.fork() == 0:
                        deaf()
                        stay("many.pids")
                deaf()
                stay("many.pids")
    case "walk":
        walk("walk.step", False)
    case "walk-away":
        walk("walk-away.step", True)
    case "multiply":
        multiply("multiply.step")
    case "deaf":
        deaf()
        away("deaf.pids")
while time.monotonic() < END:
    time.sleep(1)
"""

PROGRAM = """
[program:{name}]
command = {place}/wild {name}
directory = {place}
stop_scope = tree
stopwaitsecs = {patience}
startsecs = 0
"""
BYSTANDER = "\n[program:bystander]\ncommand = sleep 1000\nstartsecs = 0\n"


class Mode(NamedTuple):
    """How a daemon is started that can make cgroups, or cannot."""

    cgroup: bool
    prefix: tuple[str, ...] = ()


@pytest.fixture(params=["cgroup", "session"])
def mode(request: pytest.FixtureRequest) -> Mode:
    if request.param == "cgroup":
        need_cgroup()
        return Mode(True)
    if os.geteuid() != 0:
        return Mode(False)
    need_root("CAP_SYS_ADMIN")
    hidden = 'mount -t tmpfs none /sys/fs/cgroup; exec "$@"'
    return Mode(False, (need("unshare"), "-m", "sh", "-c", hidden, "sh"))


def start(supervisors: Supervisors, mode: Mode, *names: str, patience: int = 1) -> Daemon:
    place = supervisors.place()
    (place / "wild").write_text(WILD)
    (place / "wild").chmod(0o755)
    programs = "".join(PROGRAM.replace("{name}", name).replace("{patience}", str(patience)) for name in names)
    daemon = supervisors.start("supervise", programs + BYSTANDER, place=place, prefix=mode.prefix)
    for name in names:
        daemon.wait_state(name, "RUNNING")
        pid = daemon.info(name)["pid"]
        assert (name_of(pid) or "").endswith(f"-{name}") is mode.cgroup
        assert (MARK in Path(f"/proc/{pid}/environ").read_text()) is not mode.cgroup
    return daemon


def pids(daemon: Daemon, name: str, count: int) -> list[int]:
    """The pids that the program has written."""
    return wait_for(
        lambda: found if len(found := [int(pid) for pid in daemon.read(f"{name}.pids").split()]) == count else [],
        f"{count} processes of {name}",
    )


def stop(daemon: Daemon, name: str) -> None:
    bystander = daemon.info("bystander")["pid"]
    assert daemon.rpc.supervisor.stopProcess(name)
    assert daemon.info(name)["statename"] == "STOPPED"
    assert daemon.api(f"/processes/{name}")["leftovers"] == []
    assert daemon.info("bystander")["pid"] == bystander
    assert alive(bystander)


def remains(daemon: Daemon) -> list[int]:
    """Everything of the daemon's programs but the bystander."""
    known = {daemon.pid, daemon.info("bystander")["pid"]}
    return [one.pid for one in belonging_to(daemon.place) if one.pid not in known]


def test_a_daemon_of_its_own(supervisors: Supervisors, mode: Mode) -> None:
    daemon = start(supervisors, mode, "away")
    [pid] = pids(daemon, "away", 1)
    assert os.getsid(pid) != os.getsid(daemon.info("away")["pid"])
    stop(daemon, "away")
    assert not alive(pid)
    assert remains(daemon) == []


def test_two_hundred_that_ignore_the_signal(supervisors: Supervisors, mode: Mode) -> None:
    daemon = start(supervisors, mode, "many")
    known = pids(daemon, "many", 200)
    stop(daemon, "many")
    assert not [pid for pid in known if alive(pid)]
    assert remains(daemon) == []


FORKING = [
    *(("cgroup", name) for name in ("walk", "multiply", "walk-away")),
    *(("session", name) for name in ("walk", "multiply")),  # walk-away begins a new session with every step
]


@pytest.mark.parametrize(("mode", "name"), FORKING, indirect=["mode"])
def test_who_forks_on_and_on(supervisors: Supervisors, mode: Mode, name: str) -> None:
    daemon = start(supervisors, mode, name)
    step = daemon.place / f"{name}.step"
    wait_for(step.exists)
    stop(daemon, name)
    assert remains(daemon) == []
    before = step.stat().st_mtime_ns
    time.sleep(0.3)
    assert step.stat().st_mtime_ns == before


def test_a_leader_that_ignores_the_signal(supervisors: Supervisors, mode: Mode) -> None:
    """The time to stop by itself is one for all of the tree: what has left it is killed with it."""
    daemon = start(supervisors, mode, "deaf")
    [pid] = pids(daemon, "deaf", 1)
    stop(daemon, "deaf")
    assert not alive(pid)


@pytest.mark.parametrize("how", ["kill", "upgrade"])
def test_another_daemon_finds_it_again(supervisors: Supervisors, mode: Mode, how: str) -> None:
    daemon = start(supervisors, mode, "away", "deaf")
    leader, [pid] = daemon.info("away")["pid"], pids(daemon, "away", 1)
    pids(daemon, "deaf", 1)
    if how == "kill":
        daemon.stop(signal.SIGKILL)
        daemon = supervisors.run("supervise", daemon.config, daemon.place, prefix=mode.prefix)
    else:
        assert daemon.ctl("upgrade").returncode == 0
        wait_for(lambda: "adopted: 'away'" in daemon.log)
        daemon.disconnect()
    assert daemon.info("away")["pid"] == leader
    stop(daemon, "away")
    assert not alive(pid)
    wait_for(lambda: len(remains(daemon)) == 2, "the other one is still there")
    assert daemon.stop() == 0
    assert not list(belonging_to(daemon.place))


def test_another_daemon_finishes_the_stop(supervisors: Supervisors, mode: Mode) -> None:
    """The first one was killed when the leader had ended, and others were still told to."""
    daemon = start(supervisors, mode, "many", patience=15)
    known = pids(daemon, "many", 200)
    daemon.rpc.supervisor.stopProcess("many", False)
    wait_for(lambda: "it has ended" in daemon.api("/processes/many/explain")["summary"])
    daemon.stop(signal.SIGKILL)
    daemon = supervisors.run("supervise", daemon.config, daemon.place, prefix=mode.prefix)
    daemon.wait_state("many", "STOPPED")
    assert not [pid for pid in known if alive(pid)]


@pytest.mark.parametrize("policy", ["on_leftover = stop", ""])
def test_leftovers_that_nobody_wants_go_with_all_they_have_started(
    supervisors: Supervisors, mode: Mode, policy: str
) -> None:
    """By policy, or because they are not configured any more."""
    daemon = start(supervisors, mode, "away")
    [pid] = pids(daemon, "away", 1)
    daemon.stop(signal.SIGKILL)
    daemon.configure(BYSTANDER, policy)
    daemon = supervisors.run("supervise", daemon.config, daemon.place, prefix=mode.prefix)
    wait_for(lambda: not alive(pid))


def test_groups_come_and_go(supervisors: Supervisors) -> None:
    """Only programs with tree scope have one, and nothing of it stays in the hierarchy."""
    need_cgroup()
    daemon = start(supervisors, Mode(True), "away")
    own, name = name_of(daemon.pid), name_of(daemon.info("away")["pid"])
    assert own is not None
    assert name is not None
    assert name.startswith(f"{own}/supervise-")
    assert name.endswith("-away")
    assert name_of(daemon.info("bystander")["pid"]) == own
    directory = need_cgroup() / name.removeprefix(own).lstrip("/")
    assert directory.is_dir()
    daemon.rpc.supervisor.stopProcess("away")
    assert not directory.exists()
    daemon.rpc.supervisor.startProcess("away")
    assert directory.exists()
    daemon.stop()
    assert not directory.exists()


def test_a_frozen_group_does_not_freeze_the_daemon(supervisors: Supervisors) -> None:
    place = need_cgroup()
    daemon = start(supervisors, Mode(True), "away")
    leader = daemon.info("away")["pid"]
    directory = place / (name_of(leader) or "").rpartition("/")[2]
    (directory / "cgroup.freeze").write_text("1")
    try:
        os.kill(leader, signal.SIGKILL)  # and so it is started again
        wait_for(lambda: daemon.info("away")["pid"] not in {0, leader})
        assert daemon.info("away")["statename"] == "RUNNING"
        assert name_of(daemon.info("away")["pid"]) == name_of(daemon.pid)
        stop(daemon, "away")
        assert remains(daemon) == []
    finally:
        if directory.exists():
            (directory / "cgroup.freeze").write_text("0")


def test_killed_at_any_instant(place: Path) -> None:
    """Also while the daemon is in a program's group for the moment of a spawn: each is in its own afterwards."""
    need_cgroup()
    names = [f"p{number}" for number in range(6)]
    options = "command = sleep 1000\nstop_scope = tree\nstartsecs = 0\n"
    programs = "".join(f"[program:{name}]\n{options}" for name in names)
    generator = random.Random(5)
    with in_background(place, programs) as pidfile:
        for _ in range(4):
            with proxy(place / "s.sock") as rpc:
                for name in generator.sample(names, 4):
                    rpc.supervisor.stopProcess(name)
                    rpc.supervisor.startProcess(name, False)
            time.sleep(generator.random() * 0.01)
            kill(pidfile)
        for name in names:
            wait_for(lambda name=name: info(place, name)["statename"] == "RUNNING")
        own = name_of(int(pidfile.read_text()))
        groups = {name: name_of(pid_of(place, name)) or "" for name in names}
        assert all(groups[name].startswith(f"{own}/supervise-") and groups[name].endswith(f"-{name}") for name in names)
        wait_for(lambda: len([one for one in belonging_to(place) if one.name() == "sleep"]) == len(names), "no copies")
        below = [need_cgroup() / group.rpartition("/")[2] for group in groups.values()]
    assert not [directory for directory in below if directory.exists()]


def test_what_nothing_can_kill_is_reported_and_waited_for_by_nobody(supervisors: Supervisors, tmp_path: Path) -> None:
    """A disk hangs, and whoever writes to it is in state D: the leader of one program, a grandchild of another."""
    with mounted(tmp_path) as disk:
        writes = f"while :; do echo x > {disk.place}/file; sleep 0.01; done"
        options = "stopwaitsecs = 1\nstartsecs = 0\nstop_scope = tree\n"
        programs = f"""
[program:stuck]
command = bash -c '{writes}'
{options}
[program:leaves]
command = bash -c '(setsid bash -c "{writes}" &); exec sleep 1000'
{options}
"""
        daemon = supervisors.start("supervise", programs + BYSTANDER)
        stuck = daemon.wait_state("stuck", "RUNNING")["pid"]
        wait_for((disk.place / "file").exists)
        disk.freeze()
        writers = wait_for(lambda: found if len(found := asleep(daemon)) == 2 else [], "both writers sleep")
        assert stuck in writers
        [other] = set(writers) - {stuck}
        daemon.rpc.supervisor.stopProcess("stuck", False)
        assert daemon.rpc.supervisor.stopProcess("leaves")
        assert daemon.info("leaves")["statename"] == "STOPPED"
        assert daemon.api("/processes/leaves")["leftovers"] == [other]
        daemon.wait_log(f"leaves left processes behind that do not end: {other} (bash, in uninterruptible sleep")
        assert f"left behind: {other}" in daemon.ctl("explain", "leaves").stdout
        daemon.wait_state("stuck", "UNKNOWN")
        said = daemon.ctl("explain", "stuck").stdout
        assert f"still there 10 seconds after SIGKILL; pid {stuck} (bash, in uninterruptible sleep" in said
        daemon.wait_log(f"stuck left processes behind that do not end: {stuck} (bash, in uninterruptible sleep")
        assert daemon.stop() == 0
        assert alive(stuck)
        disk.thaw()
        wait_for(lambda: not alive(stuck) and not alive(other))


def asleep(daemon: Daemon) -> list[int]:
    """The daemon's processes that nothing can wake; for a moment any can be in that state."""
    found = [one for one in belonging_to(daemon.place) if one.status() == psutil.STATUS_DISK_SLEEP]
    time.sleep(0.5)
    return [one.pid for one in found if one.status() == psutil.STATUS_DISK_SLEEP]
