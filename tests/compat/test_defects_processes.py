"""B19 to B33: defects of supervisord 4.3.0 in how it starts, stops and counts, and that they are not here.

A test is named after its row; where the real one shows the defect within seconds, it is asked too. The lessons of
others' mistakes are with the rows that they belong to: one queue per process, waiting states that can be left, replies
that tell what has happened.
"""

import ctypes
import os
import re
import resource
import shutil
import signal
import sys
import threading
import time
import xmlrpc.client
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.compat.pair import Pair, call
from tests.daemons import KINDS, Daemon, Kind, Supervisors, configuration, proxy
from tests.tools import ROOT, alive, missing, wait_for

pytestmark = pytest.mark.timeout(300)

PROGRAMS = """
[program:failing]
command = false
autostart = false
startretries = 1
startsecs = 30

[program:retrying]
command = false
autostart = false
startretries = 1000
startsecs = 30

[program:gone]
command = sleep 1000
autostart = false
startretries = 0
stdout_logfile = {place}/gone/out.log
startsecs = 0

[program:deaf]
command = sh -c 'trap "" TERM; echo deaf; while :; do sleep 0.1; done'
autostart = false
stopwaitsecs = 3600
startsecs = 0
stdout_logfile = {place}/deaf.log

[program:one]
command = sleep 1000
autostart = false

[program:two]
command = sleep 1000
autostart = false

[program:plain]
command = sleep 1000
startsecs = 0

[program:lost]
command = sleep 1000
directory = /no/such
autostart = false
startretries = 0

[program:patient]
command = sleep 1000
autostart = false
startsecs = 3600
"""


@pytest.fixture(scope="module")
def pair(shared_supervisors: Supervisors) -> Pair:
    """Both, on the same programs."""
    return Pair(shared_supervisors, PROGRAMS, prepare=lambda place: (place / "gone").mkdir())


@pytest.fixture
def ours(pair: Pair) -> Daemon:
    return pair.ours


@pytest.fixture
def theirs(pair: Pair) -> Daemon:
    return pair.theirs


def aside(act: Callable[[], object]) -> threading.Thread:
    """Another client, at the same time."""
    thread = threading.Thread(target=act)
    thread.start()
    return thread


def test_b19_a_manual_stop_resets_the_failure_counter(ours: Daemon, theirs: Daemon) -> None:
    """One retry: after a stop and a start by hand it fails twice again before it is given up.

    supervisord answers SPAWN_ERROR to a start when it has seen the end already, which is up to the clock.
    """
    start = call("supervisor.startProcess", "failing", False)

    def stopped_before_it_is_given_up(daemon: Daemon) -> bool:
        start(daemon)
        daemon.wait_state("failing", "BACKOFF", "FATAL")
        return call("supervisor.stopProcess", "failing")(daemon) is True  # a machine may have slept for a second

    def said(daemon: Daemon, line: str) -> int:
        return len(re.findall(line, daemon.log))

    for daemon, attempts in ((ours, 2), (theirs, 1)):
        wait_for(lambda daemon=daemon: stopped_before_it_is_given_up(daemon))
        wait_for(lambda daemon=daemon: said(daemon, "(exited|stopped): failing") == said(daemon, "spawned: 'failing'"))
        before, given_up = said(daemon, "spawned: 'failing'"), said(daemon, "gave up: failing")
        start(daemon)
        daemon.wait_state("failing", "FATAL")
        wait_for(lambda daemon=daemon, given_up=given_up: said(daemon, "gave up: failing") == given_up + 1)
        assert said(daemon, "spawned: 'failing'") == before + attempts


def test_b19_a_start_during_backoff_can_be_had_now(ours: Daemon) -> None:
    ours.rpc.supervisor.startProcess("retrying", False)
    ours.wait_state("retrying", "BACKOFF")
    assert call("supervisor.startProcess", "retrying")(ours)["faultString"] == "ALREADY_STARTED: retrying"
    wait_for(lambda: ours.api("/processes/retrying")["tries"] >= 3, "the next attempt is seconds away")
    wait_for(lambda: ours.log.count("exited: retrying") == ours.log.count("spawned: 'retrying'"), "all is written")
    before = ours.log.count("spawned: 'retrying'")
    ours.ctl("start", "--now", "retrying")
    wait_for(lambda: ours.log.count("spawned: 'retrying'") > before)


