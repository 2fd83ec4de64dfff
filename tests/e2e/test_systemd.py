"""conf/supervise.service, run by a real systemd."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervise.system.cgroup import name_of
from tests.daemons import LINES, Supervisors, client_command, configuration, daemon_command, environment, proxy
from tests.machine import Machine, booted
from tests.tools import ROOT, wait_for

pytestmark = pytest.mark.timeout(300)

UNIT = "supervise.service"
PROGRAMS = (
    LINES
    + """\
[program:ends]
command = bash -c 'read x; echo last words; exit $x'
stdout_logfile = {place}/ends.log
startsecs = 0
autorestart = false
[program:tree]
command = bash -c 'setsid setsid sleep 1000 & exec sleep 1001'
stop_scope = tree
startsecs = 0
"""
)
DEAF = """
[program:deaf]
command = bash -c 'trap "" TERM; touch {place}/deaf; while :; do sleep 1; done'
stopwaitsecs = 1000
startsecs = 0
"""


class Service:
    """The unit, as installed, but for where the program and its configuration are."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self.place = machine, machine.place
        self.config = self.place / "s.conf"
        self.configure(PROGRAMS)
        machine.unit(UNIT, (ROOT / "conf" / UNIT).read_text())
        variables = "".join(
            f'Environment="{name}={value}"\n' for name, value in environment(self.place, TMPDIR=str(self.place)).items()
        )
        command = " ".join([*daemon_command("supervise"), "--nodaemon", "-c", str(self.config)])
        output = f"StandardOutput=append:{self.place}/output\nStandardError=inherit\n"
        self.adapt("where", f"{variables}{output}ExecStart=\nExecStart={command}\n")

    def configure(self, programs: str, supervisord: str = "") -> None:
        self.config.write_text(configuration(self.place, programs, supervisord))

    def adapt(self, name: str, service: str) -> None:
        """A drop-in."""
        self.machine.unit(f"{UNIT}.d/{name}.conf", f"[Service]\n{service}")

    def systemctl(self, verb: str, check: bool = True) -> str:
        said = self.machine.systemctl(verb, UNIT, check=False)
        assert not check or not said, (said, (self.place / "output").read_text())
        return said

    def show(self, name: str) -> str:
        return self.machine.show(UNIT, name)

    @property
    def pid(self) -> int:
        """The daemon's, as systemd sees it."""
        return int(self.show("MainPID"))

    @property
    def state(self) -> str:
        return self.show("ActiveState")

    def info(self, name: str) -> dict[str, object]:
        with proxy(self.place / "s.sock") as rpc:
            return dict(rpc.supervisor.getProcessInfo(name))

    def pids(self, *names: str) -> dict[str, object]:
        return {name: self.info(name)["pid"] for name in names}

    def inside(self, pid: object) -> int:
        """The pid by which the test sees it."""
        for status in Path("/proc").glob("[0-9]*/status"):
            try:
                if re.search(rf"^NSpid:\s+(\d+)\s+{pid}$", status.read_text(), re.MULTILINE):
                    return int(status.parent.name)
            except OSError:
                continue
        raise LookupError(pid)

    def kill(self, signal: str, pid: object) -> None:
        self.machine.run("kill", f"-{signal}", str(pid))

    def another(self, old: int) -> int:
        """Until another daemon serves."""
        return wait_for(
            lambda: self.pid if self.pid not in {0, old} and self.state == "active" else 0, "another daemon"
        )

    def left(self) -> list[str]:
        """What still runs for the unit."""
        where = f"/sys/fs/cgroup/system.slice/{UNIT}"
        return self.machine.run(
            "sh", "-c", f"find {where} -name cgroup.procs -exec cat {{}} + 2>/dev/null || :"
        ).split()

    def ctl(self, *words: str) -> str:
        inner = " ".join(f"'{word}'" for word in [*client_command("supervise"), "-c", str(self.config), *words])
        return self.machine.run("sh", "-c", f"PYTHONPATH={ROOT} exec {inner}", check=False)


@pytest.fixture(scope="module")
def machine(shared_supervisors: Supervisors) -> Iterator[Machine]:
    place = shared_supervisors.place()
    with booted(place) as machine:
        yield machine


@pytest.fixture
def service(machine: Machine) -> Iterator[Service]:
    """Started."""
    service = Service(machine)
    service.systemctl("start")
    yield service
    machine.systemctl("kill", "--kill-who=all", "--signal=KILL", UNIT, check=False)
    machine.systemctl("stop", UNIT, check=False)
    machine.systemctl("reset-failed", check=False)
    machine.run(
        "sh", "-c", f"rm -rf /run/systemd/system/{UNIT}* /run/supervise {machine.place}/*.log {machine.place}/main.*"
    )
    machine.systemctl("daemon-reload")


def test_start_means_that_it_serves(service: Service) -> None:
    assert service.state == "active"
    assert service.info("lines")["statename"] == "RUNNING"
    assert "running" in service.show("StatusText").lower()
    assert service.show("NRestarts") == "0"
    kept = 1 + 1 + 6 + 3
    wait_for(
        lambda: int(service.show("NFileDescriptorStore")) == kept,
        "the lock, a listening socket, two pipes of each program, and a pidfd of each",
    )


