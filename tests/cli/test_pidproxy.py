"""Programs that daemonise, behind pidproxy: ours and supervisord's own, under our daemon."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.daemons import Supervisors, environment
from tests.tools import alive, wait_for

OURS, THEIRS = "supervise.cli.pidproxy", "supervisor.pidproxy"

# Starts a daemon that notes the signals it gets, writes its pidfile, and stays until that daemon has ended.
SAFE = """#!/bin/sh
(setsid sh -c 'trap "echo HUP >> {place}/got" HUP; trap "echo TERM >> {place}/got; sleep 0.3; rm {place}/pid; exit" TERM
echo $$ > {place}/pid; while :; do sleep 0.05; done' &)
while [ ! -e {place}/pid ]; do sleep 0.05; done
while [ -e {place}/pid ]; do sleep 0.05; done
exit 3
"""


@pytest.mark.parametrize("module", [OURS, THEIRS])
def test_signals_reach_who_is_in_the_pidfile(supervisors: Supervisors, module: str) -> None:
    place = supervisors.place()
    (place / "safe").write_text(SAFE.replace("{place}", str(place)))
    (place / "safe").chmod(0o755)
    text = f"[program:db]\ncommand = {sys.executable} -m {module} {place}/pid {place}/safe\nautorestart = false\n"
    daemon = supervisors.start("supervise", text, place=place)
    pid = int(wait_for(lambda: daemon.read("pid")))
    daemon.wait_state("db", "RUNNING")
    daemon.rpc.supervisor.signalProcess("db", "HUP")
    wait_for(lambda: daemon.read("got") == "HUP\n")
    daemon.rpc.supervisor.stopProcess("db")
    wait_for(lambda: daemon.read("got") == "HUP\nTERM\n")
    if module == OURS:
        assert not alive(pid), "it was waited for"


def test_who_takes_longer_to_end_than_its_command(place: Path) -> None:
    target = subprocess.Popen(
        ["sh", "-c", f"trap 'sleep 1; exit' TERM; echo > {place}/ready; while :; do sleep 0.05; done"]
    )
    with target:
        (place / "pid").write_text(f"{target.pid}\n")
        command = ["sh", "-c", f"while [ ! -e {place}/over ]; do sleep 0.05; done; exit 7"]
        argv = [sys.executable, "-m", OURS, f"{place}/pid", *command]
        with subprocess.Popen(argv, env=environment(place), stderr=subprocess.PIPE, text=True) as proxy:
            (child,) = wait_for(lambda: psutil.Process(proxy.pid).children())
            wait_for((place / "ready").exists)
            proxy.terminate()
            (place / "over").touch()
            wait_for(lambda: not alive(child.pid))
            assert proxy.communicate(timeout=60)[1] == ""
            assert proxy.returncode == 0
            assert not alive(target.pid)


@pytest.mark.parametrize(
    "command, code, says",
    [
        (["sh", "-c", "exit 5"], 5, ""),
        (["sh", "-c", "kill -9 $$"], 137, ""),
        (["/no/such"], 127, "cannot run /no/such: No such file or directory"),
        ([], 1, "Usage: "),
    ],
)
def test_it_ends_as_its_command_does(place: Path, command: list[str], code: int, says: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", OURS, f"{place}/pid", *command],
        capture_output=True,
        text=True,
        env=environment(place),
        timeout=60,
    )
    assert done.returncode == code
    assert says in done.stdout + done.stderr


@pytest.mark.parametrize("content", [None, "", "nonsense", "1", "-1", "99999999"])
def test_without_a_pidfile_the_command_is_signalled(place: Path, content: str | None) -> None:
    if content is not None:
        (place / "pid").write_text(content)
    argv = [sys.executable, "-m", OURS, f"{place}/pid", "sleep", "1000"]
    with subprocess.Popen(argv, env=environment(place), stderr=subprocess.DEVNULL) as proxy:
        (child,) = wait_for(lambda: psutil.Process(proxy.pid).children())
        wait_for(lambda: child.cmdline() == ["sleep", "1000"])
        proxy.terminate()
        assert proxy.wait(60) == 143
    assert not alive(child.pid)
