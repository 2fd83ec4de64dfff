"""Event listeners over the daemon's death: the one in flight, those that wait, and those that come meanwhile."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from supervise.system.stdin import CAP_SYS_PTRACE
from tests.daemons import Daemon, Supervisors, journals, proxy
from tests.e2e.test_survival import in_background, info, kill, pid_of
from tests.tools import alive, need, need_root, wait_for

pytestmark = pytest.mark.timeout(300)

# Writes down what it is sent, and acknowledges it when it may: when there is the file `go`.
LISTENER = """\
import os, sys, time
place = sys.argv[1]
def say(text):
    sys.stdout.write(text)
    sys.stdout.flush()
while True:
    say("READY\\n")
    header = dict(word.split(":") for word in sys.stdin.readline().split())
    payload = sys.stdin.read(int(header["len"])).partition("\\n")[2]
    with open(place + "/events", "a") as out:
        out.write(f"{payload} {header['serial']} {header['poolserial']} {os.getpid()}\\n")
    while not os.path.exists(place + "/go"):
        time.sleep(0.01)
    say("RESULT 2\\nOK")
"""
# The same in a language that every user can execute.
IN_BASH = """\
while printf 'READY\\n' && read -r header; do
    IFS= read -r -N "${header##*len:}" payload
    serial=${header#*serial:} poolserial=${header#*poolserial:}
    echo "${payload#*$'\\n'} ${serial%% *} ${poolserial%% *} $$" >> "$1/events"
    while ! test -e "$1/go"; do sleep 0.01; done
    printf 'RESULT 2\\nOK'
done
"""
POOL = f"""
[eventlistener:hears]
command = {sys.executable} -u {{place}}/listener.py {{place}}
events = REMOTE_COMMUNICATION
buffer_size = 1000
stdout_logfile = {{place}}/hears.log
startsecs = 0
"""


def tell(place: Path, first: int, count: int) -> None:
    """Events that the daemon has accepted."""
    with proxy(place / "s.sock") as rpc:
        for number in range(first, first + count):
            assert rpc.supervisor.sendRemoteCommEvent("t", f"number-{number}") is True


def heard(place: Path) -> list[list[str]]:
    """By event as it was sent: its number, serial, poolserial, and the listener's pid."""
    path = place / "events"
    text = path.read_text() if path.exists() else ""
    return [line.split() for line in text.splitlines(keepends=True) if line.endswith("\n")]


def judge(place: Path, count: int, *, listeners: int = 1) -> None:
    """All have been acknowledged, in order, under serials of their own; only what was in flight came twice."""
    wait_for(lambda: len({number for number, *_ in heard(place)}) == count, "all events")
    found = heard(place)
    numbers = [int(number.removeprefix("number-")) for number, *_ in found]
    assert sorted(set(numbers)) == list(range(count))
    assert len(numbers) < count + listeners
    assert numbers == sorted(numbers)
    assert [serial for _, serial, *_ in dict.fromkeys(map(tuple, (each[:3] for each in found)))] == [
        str(number) for number in range(count)
    ]
    assert len({pid for *_, pid in found}) == listeners


def prepare(place: Path) -> None:
    (place / "listener.py").write_text(LISTENER)


def test_killed_with_a_keeper(place: Path) -> None:
    prepare(place)
    with in_background(place, POOL) as pidfile:
        pid = pid_of(place, "hears")
        tell(place, 0, 20)
        wait_for(lambda: len(heard(place)) == 1)
        for round_ in (1, 2, 3):
            kill(pidfile)
            assert pid_of(place, "hears") == pid
            tell(place, 20 * round_, 20)
        (place / "go").touch()
        judge(place, 80)
        tell(place, 80, 5)
        judge(place, 85)
        wait_for(lambda: (place / "hears.log").read_text() == "READY\n" + "RESULT 2\nOKREADY\n" * 85, "all in its log")


def killed(supervisors: Supervisors, daemon: Daemon) -> Daemon:
    return supervisors.another(daemon)


def upgraded(supervisors: Supervisors, daemon: Daemon) -> Daemon:
    before = daemon.log.count("supervisord started with pid")
    daemon.process.send_signal(signal.SIGUSR1)
    wait_for(lambda: daemon.log.count("supervisord started with pid") == before + 1, "an upgrade")
    daemon.disconnect()
    return daemon


@pytest.mark.parametrize("die", [killed, upgraded])
def test_nobody_keeps_anything(supervisors: Supervisors, die: Callable[[Supervisors, Daemon], Daemon]) -> None:
    place = supervisors.place()
    prepare(place)
    daemon = supervisors.start("supervise", POOL, place=place)
    pid = daemon.wait_state("hears", "RUNNING")["pid"]
    tell(place, 0, 20)
    wait_for(lambda: len(heard(place)) == 1)
    for times in (1, 2):
        daemon = die(supervisors, daemon)
        assert daemon.wait_state("hears", "RUNNING")["pid"] == pid
        tell(place, 20 * times, 20)
    assert daemon.api("/processes/hears")["listener"]["waiting"] == 59
    (place / "go").touch()
    judge(place, 60)
    wait_for(lambda: daemon.api("/processes/hears")["listener"]["state"] == "READY")
    assert daemon.stop() == 0
    assert not alive(pid)


def test_a_listener_that_dies_while_there_is_no_daemon(place: Path, supervisors: Supervisors) -> None:
    """The event that it had is sent to the one that takes its place."""
    prepare(place)
    daemon = supervisors.start("supervise", POOL, place=place)
    pid = daemon.wait_state("hears", "RUNNING")["pid"]
    tell(place, 0, 5)
    wait_for(lambda: len(heard(place)) == 1)
    daemon.stop(signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not alive(pid))
    (place / "go").touch()
    supervisors.run("supervise", daemon.config, place)
    judge(place, 5, listeners=2)


def test_a_last_word_while_there_is_no_daemon(place: Path) -> None:
    """With a keeper even that counts: it acknowledged its event, and left."""
    prepare(place)
    script = (place / "listener.py").read_text().replace('say("RESULT 2\\nOK")', 'say("RESULT 2\\nOK"); sys.exit(0)')
    (place / "listener.py").write_text(script)
    with in_background(place, POOL + "autorestart = true\n") as pidfile:
        pid, daemon = pid_of(place, "hears"), int(pidfile.read_text())
        tell(place, 0, 3)
        wait_for(lambda: len(heard(place)) == 1)
        os.kill(daemon, signal.SIGSTOP)  # so that it sees nothing
        (place / "go").touch()
        wait_for(lambda: not alive(pid))
        kill(pidfile)
        judge(place, 3, listeners=3)
        assert info(place, "hears")["exitstatus"] == 0


def test_events_that_wait_while_listeners_are_stopped(place: Path, supervisors: Supervisors) -> None:
    prepare(place)
    (place / "go").touch()
    daemon = supervisors.start("supervise", POOL + "autostart = false\n", place=place)
    tell(place, 0, 10)
    daemon = killed(supervisors, daemon)
    tell(place, 10, 5)
    daemon.rpc.supervisor.startProcess("hears")
    judge(place, 15)


def test_another_user_without_the_right_to_look(place: Path) -> None:
    """Root in a container without CAP_SYS_PTRACE: the keeper has what cannot be opened anew."""
    need_root()
    prepare(place)
    place.chmod(0o777)
    (place / "listener.sh").write_text(IN_BASH)
    hears = POOL.replace(f"{sys.executable} -u {{place}}/listener.py", "/bin/bash {place}/listener.sh")
    cat = f"[program:cat]\ncommand = cat\nuser = nobody\nstdout_logfile = {place}/cat.log\nstartsecs = 0\n"
    drop = (need("setpriv"), "--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace")
    with in_background(place, hears + "user = nobody\n" + cat, prefix=drop) as pidfile:
        assert "CapEff:" in (status := Path(f"/proc/{pidfile.read_text().strip()}/status").read_text())
        assert not int(status.partition("CapEff:")[2].split()[0], 16) >> CAP_SYS_PTRACE & 1
        pids = {name: pid_of(place, name) for name in ("hears", "cat")}
        tell(place, 0, 3)
        wait_for(lambda: len(heard(place)) == 1)
        kill(pidfile)
        assert {name: pid_of(place, name) for name in pids} == pids
        with proxy(place / "s.sock") as rpc:
            rpc.supervisor.sendProcessStdin("cat", "hello\n")
        wait_for(lambda: (place / "cat.log").read_text() == "hello\n")
        (place / "go").touch()
        judge(place, 3)


def test_after_a_good_end_nothing_is_kept(supervisors: Supervisors, place: Path) -> None:
    prepare(place)
    daemon = supervisors.start("supervise", POOL, place=place)
    (place / "go").touch()
    tell(place, 0, 3)
    judge(place, 3)
    assert any(journal.exists() for journal in journals(place))
    assert daemon.stop() == 0
    assert not any(journal.exists() for journal in journals(place))


@pytest.mark.parametrize("priority", [-1, 2000])
def test_what_ended_while_there_was_no_daemon_is_heard_by_all(
    place: Path, supervisors: Supervisors, priority: int
) -> None:
    """Also by a listener whose group comes after the program's."""
    prepare(place)
    (place / "go").touch()
    hears = POOL.replace("REMOTE_COMMUNICATION", "PROCESS_STATE_EXITED") + f"priority = {priority}\n"
    daemon = supervisors.start("supervise", f"{hears}[program:p]\ncommand = sleep 1000\n", place=place)
    daemon.wait_state("hears", "RUNNING")
    pid = daemon.wait_state("p", "RUNNING")["pid"]
    daemon.stop(signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not alive(pid))
    supervisors.run("supervise", daemon.config, place)
    wait_for((place / "events").exists, "its end is heard")