def test_b19_waiting_for_a_retry_can_be_ended(ours: Daemon) -> None:
    ours.wait_state("retrying", "BACKOFF")
    assert ours.rpc.supervisor.stopProcess("retrying") is True
    assert ours.info("retrying")["statename"] == "STOPPED"


def test_b20_nothing_is_running_without_a_process(ours: Daemon, theirs: Daemon) -> None:
    """supervisord 4.3.0 shows no process either that is not there: it does not start this one."""
    for daemon in (ours, theirs):
        shutil.rmtree(daemon.place / "gone")
    assert call("supervisor.startProcess", "gone")(theirs)["faultCode"] == 50
    info = theirs.info("gone")
    assert (info["statename"], info["pid"]) == ("FATAL", 0)
    ours.rpc.supervisor.startProcess("gone")
    info = ours.api("/processes/gone")
    assert info["statename"] == "RUNNING"
    assert alive(info["pid"])
    wait_for(lambda: "gone/out.log" in ours.log, "the missing directory is told")
    ours.rpc.supervisor.stopProcess("gone")
    assert not alive(info["pid"])
    for daemon in (ours, theirs):
        (daemon.place / "gone").mkdir(exist_ok=True)  # the configuration names it


@pytest.mark.parametrize("kind", KINDS)
def test_b21_any_command_to_a_stopping_process_is_answered(pair: Pair, kind: Kind) -> None:
    """By supervisord, too, since 4.2.2."""
    one = pair.ours if kind == "supervise" else pair.theirs
    one.rpc.supervisor.startProcess("deaf")
    wait_for(lambda: one.read("deaf.log"))
    pid = one.info("deaf")["pid"]
    one.rpc.supervisor.stopProcess("deaf", False)
    assert one.info("deaf")["statename"] == "STOPPING"
    commands: list[tuple[Any, ...]] = [
        ("signalProcess", "deaf", "TERM"),
        ("signalProcess", "deaf", "NOSUCH"),
        ("sendProcessStdin", "deaf", "x"),
        ("clearProcessLogs", "deaf"),
        ("removeProcessGroup", "deaf"),
        ("stopProcess", "deaf", False),
        ("startProcess", "deaf", False),
        ("stopProcess", "deaf", False),
    ]
    for method, *arguments in commands:
        answer = call(f"supervisor.{method}", *arguments)(one)
        assert answer is True or answer.get("faultCode"), (method, answer)
    one.rpc.supervisor.signalProcess("deaf", "KILL")
    one.wait_state("deaf", "STOPPED")
    assert not alive(pid)
    assert "Traceback" not in one.log + one.output


@pytest.mark.parametrize("kind", KINDS)
def test_b22_what_waits_for_a_retry_can_be_removed(supervisors: Supervisors, kind: Kind) -> None:
    """The row is from reports of earlier versions: supervisord 4.3.0 does it, too."""
    daemon = supervisors.start(kind, "[program:a]\ncommand = false\nstartretries = 1000\n")
    for _ in range(2):
        daemon.wait_state("a", "BACKOFF")
        daemon.configure("")
        assert daemon.ctl("update").returncode == 0
        assert daemon.states() == {}
        daemon.configure("[program:a]\ncommand = false\nstartretries = 1000\n")
        assert daemon.ctl("update").returncode == 0
    daemon.wait_state("a", "BACKOFF")
    spawned = daemon.log.count("spawned: 'a'")
    daemon.rpc.supervisor.stopProcess("a")
    assert call("supervisor.removeProcessGroup", "a")(daemon) is True
    assert daemon.log.count("spawned: 'a'") <= spawned + 1


# Python reads this first: the wall clock of that interpreter is off by what the file says, the monotonic one is not.
JUMPY = """\
import os, time
_time, _ns = time.time, time.time_ns
def _off():
    with open(os.environ["OFFSET"]) as file:
        return float(file.read() or 0)
time.time = lambda: _time() + _off()
time.time_ns = lambda: _ns() + int(_off()) * 10**9
"""

CLOCK = """
[program:young]
command = sleep 1000
startsecs = 3000

[program:soon]
command = sleep 1000
startsecs = 1
autostart = false

[program:deaf]
command = sh -c 'trap "" TERM; echo deaf; while :; do sleep 0.1; done'
stopwaitsecs = 3000
startsecs = 0
stdout_logfile = {place}/deaf.log
"""


