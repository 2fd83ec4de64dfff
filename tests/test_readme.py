"""README says what is: its examples run, its tables are those of the code."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from supervise.config.load import load
from tests.daemons import Supervisors, client_command, daemon_command
from tests.readme import README, command_with, marked, with_options
from tests.tools import ROOT, need, wait_for


def test_the_options_are_those_of_the_declarations() -> None:
    assert with_options(README.read_text()) == README.read_text(), "run: python -m tests.readme"


def test_the_test_command_is_what_ci_runs() -> None:
    assert command_with("python -m tests") in (ROOT / ".ci/run").read_text().splitlines()


@pytest.fixture
def clone(supervisors: Supervisors) -> Path:
    """What a newcomer has, tests apart, in a directory of their own."""
    place = supervisors.place()
    for name in ("supervise", "conf"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__", "*.sock", "*.pid"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, place)
    workers = place / "conf/conf.d/workers.toml"
    workers.write_text(workers.read_text().replace("sleep 20;", "sleep 2000;"))  # on a slow machine it fails meanwhile
    return place


def commands(place: Path) -> dict[str, str]:
    """An environment whose PATH begins with `supervise` and `supervisectl` from the source."""
    (place / "bin").mkdir()
    for name, argv in (("supervise", daemon_command("supervise")), ("supervisectl", client_command("supervise"))):
        words = " ".join(f"'{word}'" for word in argv)
        (place / "bin" / name).write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        (place / "bin" / name).chmod(0o755)
    return os.environ | {"PATH": f"{place}/bin:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "TEST_PLACE": str(place)}


def run(block: str, place: Path, env: dict[str, str]) -> str:
    """Run a block of shell; its first failing command fails the test."""
    need("bash")
    script = "set -e; shopt -s expand_aliases\n" + block
    done = subprocess.run(
        ["bash", "-c", script], cwd=place, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["the sample", "the API"])
def test_the_sample_can_be_controlled(clone: Path, name: str) -> None:
    if name == "the API":
        need("curl")
    env = commands(clone)
    with subprocess.Popen(
        ["supervise", "-n", "-c", "conf"], cwd=clone, env=env, stdout=subprocess.PIPE, text=True
    ) as daemon:
        try:
            assert daemon.stdout
            seen = ""
            while seen.count("entered RUNNING state") < 4 or "Serving HTTP on 127.0.0.1 port" not in seen:
                line = daemon.stdout.readline()
                assert line, seen
                seen += line
            wait_for((clone / "conf/supervise.sock").exists)
            shown = run(marked(name), clone, env)
            assert "web" in shown
            if name == "the sample":
                assert daemon.wait(60) == 0, "the last line shuts it down"
        finally:
            if daemon.poll() is None:
                daemon.send_signal(signal.SIGTERM)


def test_a_killed_daemon(clone: Path) -> None:
    shown = run(marked("killed"), clone, commands(clone))
    pids = [int(line) for line in shown.splitlines() if line.isdecimal()]
    assert len(pids) == 8
    assert pids[:4] == pids[4:]


def test_checking(clone: Path) -> None:
    run(marked("check"), clone, commands(clone))
    assert (clone / "effective.json").stat().st_size > 1000


def test_the_large_sample_loads() -> None:
    names = [process.name for group in load(ROOT / "conf/sample.toml").groups for process in group.processes]
    assert names == ["web-0", "web-1", "web-2", "web-3", "worker"]


@pytest.mark.timeout(600)
def test_the_newcomers_command(clone: Path) -> None:
    """As it stands in README, with its own venv. It needs what pip needs, so only where CI=true promises everything."""
    if os.environ.get("CI") != "true":
        pytest.skip("installs packages: runs with CI=true")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    with subprocess.Popen(
        ["bash", "-c", command_with("supervise -n -c conf")],
        cwd=clone,
        env=env | {"TEST_PLACE": str(clone)},
        stdout=subprocess.PIPE,
        stderr=sys.stderr,
        text=True,
        start_new_session=True,
    ) as newcomer:
        assert newcomer.stdout
        seen = ""
        while "success: worker-1" not in seen:
            line = newcomer.stdout.readline()
            assert line, seen
            seen += line
        done = subprocess.run(
            [clone / ".venv/bin/supervisectl", "-c", "conf", "shutdown"], cwd=clone, env=env, check=False
        )
        assert done.returncode == 0
        assert newcomer.wait(60) == 0
