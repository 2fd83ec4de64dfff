"""Logs at /dev/fd/N: what the first daemon has inherited is there for every one after it, and for no program."""

import os
import signal
import subprocess
from functools import partial
from pathlib import Path

from tests.daemons import Supervisors, configuration, daemon_command, environment, proxy
from tests.e2e.test_survival import kill, pid_of
from tests.tools import descriptors, wait_for

PROGRAMS = """
[program:five]
command = cat
stdout_logfile = /dev/fd/5
startsecs = 0
[program:high]
command = cat
stdout_logfile = /dev/fd/77
startsecs = 0
"""
# All that a starter might leave open, beside 5 and 77
PREFIX = ("bash", "-c", 'exec 5>>five 77>>high 9>>other; exec "$@"', "bash")


def say(place: Path, text: str) -> None:
    """Through both programs, and see that nothing is lost, doubled or in another place."""
    for name in ("five", "high"):
        expected = (place / name).read_text() + text
        with proxy(place / "s.sock") as rpc:
            rpc.supervisor.sendProcessStdin(name, text)
        wait_for(partial(said, place / name, expected))
        pid = pid_of(place, name)
        assert sorted(os.listdir(f"/proc/{pid}/fd")) == ["0", "1", "2"], "programs have none of them"


def said(path: Path, expected: str) -> bool:
    return path.read_text() == expected


def test_over_an_upgrade(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", PROGRAMS, prefix=PREFIX)
    for text in ("one\n", "two\n", "three\n"):
        say(daemon.place, text)
        assert daemon.ctl("upgrade", "--wait").returncode == 0
    daemon.rpc.supervisor.stopAllProcesses()
    daemon.rpc.supervisor.startAllProcesses()
    say(daemon.place, "four\n")
    assert daemon.stop() == 0


def test_with_a_keeper(place: Path) -> None:
    (place / "s.conf").write_text(configuration(place, PROGRAMS))
    command = [*PREFIX, *daemon_command("supervise"), "-c", str(place / "s.conf")]
    subprocess.run(command, env=environment(place), cwd=place, check=True, timeout=60, stdin=subprocess.DEVNULL)
    pidfile = place / "main.pid"
    try:
        say(place, "one\n")
        kill(pidfile)
        say(place, "two\n")
        os.kill(int(pidfile.read_text()), signal.SIGUSR1)
        wait_for(lambda: (place / "main.log").read_text().count("supervisord started with pid") == 3)
        say(place, "three\n")
        links = descriptors(int(pidfile.read_text()))
        assert f"{place}/other" not in links, "what the configuration does not name is not kept"
    finally:
        os.kill(int(pidfile.read_text()), signal.SIGTERM)
        wait_for(lambda: not pidfile.exists())