def jumpy(supervisors: Supervisors, kind: Kind) -> Daemon:
    """A daemon whose wall clock `turn` can set; a machine's own must be left alone."""
    place = supervisors.place()
    (place / "clock").mkdir()
    (place / "clock/sitecustomize.py").write_text(JUMPY)
    turn(place, 0)
    env = {"PYTHONPATH": f"{place}/clock:{ROOT}", "OFFSET": str(place / "offset")}
    return supervisors.start(kind, CLOCK, place=place, env=env)


def turn(place: Path, seconds: float) -> None:
    """Set that clock forward or back."""
    (place / "new").write_text(str(seconds))
    (place / "new").rename(place / "offset")


@pytest.mark.parametrize("kind", KINDS)
def test_b23_a_clock_that_jumps_changes_no_duration(supervisors: Supervisors, kind: Kind) -> None:
    daemon = jumpy(supervisors, kind)
    wait_for(lambda: daemon.read("deaf.log"))
    daemon.wait_state("young", "STARTING")
    pid = daemon.info("deaf")["pid"]
    daemon.rpc.supervisor.stopProcess("deaf", False)
    turn(daemon.place, 7200)
    assert daemon.info("young")["now"] > time.time() + 3600, "its clock has jumped"
    if kind == "supervisord":
        daemon.wait_state("young", "RUNNING")
        daemon.wait_state("deaf", "STOPPED")
        assert "killing 'deaf'" in daemon.log
        return
    daemon.rpc.supervisor.startProcess("soon")  # a second on the other clock
    assert daemon.info("young")["statename"] == "STARTING"
    assert alive(pid)
    daemon.rpc.supervisor.stopProcess("soon")
    turn(daemon.place, -86400)
    daemon.rpc.supervisor.startProcess("soon")
    daemon.rpc.supervisor.signalProcess("deaf", "KILL")
    daemon.wait_state("deaf", "STOPPED")
    assert 0 <= daemon.api("/processes/young")["uptime"] < 1000


def test_b24_several_names_are_started_together(ours: Daemon, theirs: Daemon) -> None:
    for daemon, together in ((ours, True), (theirs, False)):
        assert daemon.ctl("start", "one", "two").returncode == 0
        wait_for(lambda daemon=daemon: len(re.findall(r"success: (?:one|two)\b", daemon.log)) == 2)
        found = re.findall(r"(spawned: '|success: )(?:one|two)\b", daemon.log)
        assert (found == ["spawned: '"] * 2 + ["success: "] * 2) is together, found


def test_b25_programs_start_at_once(supervisors: Supervisors) -> None:
    """supervisord looks at its clock once before it begins, a second later."""

    def pause(kind: Kind) -> int:
        """Milliseconds between two lines of the main log, of a daemon that nobody wakes by asking."""
        place = supervisors.place()
        (place / "s.conf").write_text(configuration(place, "[program:a]\ncommand = sleep 1000\n"))
        log = supervisors.run(kind, place / "s.conf", place, answers=False).wait_log("spawned: 'a'")
        times = re.findall(r":(\d\d),(\d\d\d) INFO (?:supervisord started|spawned: 'a')", log)
        first, second = (int(seconds) * 1000 + int(rest) for seconds, rest in times)
        return (second - first) % 60_000

    assert min(pause("supervise") for _ in range(3)) < 1000
    assert pause("supervisord") >= 1000


def test_b26_the_end_of_a_shutdown_and_a_reload_can_be_waited_for(supervisors: Supervisors) -> None:
    slow = "sh -c 'trap \"sleep 0.5; exit\" TERM; echo; while :; do sleep 0.1; done'"
    daemon = supervisors.start("supervise", f"[program:a]\ncommand = {slow}\nstartsecs = 0\n")
    pid = daemon.wait_state("a", "RUNNING")["pid"]
    assert daemon.ctl("reload", "--wait").returncode == 0
    assert not alive(pid)
    again = daemon.wait_state("a", "RUNNING")["pid"]
    assert daemon.ctl("shutdown", "--wait").returncode == 0
    assert not alive(again)
    assert daemon.process.wait(60) == 0
    slower = slow.replace("0.5", "30")
    real = supervisors.start("supervisord", f"[program:a]\ncommand = {slower}\nstartsecs = 0\n")
    pid = real.wait_state("a", "RUNNING")["pid"]
    wait_for(lambda: len(psutil.Process(pid).children()) > 0)
    assert real.ctl("shutdown").returncode == 0
    assert alive(pid), "and there is no way to wait"


