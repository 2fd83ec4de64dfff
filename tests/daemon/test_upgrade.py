"""Upgrades in place: what is refused, and what stays."""

import json
import os
import signal
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from supervise import __version__
from supervise.daemon.upgrade import REHEARSAL
from supervise.system.journal import SCHEMA
from tests.daemons import CAT, LINES, Daemon, Supervisors, configuration, daemon_command, environment, proxy
from tests.tools import ROOT, wait_for

PROGRAMS = LINES + CAT


def upgrade(daemon: Daemon, times: int = 1) -> None:
    """By signal, and until it has come about so many times since the start."""
    daemon.process.send_signal(signal.SIGUSR1)
    wait_for(lambda: daemon.log.count("supervisord started with pid") == times + 1, "an upgrade")


def test_all_stays(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", PROGRAMS)
    pids = {name: daemon.wait_state(name, "RUNNING")["pid"] for name in ("lines", "cat")}
    before = daemon.info("lines")
    for times in (1, 2, 3):
        upgrade(daemon, times)
        daemon.disconnect()
        assert daemon.rpc.supervisor.getPID() == daemon.pid
        assert {name: daemon.info(name)["pid"] for name in pids} == pids
        assert daemon.info("lines")["start"] == before["start"]
        assert psutil.Process(pids["cat"]).ppid() == daemon.pid, "still a child"
        daemon.rpc.supervisor.sendProcessStdin("cat", f"hello {times}\n")
        wait_for(lambda times=times: f"hello {times}\n" in daemon.read("cat.log"))
    os.kill(pids["cat"], signal.SIGKILL)
    wait_for(lambda: "exited: cat (terminated by SIGKILL" in daemon.log)
    daemon.rpc.supervisor.stopProcess("lines")
    numbers = [int(line.split()[1]) for line in daemon.read("lines.log").splitlines()]
    assert numbers == list(range(1, len(numbers) + 1)), "no line lost or doubled"
    assert daemon.stop() == 0
    assert daemon.read("main.pid") == ""


def test_descriptors_do_not_grow(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", PROGRAMS)
    daemon.wait_state("lines", "RUNNING")

    def count() -> int:
        daemon.disconnect()
        daemon.states()
        return psutil.Process(daemon.pid).num_fds()

    upgrade(daemon)
    before = count()
    for times in range(2, 5):
        upgrade(daemon, times)
    wait_for(lambda: count() <= before + 1, "as many descriptors as before")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("[program:cat]\n", ""), "command"),
        ((PROGRAMS.replace("startsecs = 0", "startsecs = soon"), ""), "startsecs"),
        ((PROGRAMS, "pidfile = {place}/other.pid"), "pidfile"),
        ((PROGRAMS, "user = daemon"), "user has changed"),
    ],
)
def test_what_is_refused_changes_nothing(supervisors: Supervisors, change: tuple[str, str], complaint: str) -> None:
    daemon = supervisors.start("supervise", PROGRAMS)
    pid = daemon.wait_state("cat", "RUNNING")["pid"]
    if "pidfile" in change[1]:
        daemon.config.write_text(daemon.config.read_text().replace("main.pid", "other.pid"))
    else:
        daemon.configure(*change)
    daemon.process.send_signal(signal.SIGUSR1)
    log = daemon.wait_log("upgrade refused, nothing has been changed: ")
    assert complaint in log.split("upgrade refused, nothing has been changed: ")[1].splitlines()[0]
    assert daemon.info("cat")["pid"] == pid
    assert log.count("supervisord started") == 1


def rehearse(place: Path, **needs: Any) -> subprocess.CompletedProcess[str]:
    known = {"schema": SCHEMA, "pidfile": f"{place}/main.pid", "uid": os.getuid(), "pid": 7, "servers": []} | needs
    command = [*daemon_command("supervise"), "-c", str(place / "s.conf")]
    env = environment(place, **{REHEARSAL: json.dumps(known)})
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=place, timeout=60)


def test_a_rehearsal_touches_nothing(place: Path) -> None:
    (place / "s.conf").write_text(configuration(place, PROGRAMS))
    done = rehearse(place)
    word = f"supervise {__version__} can go on in the place of pid 7\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, word, "")
    done = rehearse(place, schema=SCHEMA + 1)
    assert done.returncode == 2
    assert "is older than what the running daemon remembers" in done.stderr
    assert os.listdir(place) == ["s.conf"]


def test_servers_that_cannot_be_opened(place: Path) -> None:
    """But for those that are open, which will be handed over."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        text = configuration(place, PROGRAMS + f"[inet_http_server]\nport = 127.0.0.1:{port}\n")
        (place / "s.conf").write_text(text)
        done = rehearse(place)
        assert (done.returncode, f"(127.0.0.1:{port})" in done.stderr) == (2, True), done
        assert rehearse(place, servers=[["inet", "127.0.0.1", port]]).returncode == 0
        (place / "s.conf").write_text(text.replace("/s.sock", "/missing/s.sock"))
        done = rehearse(place, servers=[["inet", "127.0.0.1", port], ["unix", f"{place}/s.sock", 0]])
        assert (done.returncode, "/missing/s.sock: no such file or directory" in done.stderr) == (2, True), done
        assert os.listdir(place) == ["s.conf"], "nothing is left of what was tried"


def test_new_code_that_cannot_even_be_loaded(supervisors: Supervisors) -> None:
    place = supervisors.place()
    broken = place / "broken"
    daemon = supervisors.start("supervise", PROGRAMS, place=place, env={"PYTHONPATH": f"{broken}:{ROOT}"})
    daemon.wait_state("cat", "RUNNING")
    (broken / "supervise").mkdir(parents=True)
    (broken / "supervise" / "__init__.py").write_text("raise ImportError('half installed')")
    daemon.process.send_signal(signal.SIGUSR1)
    log = daemon.wait_log("upgrade refused, nothing has been changed: ")
    assert "half installed" in log
    assert daemon.states()["cat:cat"] == "RUNNING"


def test_by_command(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", PROGRAMS)
    pid = daemon.wait_state("cat", "RUNNING")["pid"]
    done = daemon.ctl("upgrade", "--wait")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Upgraded to supervise ")
    wait_for(lambda: daemon.log.count("supervisord started with pid") == 2)
    done = daemon.ctl("upgrade")
    assert (done.returncode, done.stdout) == (0, "Upgrading supervise\n")
    assert daemon.ctl("pid", "cat").stdout == f"{pid}\n", "asked of the new one"
    wait_for(lambda: daemon.log.count("supervisord started with pid") == 3)
    daemon.configure(PROGRAMS + "startsecs = soon\n[program:x]\n")
    done = daemon.ctl("upgrade", "--wait")
    assert done.returncode == 1
    assert "command" in done.stdout
    assert daemon.log.count("supervisord started with pid") == 3


def test_who_calls_meanwhile_waits(supervisors: Supervisors) -> None:
    """Callers all the time, and none is refused."""
    daemon = supervisors.start("supervise", PROGRAMS)
    daemon.wait_state("cat", "RUNNING")
    answers, over = [], threading.Event()

    def call() -> None:
        while not over.is_set():
            with proxy(daemon.socket) as rpc:
                answers.append(rpc.supervisor.getPID())

    callers = [threading.Thread(target=call) for _ in range(3)]
    for caller in callers:
        caller.start()
    try:
        upgrade(daemon, 1)
        count = len(answers)
        wait_for(lambda: len(answers) > count + 10)
    finally:
        over.set()
        for caller in callers:
            caller.join(60)
    assert set(answers) == {daemon.pid}
    assert len(answers) > 20
