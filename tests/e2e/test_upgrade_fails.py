"""An upgrade whose execve(2) fails after the new code has been tried out: the daemon goes on as it was. One that
executes an interpreter without code to run: the daemon has died, and its programs do not notice."""

import os
import re
import shutil
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.daemons import Daemon, Supervisors
from tests.tools import PATIENCE, ROOT, alive, free_ports, need, wait_for

pytestmark = pytest.mark.timeout(300)

PROGRAMS = """
[program:lines]
command = bash -c 'i=0; while :; do echo line $((++i)); sleep 0.01; done'
stdout_logfile = {place}/lines.log
stdout_logfile_maxbytes = 2KB
stdout_logfile_backups = 1000
startsecs = 0
[program:cat]
command = cat
stdout_logfile = {place}/cat.log
startsecs = 0
autorestart = false
[program:late]
command = sleep 1000
autostart = false
startsecs = 0
[eventlistener:hears]
command = bash -c 'while printf "READY\\n" && read -r header; do \
    IFS= read -r -N "${header##*len:}" payload; echo "$payload" >> {place}/heard; printf "RESULT 2\\nOK"; done'
events = REMOTE_COMMUNICATION
"""

# Runs in every interpreter of the test: when the new code has been tried out, something happens to the interpreter.
ACCIDENT = """
import atexit, os, sys
place = os.environ["TEST_PLACE"]
class Nowhere:
    def find_spec(self, name, *_):
        if name == "supervise":
            raise ModuleNotFoundError("No module named supervise")
if os.path.exists(place + "/gone"):  # it may be installed elsewhere, too
    sys.meta_path.insert(0, Nowhere())
def happen():
    python, how = place + "/python", open(place + "/accident").read()
    if how == "no code":
        os.rename(place + "/code", place + "/gone")
    elif how == "no directory":
        os.rmdir(place + "/new")
    elif how == "gone":
        os.unlink(python)
    else:
        with open(python + ".new", "w") as file:
            file.write("#!/nonexistent\\n" if how == "no interpreter" else "garbage")
        os.chmod(python + ".new", 0o644 if how == "not executable" else 0o755)
        os.replace(python + ".new", python)
if "SUPERVISE_REHEARSAL" in os.environ and os.path.exists(place + "/accident"):
    atexit.register(happen)
"""


def with_its_own_interpreter(supervisors: Supervisors, place: Path) -> Daemon:
    """A daemon whose interpreter is PLACE/python."""
    (place / "sitecustomize.py").write_text(ACCIDENT)
    (place / "python").symlink_to(sys.executable)
    env = {"PYTHONPATH": os.pathsep.join([str(place), *filter(None, sys.path)])}
    prefix = ("bash", "-c", f'shift; exec {place}/python "$@"', "bash")
    return supervisors.start("supervise", PROGRAMS, place=place, env=env, prefix=prefix)


def standing(pid: int) -> dict[str, object]:
    """What an attempt at execve(2) could have changed of a process."""
    process = Path(f"/proc/{pid}")
    tasks = [(process / "task" / task / "status").read_text() for task in os.listdir(process / "task")]
    masks = [mask for task in tasks for mask in re.findall(r"SigBlk:\s*(\w+)", task)]
    descriptors = {int(fd): os.readlink(process / "fd" / fd) for fd in os.listdir(process / "fd")}
    flags = {fd: re.findall(r"flags:\s*(\d+)", (process / "fdinfo" / str(fd)).read_text()) for fd in descriptors}
    return {
        "signals": re.findall(r"Sig(?:Blk|Ign|Cgt):\s*(\w+)", (process / "status").read_text()),
        "masks of threads": set(masks),
        "inherited descriptors": {fd for fd, (flag,) in flags.items() if not int(flag, 8) & os.O_CLOEXEC},
        "descriptors": sorted(name for name in descriptors.values() if not name.startswith("socket:")),
        "directory": os.readlink(process / "cwd"),
    }


def steady(pid: int) -> dict[str, object] | None:
    """The same, but not while it rotates a log or closes a connection."""
    first = standing(pid)
    time.sleep(0.1)
    return first if standing(pid) == first else None


def running(daemon: Daemon) -> dict[str, tuple[int, int]]:
    """The pid and the start of each that runs, when there are lines to be lost."""
    wait_for(lambda: daemon.read("lines.log"))
    found = {name: daemon.wait_state(name, "RUNNING") for name in ("lines", "cat", "hears")}
    return {name: (info["pid"], info["start"]) for name, info in found.items()}