def test_a_program_with_tree_scope_has_a_group_below_the_unit(service: Service) -> None:
    """Delegate=yes is what allows it."""
    names = {name: name_of(service.inside(pid)) or "" for name, pid in service.pids("lines", "tree").items()}
    assert names["lines"].endswith(f"/system.slice/{UNIT}")
    assert re.search(rf"/system.slice/{UNIT}/supervise-\w+-tree$", names["tree"])
    wait_for(lambda: "\nsleep 1000\n" in service.machine.run("ps", "-eo", "args"))
    with proxy(service.place / "s.sock") as rpc:
        rpc.supervisor.stopProcess("tree")
    assert "supervise-" not in service.machine.run("ls", f"/sys/fs/cgroup/system.slice/{UNIT}")
    assert "sleep 1000" not in service.machine.run("ps", "-eo", "args")


def test_a_killed_daemon_is_not_noticed(service: Service) -> None:
    before, old = service.pids("lines", "tree", "ends"), service.pid
    service.machine.systemctl("kill", "--kill-who=main", "--signal=KILL", UNIT)
    service.another(old)
    assert service.pids("lines", "tree", "ends") == before
    assert service.show("NRestarts") == "1"
    service.systemctl("stop")
    numbers = [int(line.split()[1]) for line in (service.place / "lines.log").read_text().splitlines()]
    assert numbers == list(range(1, len(numbers) + 1)), "no line is lost or doubled"


def test_what_ends_while_no_daemon_runs_is_known(service: Service) -> None:
    """Its last words are in systemd's store, and so is a pidfd that knows its exit status."""
    pid, old = service.pids("ends")["ends"], service.pid
    service.kill("STOP", old)
    service.machine.run("sh", "-c", f"echo 7 > /proc/{pid}/fd/0")
    wait_for(lambda: "\nState:\tZ" in service.machine.run("cat", f"/proc/{pid}/status"))
    service.kill("KILL", old)
    service.another(old)
    assert service.info("ends")["statename"] == "EXITED"
    release = tuple(int(part) for part in os.uname().release.split(".")[:2])
    assert service.info("ends")["exitstatus"] == (7 if release >= (6, 15) else 0)
    wait_for(lambda: (service.place / "ends.log").read_text() == "last words\n")


def test_a_daemon_that_hangs_is_killed(service: Service) -> None:
    service.adapt("watchdog", "WatchdogSec=5s\n")
    service.systemctl("restart")
    before, old = service.pids("lines", "tree"), service.pid
    service.kill("STOP", old)
    service.another(old)
    assert service.pids("lines", "tree") == before


def test_reload_starts_all_anew_unless_the_configuration_is_wrong(service: Service) -> None:
    before, pid = service.pids("lines", "ends"), service.pid
    service.configure(PROGRAMS.replace("startsecs = 0", "startsecs = soon", 1))
    service.systemctl("reload")
    wait_for(lambda: "reload refused" in (service.place / "main.log").read_text())
    wait_for(lambda: service.state == "active")
    assert service.pids("lines", "ends") == before
    service.configure(PROGRAMS)
    service.systemctl("reload")
    wait_for(lambda: not set(service.pids("lines", "ends").values()) & {0, *before.values()})
    wait_for(lambda: service.state == "active")
    assert service.pid == pid


def test_an_upgrade_keeps_the_pid(service: Service) -> None:
    before, pid = service.pids("lines", "tree"), service.pid
    service.ctl("upgrade")
    wait_for(lambda: "adopted: 'lines'" in (service.place / "main.log").read_text())
    wait_for(lambda: service.state == "active" and service.pids("lines", "tree") == before)
    assert service.pid == pid
    assert service.show("NRestarts") == "0"
    service.kill("KILL", pid)
    service.another(pid)
    assert service.pids("lines", "tree") == before


def test_stop_stops_everything(service: Service) -> None:
    wait_for(lambda: len(service.left()) >= 5)
    service.systemctl("stop")
    assert service.state == "inactive"
    assert service.show("Result") == "success"
    assert not service.left()
    assert not (service.place / "main.pid").exists()
    assert service.show("NFileDescriptorStore") == "0"


def test_a_stop_that_takes_too_long_leaves_nothing_either(service: Service) -> None:
    service.configure(PROGRAMS + DEAF)
    service.adapt("timeout", "TimeoutStopSec=3s\n")
    service.systemctl("restart")
    wait_for((service.place / "deaf").exists)
    service.systemctl("stop")
    assert service.show("Result") == "timeout"
    wait_for(lambda: not service.left())


def test_shutdown_is_the_end(service: Service) -> None:
    service.ctl("shutdown")
    wait_for(lambda: service.state == "inactive")
    assert service.show("Result") == "success"
    assert service.show("NRestarts") == "0"


def test_a_wrong_configuration_is_not_tried_again(service: Service) -> None:
    service.systemctl("stop")
    service.configure("[program:x]\n")
    service.systemctl("start", check=False)
    assert service.state == "failed"
    assert service.show("ExecMainStatus") == "2"
    assert service.show("NRestarts") == "0"