def test_b27_a_slow_stop_delays_only_later_commands_for_the_same_process(ours: Daemon) -> None:
    """And those take it from there: the last order counts, and nobody waits for ever."""
    said = len(ours.read("deaf.log"))
    ours.rpc.supervisor.startProcess("deaf")
    wait_for(lambda: len(ours.read("deaf.log")) > said, "it is deaf now")
    pid = ours.info("deaf")["pid"]
    stopped: list[object] = []

    def stop() -> None:
        with proxy(ours.socket) as rpc:
            stopped.append(rpc.supervisor.stopProcess("deaf"))

    stopping = aside(stop)
    ours.wait_state("deaf", "STOPPING")
    assert ours.rpc.supervisor.stopProcess("plain") is True, "another program's commands are not kept"
    assert ours.rpc.supervisor.startProcess("plain") is True
    assert ours.ctl("update").returncode == 0
    assert stopping.is_alive()
    ours.rpc.supervisor.startProcess("deaf", False)
    ours.rpc.supervisor.signalProcess("deaf", "KILL")
    again = ours.wait_state("deaf", "RUNNING")
    assert again["pid"] != pid
    stopping.join(60)
    assert not stopping.is_alive()
    ours.rpc.supervisor.stopProcess("deaf", False)
    call("supervisor.signalProcess", "deaf", "KILL")(ours)  # it may have ended before it was deaf
    ours.wait_state("deaf", "STOPPED")


def test_b27_what_is_answered_is_done(ours: Daemon, theirs: Daemon) -> None:
    """A start of what is just being stopped: supervisord says yes and forgets it."""
    for daemon, state in ((ours, "RUNNING"), (theirs, "STOPPED")):
        said = len(daemon.read("deaf.log"))
        daemon.rpc.supervisor.startProcess("deaf")
        wait_for(lambda daemon=daemon, said=said: len(daemon.read("deaf.log")) > said, "it is deaf now")
        pid = daemon.info("deaf")["pid"]
        daemon.rpc.supervisor.stopProcess("deaf", False)
        assert (call("supervisor.stopProcess", "deaf", False)(daemon) is True) is (state == "RUNNING")
        assert call("supervisor.startProcess", "deaf", False)(daemon) is True
        daemon.rpc.supervisor.signalProcess("deaf", "KILL")
        assert daemon.wait_state("deaf", state)["pid"] != pid
        assert not alive(pid)
        if state == "RUNNING":
            daemon.rpc.supervisor.stopProcess("deaf", False)
            call("supervisor.signalProcess", "deaf", "KILL")(daemon)  # it may have ended before it was deaf
            daemon.wait_state("deaf", "STOPPED")


def test_b27_many_clients_at_once_leave_one_process(ours: Daemon) -> None:
    def restart() -> None:
        with proxy(ours.socket) as rpc:
            for method in ("stopProcess", "startProcess") * 10:
                try:
                    getattr(rpc.supervisor, method)("plain")
                except xmlrpc.client.Fault as fault:
                    faults.add(fault.faultString)

    faults: set[str] = set()
    clients = [aside(restart) for _ in range(4)]
    for client in clients:
        client.join(120)
        assert not client.is_alive()
    allowed = {"ALREADY_STARTED: plain", "NOT_RUNNING: plain", "ABNORMAL_TERMINATION: plain"}
    assert faults <= allowed, "the last one: stopped by another client before it was up"
    call("supervisor.startProcess", "plain")(ours)
    last = ours.wait_state("plain", "RUNNING")["pid"]
    said = ours.wait_log(f"spawned: 'plain' with pid {last}\n")
    assert said.count("spawned: 'plain'") - said.count("stopped: plain") == 1