def check_all_goes_on(daemon: Daemon, before: dict[str, tuple[int, int]]) -> None:
    """They are the same, and hear and are heard."""
    assert running(daemon) == before
    daemon.rpc.supervisor.sendProcessStdin("cat", "hello\n")
    wait_for(lambda: daemon.read("cat.log") == "hello\n")
    daemon.rpc.supervisor.sendRemoteCommEvent("kind", "said")
    wait_for(lambda: "said" in daemon.read("heard"))


def check_nothing_is_lost(daemon: Daemon, before: dict[str, tuple[int, int]]) -> None:
    """Of all lines of the program that counts, nor is anything left of those that ran."""
    daemon.rpc.supervisor.stopProcess("lines")
    assert daemon.stop() == 0  # and so everything is written
    backups = sorted(daemon.place.glob("lines.log.*"), key=lambda each: -int(each.suffix[1:]))
    text = "".join(each.read_text() for each in [*backups, daemon.place / "lines.log"])
    numbers = [int(line.split()[1]) for line in text.splitlines()]
    assert numbers == list(range(1, len(numbers) + 1)), "no line lost or doubled"
    assert not any(alive(pid) for pid, _ in before.values())


@pytest.mark.parametrize("how", ["gone", "not executable", "no interpreter", "garbage"])
def test_it_goes_on_as_before(supervisors: Supervisors, place: Path, how: str) -> None:
    daemon = with_its_own_interpreter(supervisors, place)
    before = running(daemon)
    daemon.disconnect()
    stood = wait_for(lambda: steady(daemon.pid))

    (place / "accident").write_text(how)
    done = daemon.ctl("upgrade", "--wait")
    assert (done.returncode, done.stdout.count("\n")) == (1, 1), done
    assert done.stdout.startswith(f"ERROR: the last upgrade failed: cannot execute {place}/python: "), done.stdout
    daemon.wait_log(f"upgrade failed, this daemon goes on: cannot execute {place}/python: ")
    assert daemon.log.count("supervisord started with pid") == 1
    assert "Traceback" not in daemon.log

    wait_for(lambda: standing(daemon.pid) == stood, "it stands as before")
    check_all_goes_on(daemon, before)
    daemon.rpc.supervisor.startProcess("late")
    late = daemon.info("late")["pid"]
    own = ["0", "1", "2"]  # and, for a moment, the libraries that it loads
    wait_for(lambda: sorted(os.listdir(f"/proc/{late}/fd")) == own, "nothing of ours has leaked into programs")
    os.kill(before["cat"][0], signal.SIGKILL)
    wait_for(lambda: daemon.info("cat")["statename"] == "EXITED")
    daemon.process.send_signal(signal.SIGUSR2)
    daemon.wait_log("supervisord logreopen")

    (place / "accident").unlink()
    (place / "python").unlink(missing_ok=True)
    (place / "python").symlink_to(sys.executable)
    done = daemon.ctl("upgrade", "--wait")
    assert (done.returncode, done.stdout[:21]) == (0, "Upgraded to supervise"), done
    assert daemon.api("/daemon")["problems"] == []
    assert psutil.Process(before["lines"][0]).ppid() == daemon.pid
    daemon.disconnect()
    check_nothing_is_lost(daemon, before)


def test_the_code_has_gone_when_it_is_executed(supervisors: Supervisors, place: Path) -> None:
    """There is no way back, and nobody who tries again: the next daemon, whenever it comes, has lost nothing."""
    (place / "sitecustomize.py").write_text(ACCIDENT)
    shutil.copytree(ROOT / "supervise", place / "code" / "supervise", ignore=shutil.ignore_patterns("__pycache__"))
    env = {"PYTHONPATH": os.pathsep.join([str(place), f"{place}/code"])}
    daemon = supervisors.start("supervise", PROGRAMS, place=place, env=env)
    before = running(daemon)
    daemon.disconnect()
    (place / "accident").write_text("no code")
    daemon.process.send_signal(signal.SIGUSR1)
    assert daemon.process.wait(PATIENCE) == 1
    assert "No module named supervise" in daemon.output
    assert all(alive(pid) for pid, _ in before.values())
    (place / "accident").unlink()
    (place / "gone").rename(place / "code")
    daemon = supervisors.run("supervise", daemon.config, place, env=env)
    check_all_goes_on(daemon, before)
    check_nothing_is_lost(daemon, before)


