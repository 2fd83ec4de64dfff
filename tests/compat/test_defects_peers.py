"""What other supervisors got wrong, and what must not come in with their features. A test is named after the tool.

Some lessons are with the rows of supervisord's own defects: one queue per process (B27), waiting states that can be
left (B19), replies that tell the real result (a restart that fails), the exit status that propagates (B52), no second
daemon (B47), who still writes after its leader has gone (B6).
"""

import re
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.daemons import Daemon, Supervisors, proxy
from tests.tools import alive, wait_for

PROGRAMS = """
[program:worker]
command = sleep 1000
process_name = worker_%(process_num)d
numprocs = 3
startsecs = 0
autorestart = true

[program:slow]
command = sh -c 'trap "" TERM; echo deaf; while :; do sleep 0.1; done'
stopwaitsecs = 3600
startsecs = 0
stdout_logfile = {place}/slow.log

[program:talks]
command = sh -c 'trap "echo goodbye; sleep 0.3; echo last words; exit 0" TERM; echo hello; while :; do sleep 0.1; done'
startsecs = 0
stdout_logfile = {place}/talks.log
stdout_syslog = false

[program:never]
command = sh -c 'test -e {place}/now && exec sleep 1000'
startretries = 0
autostart = false

[program:retries]
command = false
startretries = 1000
autostart = false

[program:zombies]
command = sh -c 'for i in 1 2 3 4 5 6 7 8 9; do (sleep 0.1 &); done; exec sleep 1000'
startsecs = 0

[program:all]
command = sh -c 'sleep 900 & sleep 901 & wait'
stopasgroup = true
startsecs = 0

[program:exhausts]
command = false
startsecs = 0
autorestart = true
"""


@pytest.fixture(scope="module")
def daemon(shared_supervisors: Supervisors) -> Daemon:
    daemon = shared_supervisors.start("supervise", PROGRAMS, "loglevel = debug\nshutdown_timeout = 1\n")
    wait_for(lambda: daemon.read("slow.log") and daemon.read("talks.log"))
    for number in range(3):
        daemon.wait_state(f"worker:worker_{number}", "RUNNING")
    return daemon


def pids(daemon: Daemon) -> list[int]:
    return [daemon.info(f"worker:worker_{number}")["pid"] for number in range(3)]


def test_circus_the_end_of_one_worker_is_its_own(daemon: Daemon) -> None:
    """circus stopped the whole watcher, or brought up workers while it was stopping them."""
    before = pids(daemon)
    psutil.Process(before[0]).kill()
    wait_for(lambda: pids(daemon)[0] not in (0, before[0]))
    assert pids(daemon)[1:] == before[1:]
    daemon.rpc.supervisor.stopProcessGroup("worker")
    wait_for(lambda: daemon.log.count("stopped: worker_") == 3, "all is written")
    assert daemon.log.count("spawned: 'worker_") == 4
    assert pids(daemon) == [0, 0, 0]
    daemon.rpc.supervisor.signalAllProcesses("CONT")
    assert pids(daemon) == [0, 0, 0]
    daemon.rpc.supervisor.startProcessGroup("worker")
    wait_for(lambda: daemon.log.count("spawned: 'worker_") == 7, "these three, and nobody before them")


def test_circus_no_command_is_refused_because_another_one_runs(daemon: Daemon) -> None:
    def ask(method: str, *words: Any) -> Any:
        with proxy(daemon.socket) as rpc:
            return getattr(rpc.supervisor, method)(*words)

    stopping = threading.Thread(target=ask, args=("stopProcess", "slow"))
    stopping.start()
    daemon.wait_state("slow", "STOPPING")
    before = pids(daemon)
    assert daemon.ctl("restart", "worker:*").returncode == 0
    assert not set(pids(daemon)) & set(before)
    assert ask("reloadConfig") == [[[], [], []]]
    assert stopping.is_alive()
    ask("signalProcess", "slow", "KILL")
    stopping.join(60)
    assert daemon.info("slow")["statename"] == "STOPPED"
    ask("startProcess", "slow")