def test_b28_a_restart_of_all_can_leave_alone_what_is_stopped(supervisors: Supervisors) -> None:
    programs = "[program:on]\ncommand = sleep 1000\nstartsecs = 0\n"
    programs += programs.replace("on]", "off]") + "autostart = false\n"
    daemon, real = (supervisors.start(kind, programs) for kind in KINDS)
    real.wait_state("on", "RUNNING")
    assert real.ctl("restart", "all").returncode == 0  # the only way there
    real.wait_state("off", "RUNNING")
    pid = daemon.wait_state("on", "RUNNING")["pid"]
    assert daemon.ctl("restart", "--only-running", "all").returncode == 0
    assert daemon.wait_state("on", "RUNNING")["pid"] != pid
    assert daemon.info("off")["statename"] == "STOPPED"
    assert daemon.ctl("restart", "all").returncode == 0
    daemon.wait_state("off", "RUNNING")


def test_b29_more_descriptors_than_there_can_be_are_no_obstacle(supervisors: Supervisors) -> None:
    main = "minfds = 2000000000\n"
    program = "[program:a]\ncommand = sleep 1000\nstartsecs = 0\n"
    daemon = supervisors.start("supervise", program, main)
    daemon.wait_state("a", "RUNNING")
    daemon.wait_log("minfds")
    real = supervisors.run("supervisord", daemon.config, supervisors.place(), answers=False)
    assert real.process.wait(60) == 2
    assert "file descriptors" in real.output
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    child = psutil.Process(daemon.info("a")["pid"])
    assert child.rlimit(psutil.RLIMIT_NOFILE)[0] >= min(hard, 1024)
    assert set(os.listdir(f"/proc/{child.pid}/fd")) == {"0", "1", "2"}


MILLION = 1_000_000
# Python reads this first: a machine that allows so many, whatever this one does.
ROOMY = f"""\
import resource
_get = resource.getrlimit
resource.getrlimit = lambda which: ({MILLION}, {MILLION}) if which == resource.RLIMIT_NOFILE else _get(which)
"""


def test_b29_a_million_descriptors_cost_a_spawn_nothing(supervisors: Supervisors) -> None:
    """The time that a process has used before its first instruction is what its start has cost: /proc/PID/stat keeps it
    over an exec. It is processor time, so that a busy machine changes nothing."""
    program = "[program:a]\ncommand = cat /proc/self/stat\nstdout_logfile = {place}/stat\nstartsecs = 0\n"
    program += "autorestart = false\n"
    cases: dict[Kind, bool] = {"supervise": True, "supervisord": False}
    for kind, cheap in cases.items():
        place = supervisors.place()
        (place / "limits").mkdir()
        (place / "limits/sitecustomize.py").write_text(ROOMY)
        env = {"PYTHONPATH": f"{place}/limits:{ROOT}"}
        daemon = supervisors.start(kind, program, f"minfds = {MILLION}\n", place=place, env=env)
        fields = wait_for(lambda daemon=daemon: daemon.read("stat").rpartition(")")[2].split())
        seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime, stime
        assert (seconds < 0.1) is cheap, (kind, seconds)


PTRACE_SEIZE = 0x4206


UNKILLABLE = "[program:a]\ncommand = sleep 1000\nstopwaitsecs = 1\nstartsecs = 0\nautorestart = false\n"


@contextmanager
def traced(pid: int) -> Iterator[None]:
    """A tracer keeps the end of a process from its parent for as long as it likes: ours, the test."""
    if ctypes.CDLL(None, use_errno=True).ptrace(PTRACE_SEIZE, pid, 0, 0) != 0:
        missing(f"a grandchild cannot be traced here: ptrace: {os.strerror(ctypes.get_errno())}")
    try:
        yield
    finally:
        os.waitpid(pid, 0)  # now its parent may have it