@pytest.mark.parametrize("what", ["an empty script", "true"])
def test_what_is_installed_is_no_supervise(supervisors: Supervisors, place: Path, what: str) -> None:
    """It does not complain, and would not supervise: an empty script, as a full disk leaves it; another program."""
    script, python = place / "script", place / "python"
    script.write_text("from supervise.cli.supervise import main\nmain()\n")
    python.symlink_to(sys.executable)
    env = {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    prefix = ("bash", "-c", f'shift 3; exec {python} {script} "$@"', "bash")
    daemon = supervisors.start("supervise", PROGRAMS, place=place, env=env, prefix=prefix)
    before = running(daemon)
    if what == "true":
        python.unlink()
        python.symlink_to(need("true"))
    else:
        script.write_text("")
    done = daemon.ctl("upgrade", "--wait")
    assert (done.returncode, "is no supervise" in done.stdout) == (1, True), done
    daemon.process.send_signal(signal.SIGUSR1)
    wait_for(lambda: daemon.log.count("upgrade refused, nothing has been changed: ") == 2)
    check_all_goes_on(daemon, before)
    check_nothing_is_lost(daemon, before)


def test_a_server_that_cannot_be_opened_after_all(supervisors: Supervisors, place: Path) -> None:
    [port] = free_ports(1)
    (place / "sitecustomize.py").write_text(ACCIDENT)
    env = {"PYTHONPATH": os.pathsep.join([str(place), *filter(None, sys.path)])}
    programs = PROGRAMS + f"[inet_http_server]\nport = 127.0.0.1:{port}\n"
    daemon = supervisors.start("supervise", programs, place=place, env=env)
    before = running(daemon)
    daemon.disconnect()
    text = daemon.config.read_text()
    daemon.config.write_text(text.replace(f"file = {place}/s.sock", f"file = {place}/new/s.sock"))
    (place / "new").mkdir()
    (place / "accident").write_text("no directory")
    done = daemon.ctl("-s", f"http://127.0.0.1:{port}", "upgrade", "--wait")
    assert done.returncode == 1, done
    assert done.stdout.startswith("ERROR: upgraded to supervise "), done
    assert "/new/s.sock: no such file or directory" in done.stdout, done
    (place / "accident").unlink()
    done = daemon.ctl("-s", f"http://127.0.0.1:{port}", "upgrade", "--wait")
    assert (done.returncode, "/new/s.sock: no such file or directory" in done.stdout) == (1, True), "refused, this time"
    daemon.config.write_text(text)
    done = daemon.ctl("-s", f"http://127.0.0.1:{port}", "upgrade", "--wait")
    assert (done.returncode, done.stdout[:21]) == (0, "Upgraded to supervise"), done
    assert running(daemon) == before
    daemon.disconnect()
    check_nothing_is_lost(daemon, before)


def test_the_directory_it_began_in_is_gone(supervisors: Supervisors, place: Path) -> None:
    """A release that was cleaned away, of which nothing is needed."""
    (place / "release").mkdir()
    prefix = ("env", "-C", str(place / "release"))
    daemon = supervisors.start("supervise", PROGRAMS, place=place, prefix=prefix)
    pid = daemon.wait_state("cat", "RUNNING")["pid"]
    (place / "release").rmdir()
    for _ in range(2):
        done = daemon.ctl("upgrade", "--wait")
        assert (done.returncode, done.stdout[:21]) == (0, "Upgraded to supervise"), done
        assert daemon.info("cat")["pid"] == pid
        daemon.disconnect()
    assert daemon.stop() == 0


@pytest.mark.parametrize("what", ["update", "restart all"])
def test_nothing_is_left_half_done(supervisors: Supervisors, place: Path, what: str) -> None:
    """What was stopped to be started again, and only this daemon knows that."""
    ending = "while ! test -e {place}/go; do sleep 0.05; done; exit"
    stubborn = f"trap '{ending}' TERM; touch {{place}}/$$; while :; do sleep 0.05; done"
    programs = f'[program:stubborn]\ncommand = bash -c "{stubborn}"\nstopwaitsecs = 1000\nstartsecs = 0\n'
    daemon = supervisors.start("supervise", programs, place=place)
    pid = daemon.wait_state("stubborn", "RUNNING")["pid"]
    wait_for((place / str(pid)).exists, "it has set its trap")
    daemon.configure(programs + "environment = A=1\n")
    with ThreadPoolExecutor() as pool:
        under_way = pool.submit(daemon.ctl, *what.split())
        daemon.wait_state("stubborn", "STOPPING")
        done = daemon.ctl("upgrade")
        assert done.returncode != 0
        assert f"{'an update' if what == 'update' else 'a restart of everything'} is under way" in done.stdout
        (place / "go").touch()
        assert under_way.result().returncode == 0
    assert daemon.ctl("upgrade", "--wait").returncode == 0
    assert daemon.info("stubborn")["statename"] == "RUNNING"
    assert daemon.info("stubborn")["pid"] != pid
    assert daemon.stop() == 0
