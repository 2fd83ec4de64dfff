"""A disk that hangs under the logs, and a daemon that is killed meanwhile: every line is there once when it thaws."""

import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemons import Daemon, Supervisors
from tests.disks import Disk, mounted
from tests.tools import wait_for

pytestmark = pytest.mark.timeout(300)

# What a program is about to write is also where nothing hangs. One process writes both: nobody is late after its end.
PROGRAMS = """
[program:steady]
command = bash -c 'for ((i = 1;; i++)); do echo line $i >> {place}/steady.truth; echo line $i; sleep 0.002; done'
stdout_logfile = {disk}/steady.log
stdout_logfile_maxbytes = 20KB
stdout_logfile_backups = 1000
startsecs = 0
[program:coloured]
command = bash -c 'for ((i = 1;; i++)); do echo line $i >> {place}/coloured.truth; echo line $i; sleep 0.002; done'
stdout_logfile = {disk}/coloured.log
stdout_capture_maxbytes = 1KB
startsecs = 0
[program:bystander]
command = cat
stdout_logfile = {place}/bystander.log
startsecs = 0
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with mounted(tmp_path) as disk:
        yield disk


def lines(path: Path) -> list[str]:
    """Of all generations, in their order."""
    backups = sorted(path.parent.glob(path.name + ".*"), key=lambda each: -int(each.suffix[1:]))
    return "".join(each.read_text() for each in [*backups, path] if each.exists()).splitlines()


def difference(truth: list[str], found: list[str]) -> str:
    """Where they part, and what is lost or doubled."""
    place = next((number for number, (a, b) in enumerate(zip(truth, found, strict=False)) if a != b), len(found))
    lost, more = ([*(Counter(a) - Counter(b)).elements()] for a, b in ((truth, found), (found, truth)))
    parts = f"of {len(truth)} lines {len(lost)} are lost {lost[:3]} and {len(more)} too many {more[:3]}"
    return f"{parts}; after {found[max(0, place - 3) : place]} comes {found[place : place + 3]}"


def hangs(daemon: Daemon) -> bool:
    return "hangs" in daemon.api("/processes/steady")["log_problem"]


def serves_others(daemon: Daemon) -> None:
    """While it waits for a disk: their output comes where it belongs."""
    wait_for(lambda: hangs(daemon))
    before = daemon.read("bystander.log")
    daemon.rpc.supervisor.sendProcessStdin("bystander", "well\n")
    wait_for(lambda: daemon.read("bystander.log") == before + "well\n")


@pytest.mark.parametrize("when", ["as it begins", "when it is known"])
def test_killed_while_the_disk_hangs(supervisors: Supervisors, place: Path, disk: Disk, when: str) -> None:
    chance = random.Random(when)
    programs = PROGRAMS.replace("{disk}", str(disk.place)).replace("{place}", str(place))
    daemon = supervisors.start("supervise", programs, place=place)
    daemon.wait_state("steady", "RUNNING")
    wait_for(lambda: len(lines(disk.place / "steady.log")) > 100)
    for _ in range(3):
        disk.freeze()
        if when == "when it is known":
            serves_others(daemon)
        time.sleep(chance.uniform(0, 0.5))
        daemon.process.send_signal(signal.SIGKILL)  # it cannot end before the disk lets it go
        time.sleep(chance.uniform(0, 0.3))
        disk.thaw()
        daemon.process.wait()
        daemon.disconnect()
        supervisors.running.remove(daemon)
        daemon = supervisors.run("supervise", daemon.config, place)
    daemon.rpc.supervisor.stopAllProcesses()
    assert daemon.stop() == 0
    for name in ("steady", "coloured"):
        truth, found = daemon.read(f"{name}.truth").splitlines(), lines(disk.place / f"{name}.log")
        assert len(truth) > 100
        # The last may have been on its way into the pipe.
        assert found in (truth, truth[:-1]), f"{name}: {difference(truth, found)}"


def test_it_ends_while_the_disk_hangs_and_thaws(supervisors: Supervisors, place: Path, disk: Disk) -> None:
    """Not killed: it goes on by itself."""
    programs = PROGRAMS.replace("{disk}", str(disk.place)).replace("{place}", str(place))
    daemon = supervisors.start("supervise", programs, place=place)
    wait_for(lambda: len(lines(disk.place / "steady.log")) > 100)
    disk.freeze()
    wait_for(lambda: hangs(daemon))
    for runs in (2, 3, 4):  # what earlier ones have written comes first
        daemon.rpc.supervisor.stopProcess("steady")
        daemon.rpc.supervisor.startProcess("steady")
        wait_for(lambda runs=runs: daemon.read("steady.truth").count("line 1\nline 2\n") == runs)
    disk.thaw()
    wait_for(lambda: not daemon.api("/processes/steady")["log_problem"])
    daemon.rpc.supervisor.stopAllProcesses()
    assert daemon.stop() == 0
    found = lines(disk.place / "steady.log")
    assert found.count("line 1") == 4
    for run in " ".join(found).split("line 1 ")[1:]:
        numbers = [int(word) for word in run.split() if word != "line"]
        assert numbers == list(range(2, len(numbers) + 2))


def test_told_to_end_while_the_disk_hangs(supervisors: Supervisors, place: Path, disk: Disk) -> None:
    """It does not wait for the disk; the next daemon writes what it could not."""
    programs = PROGRAMS.replace("{disk}", str(disk.place)).replace("{place}", str(place))
    daemon = supervisors.start(
        "supervise", programs.replace("startsecs", "autorestart = false\nstartsecs"), place=place
    )
    wait_for(lambda: len(lines(disk.place / "steady.log")) > 100)
    disk.freeze()
    wait_for(lambda: hangs(daemon))
    daemon.process.send_signal(signal.SIGTERM)
    wait_for(lambda: "stopped: steady" in daemon.log)
    wait_for(lambda: not (place / "main.pid").exists() or not (place / "s.sock").exists())
    time.sleep(1)
    disk.thaw()
    daemon.process.wait()
    daemon.disconnect()
    supervisors.running.remove(daemon)
    truths = {name: daemon.read(f"{name}.truth").splitlines() for name in ("steady", "coloured")}
    daemon.config.write_text(daemon.config.read_text().replace("startsecs", "autostart = false\nstartsecs"))
    daemon = supervisors.run("supervise", daemon.config, place)
    for name, truth in truths.items():
        wait_for(lambda name=name, truth=truth: lines(disk.place / f"{name}.log") in (truth, truth[:-1]), name)
    assert daemon.stop() == 0