def test_process_compose_what_waits_can_be_restarted_and_stopped(daemon: Daemon) -> None:
    daemon.rpc.supervisor.startProcess("retries", False)
    daemon.wait_state("retries", "BACKOFF")
    done = daemon.ctl("restart", "retries")
    assert "retries: ERROR (" in done.stdout
    daemon.wait_state("retries", "BACKOFF")
    assert daemon.rpc.supervisor.stopProcess("retries") is True
    assert daemon.info("retries")["statename"] == "STOPPED"


def test_giving_up_is_loud_and_can_be_taken_back(daemon: Daemon) -> None:
    """monit stops looking after a program, for good and without a word."""
    assert daemon.ctl("start", "never").returncode != 0
    assert daemon.info("never")["statename"] == "FATAL"
    daemon.wait_log("gave up: never entered FATAL state, too many start retries too quickly")
    assert re.search(r"never +FATAL ", daemon.ctl("status", "never").stdout)
    (daemon.place / "now").touch()
    assert daemon.ctl("start", "never").returncode == 0
    assert daemon.info("never")["statename"] == "RUNNING"


def test_systemd_quick_restarts_are_slowed_and_never_refused_for_good(daemon: Daemon) -> None:
    """StartLimit leaves a service down after a few quick failures."""
    wait_for(lambda: daemon.log.count("spawned: 'exhausts'") > 12)
    assert daemon.info("exhausts")["statename"] in ("STARTING", "RUNNING", "EXITED", "BACKOFF")
    assert daemon.api("/processes/exhausts")["wanted"] is True


def test_go_supervisord_no_zombies_and_stopasgroup_means_the_group(daemon: Daemon) -> None:
    leader = psutil.Process(daemon.info("all")["pid"])
    family = wait_for(lambda: found if len(found := leader.children(recursive=True)) == 2 else [])
    daemon.rpc.supervisor.stopProcess("all")
    wait_for(lambda: re.search(r"killing all \(pid \d+\) process group with signal SIGTERM", daemon.log))
    wait_for(lambda: not any(alive(one.pid) for one in family))
    children = psutil.Process(daemon.pid).children()
    wait_for(lambda: not [one for one in children if one.is_running() and one.status() == psutil.STATUS_ZOMBIE])


def test_runit_the_log_outlives_the_program(daemon: Daemon) -> None:
    """Its logger was ended before the service, whose last words were lost."""
    daemon.rpc.supervisor.stopProcess("talks")
    wait_for(lambda: daemon.read("talks.log") == "hello\ngoodbye\nlast words\n")


def test_runit_and_so_it_is_at_the_end_of_all(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", PROGRAMS.partition("[program:never]")[0].replace("3600", "1"))
    wait_for(lambda: daemon.read("talks.log"))
    assert daemon.stop() == 0
    assert daemon.read("talks.log") == "hello\ngoodbye\nlast words\n"


def test_pm2_logs_fill_no_disk_by_default(daemon: Daemon) -> None:
    """Whoever configures nothing has 50 MB and ten of them, per stream."""
    (row,) = [row for row in daemon.rpc.supervisor.getAllConfigInfo() if row["name"] == "zombies"]
    assert (row["stdout_logfile_maxbytes"], row["stdout_logfile_backups"]) == (50 << 20, 10)
    assert (row["stderr_logfile_maxbytes"], row["stderr_logfile_backups"]) == (50 << 20, 10)
    assert Path(daemon.info("zombies")["stdout_logfile"]).parent == daemon.place


def test_honcho_the_end_of_one_program_is_not_the_end_of_all(daemon: Daemon) -> None:
    psutil.Process(daemon.info("zombies")["pid"]).kill()
    daemon.wait_log("exited: zombies (terminated by SIGKILL; not expected)")
    daemon.wait_state("zombies", "RUNNING")
    assert daemon.rpc.supervisor.getState()["statename"] == "RUNNING"