def test_b30_what_cannot_be_killed_becomes_unknown(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", UNKILLABLE)
    with traced(daemon.wait_state("a", "RUNNING")["pid"]):
        answer = call("supervisor.stopProcess", "a")(daemon)
        assert daemon.info("a")["statename"] == "UNKNOWN"
        assert answer is not True, "a reply tells what has happened"
        assert daemon.api("/processes/a")["reason"]
        daemon.wait_log("killing 'a'")
    daemon.wait_state("a", "STOPPED", "EXITED")
    assert call("supervisor.startProcess", "a")(daemon) is True


def test_b30_supervisord_tries_for_ever(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervisord", UNKILLABLE)
    with traced(daemon.wait_state("a", "RUNNING")["pid"]):
        daemon.rpc.supervisor.stopProcess("a", False)
        wait_for(lambda: daemon.log.count("killing 'a'") >= 3)
        assert daemon.info("a")["statename"] == "STOPPING"


@pytest.mark.parametrize("kind", KINDS)
def test_b31_a_killed_daemon_is_not_followed_by_second_copies(supervisors: Supervisors, kind: Kind) -> None:
    program = "[program:a]\ncommand = sleep 1000\nstartsecs = 0\n"
    daemon = supervisors.start(kind, program)
    pid = daemon.wait_state("a", "RUNNING")["pid"]
    daemon.disconnect()
    daemon.process.send_signal(signal.SIGKILL)
    daemon.process.wait()
    assert alive(pid)
    second = supervisors.run(kind, daemon.config, daemon.place)
    after = second.wait_state("a", "RUNNING")["pid"]
    assert alive(pid)
    assert (after == pid) is (kind == "supervise")
    if kind == "supervise":
        second.rpc.supervisor.stopProcess("a")
        assert not alive(pid)


# Makes strangers its own, as they are of PID 1 (PR_SET_CHILD_SUBREAPER outlives an exec), and becomes the daemon.
ADOPTING = "import ctypes, os, sys; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0); os.execvp(sys.argv[1], sys.argv[1:])"
STRANGERS = 150


def test_b32_however_many_strangers_end_they_are_reaped(supervisors: Supervisors) -> None:
    """They end while the daemon stands still, and it hears of them once. supervisord takes a hundred of them; the
    others stay zombies until something else makes its loop come round."""
    crowd = f"sh -c 'for i in $(seq {STRANGERS}); do (read line < {{place}}/gate &); done; exec sleep 1000'"
    program = f"[program:crowd]\ncommand = {crowd}\nautostart = false\nstartsecs = 0\n"
    at_once: dict[Kind, int] = {"supervise": STRANGERS, "supervisord": 100}
    for kind, most in at_once.items():
        place = supervisors.place()
        os.mkfifo(place / "gate")
        gate = os.open(place / "gate", os.O_RDWR)
        try:
            prefix = (sys.executable, "-c", ADOPTING)
            daemon = supervisors.start(kind, program, "loglevel = debug\n", place=place, prefix=prefix)
            daemon.rpc.supervisor.startProcess("crowd", False)
            own = psutil.Process(daemon.pid)
            wait_for(lambda own=own: len(own.children()) == STRANGERS + 1, "they have lost their parents")
            daemon.process.send_signal(signal.SIGSTOP)
            wait_for(lambda own=own: own.status() == psutil.STATUS_STOPPED)
            os.write(gate, b"\n" * STRANGERS)
            wait_for(lambda own=own: zombies(own) == STRANGERS)
            daemon.process.send_signal(signal.SIGCONT)
            wait_for(lambda daemon=daemon: daemon.log.count("reaped unknown pid") == STRANGERS)
            assert zombies(own) == 0
            turns = daemon.log.split("received SIGCHLD indicating a child quit")
            assert max(turn.count("reaped unknown pid") for turn in turns) == most
        finally:
            os.close(gate)


def zombies(parent: psutil.Process) -> int:
    return sum(child.status() == psutil.STATUS_ZOMBIE for child in parent.children())


def test_b33_a_start_that_fails_says_where_and_why(ours: Daemon, theirs: Daemon) -> None:
    for daemon, told in ((ours, True), (theirs, False)):
        call("supervisor.startProcess", "lost", False)(daemon)
        why = daemon.wait_state("lost", "FATAL")["spawnerr"]
        assert ("chdir to /no/such: ENOENT" in why) is told
        if told:
            daemon.wait_log("/no/such")
        assert ("/no/such" in daemon.log) is told


def test_a_restart_that_fails_says_so(ours: Daemon) -> None:
    """Others said success. The reply and the exit code tell what has happened."""
    ours.wait_state("failing", "STOPPED", "FATAL")
    for words in (("restart", "failing"), ("start", "failing"), ("start", "lost", "failing")):
        done = ours.ctl(*words)
        assert "failing: ERROR (" in done.stdout
        assert "started" not in done.stdout.replace("already started", "")
        assert done.returncode != 0
        ours.rpc.supervisor.stopAllProcesses()
