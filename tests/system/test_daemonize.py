"""Into the background, and what the starting process says about it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from tests.tools import ROOT, wait_for

PRELUDE = """
import os, sys, time
from supervise.system.daemonize import *
def tell(text):
    with open("out.new", "w") as file: file.write(text)
    os.rename("out.new", "out")
"""


def start(place: Path, code: str, **options: Any) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", PRELUDE + code],
        capture_output=True,
        text=True,
        cwd=place,
        env=env,
        timeout=60,
        **options,
    )


def test_ready(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    run = start(
        tmp_path,
        "here = os.getcwd(); s = daemonize(umask=0o27, directory='deep'); cwd = os.getcwd(); os.chdir(here)\n"
        "links = [os.readlink(f'/proc/self/fd/{n}') for n in range(3)]\n"
        "tell(repr((os.getpid(), os.getsid(0), os.getpgrp(), os.umask(0), cwd, links)))\n"
        "s.ready(); s.ready(); assert not s.failed('late'); time.sleep(1000)",
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    pid, sid, group, umask, cwd, links = eval((tmp_path / "out").read_text())
    daemon = psutil.Process(pid)
    try:
        assert sid == group != pid, "in a session without a terminal, and not its leader"
        assert daemon.terminal() is None
        assert (umask, cwd, links) == (0o27, f"{tmp_path}/deep", ["/dev/null"] * 3)
    finally:
        daemon.kill()


def test_failed(tmp_path: Path) -> None:
    run = start(tmp_path, "s = daemonize(umask=0, directory=None); assert s.failed('Error: no luck ü\\n'); tell('x')")
    assert (run.returncode, run.stdout, run.stderr) == (2, "", "Error: no luck ü\n")


def test_a_silent_death(tmp_path: Path) -> None:
    for death in ("os._exit(0)", "os.kill(os.getpid(), 9)", "1 / 0"):
        run = start(tmp_path, f"s = daemonize(umask=0, directory=None); {death}")
        assert run.returncode == 2
        assert run.stderr == "Error: the daemon ended before it could serve; its log may say why\n"


def test_a_directory_that_is_gone(tmp_path: Path) -> None:
    run = start(tmp_path, "s = daemonize(umask=0, directory='no'); tell('alive')")
    assert (run.returncode, run.stderr) == (2, "Error: can't chdir into 'no': No such file or directory\n")
    assert not (tmp_path / "out").exists()


def test_a_starter_that_does_not_wait_any_more(tmp_path: Path) -> None:
    code = (
        "s = daemonize(umask=0, directory=None); tell(str(os.getpid()))\n"
        "while not os.path.exists('go'): time.sleep(0.01)\n"
        "tell(repr(s.failed('x'))); os._exit(0)"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", PRELUDE + code], cwd=tmp_path, env=env) as starter:
        wait_for((tmp_path / "out").read_text)
        starter.kill()
    (tmp_path / "go").touch()
    assert wait_for(lambda: (tmp_path / "out").read_text() == "False")


def test_descriptors_are_made_safe(tmp_path: Path) -> None:
    """Closed ones get /dev/null, and what we inherited does not reach children."""
    spare = os.open("/dev/null", os.O_RDONLY)
    code = (
        "inherited = secure_descriptors(); import subprocess\n"
        f"assert {spare} in inherited, inherited\n"
        "links = [os.readlink(f'/proc/self/fd/{n}') for n in range(3)]\n"
        "out = subprocess.run(['ls', '/proc/self/fd'], stdout=-1, close_fds=False, text=True).stdout.split()\n"
        f"close_all(inherited); close_all(inherited); tell(repr((links, out, os.path.exists('/proc/self/fd/{spare}'))))"
    )
    subprocess.run(
        ["bash", "-c", 'exec "$0" -c "$1" <&- >&- 2>&-', sys.executable, PRELUDE + code],
        pass_fds=[spare],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=True,
    )
    os.close(spare)
    links, out, open_still = eval((tmp_path / "out").read_text())
    assert links == ["/dev/null"] * 3
    assert out == ["0", "1", "2", "3"]
    assert not open_still
