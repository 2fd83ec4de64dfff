"""The daemon dies, and its programs do not notice."""

import os
import random
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.daemons import (
    CAPTURES,
    CAT,
    LATE,
    LINES,
    Daemon,
    Supervisors,
    client_command,
    configuration,
    daemon_command,
    environment,
    proxy,
    sleepers,
)
from tests.tools import PATIENCE, ROOT, alive, wait_for

pytestmark = pytest.mark.timeout(300)

PROGRAMS = (
    LINES
    + CAT
    + """\
[program:ends]
command = bash -c 'read x; echo last words; exit $x'
stdout_logfile = {place}/ends.log
startsecs = 0
autorestart = false
[program:idle]
command = sleep 1000
autostart = false
"""
)


@contextmanager
def in_background(
    place: Path,
    programs: str = PROGRAMS,
    supervisord: str = "",
    *options: str,
    prefix: tuple[str, ...] = (),
    path: Path = ROOT,
) -> Iterator[Path]:
    """A daemon with its keeper; the pidfile. Told to end afterwards, and waited for."""
    (place / "s.conf").write_text(configuration(place, programs, supervisord))
    command = [*prefix, *daemon_command("supervise"), "-c", str(place / "s.conf"), *options]
    env = environment(place, PYTHONPATH=f"{path}:{ROOT}")
    subprocess.run(command, env=env, cwd=place, check=True, timeout=60, stdin=subprocess.DEVNULL)
    pidfile = place / "main.pid"
    keeper = psutil.Process(psutil.Process(int(pidfile.read_text())).ppid())
    try:
        yield pidfile
    finally:
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended, or was started with another pidfile
            os.kill(int(pidfile.read_text()), signal.SIGTERM)
        with suppress(psutil.NoSuchProcess):  # a zombie is none either
            if "keeper.py" in " ".join(keeper.cmdline()):
                keeper.terminate()
                keeper.wait(PATIENCE)


def pid_of(place: Path, name: str) -> int:
    with proxy(place / "s.sock") as rpc:
        return int(rpc.supervisor.getProcessInfo(name)["pid"])


def info(place: Path, name: str) -> dict[str, object]:
    with proxy(place / "s.sock") as rpc:
        return dict(rpc.supervisor.getProcessInfo(name))


def kill(pidfile: Path) -> int:
    """Kill the daemon that serves now; returns the pid of the next one, when it serves."""
    old = int(pidfile.read_text())
    os.kill(old, signal.SIGKILL)
    with proxy(pidfile.parent / "s.sock") as rpc:  # waits in the queue of the socket
        new = int(rpc.supervisor.getPID())
    assert new != old
    return new


def test_the_keeper_starts_another_that_knows_all(place: Path) -> None:
    with in_background(place) as pidfile:
        pids = {name: pid_of(place, name) for name in ("lines", "cat", "ends")}
        before = info(place, "lines")
        assert kill(pidfile) == int(pidfile.read_text())
        assert {name: pid_of(place, name) for name in pids} == pids
        assert info(place, "lines")["start"] == before["start"]
        assert info(place, "idle")["statename"] == "STOPPED"
        with proxy(place / "s.sock") as rpc:
            rpc.supervisor.sendProcessStdin("cat", "hello\n")
            wait_for(lambda: (place / "cat.log").read_text() == "hello\n")
            rpc.supervisor.sendProcessStdin("ends", "7\n")
            wait_for(lambda: info(place, "ends")["statename"] == "EXITED")
            assert info(place, "ends")["exitstatus"] == 7, "it was the keeper's child, who told"
            rpc.supervisor.stopProcess("lines")
        numbers = [int(line.split()[1]) for line in (place / "lines.log").read_text().splitlines()]
        assert numbers == list(range(1, len(numbers) + 1))
        assert not alive(pids["lines"])
    assert not pidfile.exists()
    assert not (place / "s.sock").exists()
    assert not any(alive(pid) for pid in pids.values())


def test_who_is_cut_off(place: Path) -> None:
    """A question goes to the next daemon; an order, which may have been carried out, is not given twice."""
    ending = "trap 'while ! test -e {place}/go; do sleep 0.05; done; exit' TERM"
    slow = f'[program:slow]\ncommand = bash -c "{ending}; echo set; while :; do sleep 0.05; done"\n'
    slow += "stdout_logfile = {place}/slow.log\nstopwaitsecs = 1000\nstartsecs = 0\n"
    with in_background(place, slow) as pidfile:
        wait_for(lambda: (place / "slow.log").read_text() == "set\n")
        pid = pid_of(place, "slow")
        command = [*client_command("supervise"), "-c", str(place / "s.conf")]
        clients = [
            subprocess.Popen([*command, *words], env=environment(place), stdout=subprocess.PIPE, text=True)
            for words in (["wait", "slow", "--for", "stopped"], ["restart", "slow"])
        ]
        wait_for(lambda: info(place, "slow")["statename"] == "STOPPING")
        kill(pidfile)
        url = f"unix://{place}/s.sock"
        said = f"error: {url} closed the connection: the daemon has died, or is ending; see what status says\n"
        assert (clients[1].communicate()[0], clients[1].returncode) == (said, 1)
        (place / "go").touch()
        wait_for(lambda: info(place, "slow")["statename"] == "RUNNING" and pid_of(place, "slow") != pid)
        with proxy(place / "s.sock") as rpc:
            rpc.supervisor.stopProcess("slow")
        assert (clients[0].communicate()[0], clients[0].returncode) == ("slow: stopped\n", 0)


def test_what_ends_while_no_daemon_runs(place: Path) -> None:
    with in_background(place) as pidfile:
        pid, daemon = pid_of(place, "ends"), int(pidfile.read_text())
        os.kill(daemon, signal.SIGSTOP)  # so that it sees nothing
        Path(f"/proc/{pid}/fd/0").write_text("5\n")
        wait_for(lambda: not alive(pid))
        kill(pidfile)
        assert info(place, "ends")["exitstatus"] == 5
        wait_for(lambda: (place / "ends.log").read_text() == "last words\n")
        assert info(place, "ends")["statename"] == "EXITED"


def test_random_instants(place: Path) -> None:
    """Killed again and again, also in the middle of a start: never a second copy, and all is there in the end."""
    generator = random.Random(7)
    programs = "".join(f"[program:p{n}]\ncommand = sleep 1000\nstartsecs = 0\nautostart = true\n" for n in range(8))
    with in_background(place, programs) as pidfile:
        for _ in range(4):
            with proxy(place / "s.sock") as rpc:
                for name in generator.sample(range(8), 4):
                    wait_for(lambda name=name: info(place, f"p{name}")["statename"] == "RUNNING")
                    rpc.supervisor.stopProcess(f"p{name}")
                    rpc.supervisor.startProcess(f"p{name}", False)
            time.sleep(generator.random() * 0.02)
            kill(pidfile)
        for n in range(8):
            wait_for(lambda n=n: info(place, f"p{n}")["statename"] == "RUNNING")
        known = sorted(pid_of(place, f"p{n}") for n in range(8))
        keeper = psutil.Process(psutil.Process(int(pidfile.read_text())).ppid())

        def running() -> list[int]:
            return sorted(one.pid for one in keeper.children(recursive=True) if one.name() == "sleep")

        wait_for(lambda: running() == known, "no others, when the keeper has reaped those that have ended")


HALVES = (
    CAPTURES
    + LATE
    + """\
[program:starting]
command = sleep 1000
startsecs = 25
[program:stubborn]
command = bash -c 'trap "" TERM; touch {place}/trapped; while :; do sleep 0.1; done'
stopwaitsecs = 20
startsecs = 0
[program:failing]
command = bash -c 'echo once >> {place}/failed; exit 3'
startsecs = 60
startretries = 3
[eventlistener:hears]
command = bash -c 'while printf "READY\\n" && read -r header; do IFS= read -r -N "${header##*len:}" payload; \
echo "$payload" >> {place}/heard; printf "RESULT 2\\nOK"; done'
events = PROCESS_COMMUNICATION
"""
)


@pytest.mark.parametrize("upgrade", [False, True])
def test_what_was_half_done_is_finished(place: Path, upgrade: bool) -> None:
    """Half a passage, half a token, input that waits for its reader, and everything that has a deadline."""

    def again() -> None:
        if upgrade:
            before = (place / "main.log").read_text().count("supervisord started with pid")
            os.kill(int(pidfile.read_text()), signal.SIGUSR1)
            wait_for(lambda: (place / "main.log").read_text().count("supervisord started with pid") == before + 1)
        else:
            kill(pidfile)

    def send(name: str, text: str) -> None:
        with proxy(place / "s.sock") as rpc:
            rpc.supervisor.sendProcessStdin(name, text)

    with in_background(place, HALVES) as pidfile:
        wait_for(lambda: (place / "captures.log").exists() and (place / "trapped").exists())
        wait_for(lambda: (place / "captures.log").read_text() == "one ")
        send("late", "x" * 500_000)
        send("late", "y" * 100_000)
        with proxy(place / "s.sock") as rpc:
            rpc.supervisor.stopProcess("stubborn", False)
        again()
        assert (info(place, "stubborn")["statename"], info(place, "starting")["statename"]) == ("STOPPING", "STARTING")
        send("captures", "\n")
        time.sleep(0.2)
        again()
        send("captures", "\n")
        (place / "go").touch()
        wait_for(lambda: (place / "heard").read_text().endswith("half-whole\n"))
        wait_for(lambda: (place / "captures.log").read_text() == "one two\n")
        wait_for(lambda: (place / "late.log").read_text() == "x" * 500_000 + "y" * 100_000)
        wait_for(lambda: info(place, "stubborn")["statename"] == "STOPPED")
        wait_for(lambda: info(place, "starting")["statename"] == "RUNNING")
        wait_for(lambda: info(place, "failing")["statename"] == "FATAL")
        log = (place / "main.log").read_text()
        assert (place / "failed").read_text() == "once\n" * 4  # a daemon that is killed may owe the main log a line
        assert log.count("killing 'stubborn'") == 1
        assert log.count("spawned: 'starting'") == 1


def test_a_shutdown_whose_daemon_dies_is_brought_to_its_end(place: Path) -> None:
    ending = "while ! test -e {place}/go; do sleep 0.05; done; exit 0"
    slow = f"bash -c 'trap \"{ending}\" TERM; touch {{place}}/set; while :; do sleep 0.1; done'"
    slow = f"[program:slow]\ncommand = {slow}\nstopwaitsecs = 1000\nstartsecs = 0\n"
    with in_background(place, slow) as pidfile:
        wait_for((place / "set").exists)
        pid, daemon = pid_of(place, "slow"), int(pidfile.read_text())
        os.kill(daemon, signal.SIGTERM)
        wait_for(lambda: "waiting for slow to die" in (place / "main.log").read_text())
        os.kill(daemon, signal.SIGKILL)
        (place / "go").touch()
        wait_for(lambda: not pidfile.exists())
        assert not alive(pid)


def test_the_pidfile_was_edited_before_the_daemon_died(place: Path) -> None:
    """By whose name programs are remembered."""
    with in_background(place) as pidfile:
        pids = {name: pid_of(place, name) for name in ("lines", "cat")}
        config = place / "s.conf"
        config.write_text(config.read_text().replace("main.pid", "other.pid"))
        for kills in (1, 2):
            os.kill(int((pidfile if kills == 1 else place / "other.pid").read_text()), signal.SIGKILL)
            assert {name: pid_of(place, name) for name in pids} == pids
        with proxy(place / "s.sock") as rpc:
            rpc.supervisor.stopProcess("lines")
        assert (place / "main.log").read_text().count("spawned: 'lines'") == 1
    numbers = [int(line.split()[1]) for line in (place / "lines.log").read_text().splitlines()]
    assert numbers == list(range(1, len(numbers) + 1))


def test_without_a_keeper_it_goes_on_alone(place: Path) -> None:
    with in_background(place) as pidfile:
        daemon = psutil.Process(int(pidfile.read_text()))
        pid = pid_of(place, "cat")
        keeper = daemon.parent()
        assert keeper is not None
        keeper.kill()
        wait_for(lambda: "the keeper has gone" in (place / "main.log").read_text())
        assert pid_of(place, "cat") == pid
        daemon.kill()
        wait_for(lambda: not alive(daemon.pid))
        assert alive(pid)
        command = [*daemon_command("supervise"), "-c", str(place / "s.conf")]
        subprocess.run(command, env=environment(place), cwd=place, check=True, timeout=60, stdin=subprocess.DEVNULL)
        assert pid_of(place, "cat") == pid


# Runs in every interpreter of the test: new code that passes its rehearsal, and then fails as a daemon.
BROKEN = """
import os
if "SUPERVISE_HANDOVER" in os.environ and os.path.exists(os.environ["TEST_PLACE"] + "/broken"):
    with open(os.environ["TEST_PLACE"] + "/tries", "a") as file:
        file.write("try\\n")
    raise SystemExit("this version is broken")
"""


def test_an_upgrade_to_code_that_fails_late(place: Path) -> None:
    """Then the daemon has died, which programs do not notice; the keeper tries until the code has been mended."""
    (place / "sitecustomize.py").write_text(BROKEN)
    with in_background(place, path=place) as pidfile:
        pids = {name: pid_of(place, name) for name in ("lines", "cat")}
        (place / "broken").touch()
        os.kill(int(pidfile.read_text()), signal.SIGUSR1)
        wait_for(lambda: (place / "tries").read_text().count("try") >= 3)
        (place / "broken").unlink()
        wait_for(lambda: info(place, "lines")["statename"] == "RUNNING")
        assert {name: pid_of(place, name) for name in pids} == pids
        kill(pidfile)
        assert {name: pid_of(place, name) for name in pids} == pids
        with proxy(place / "s.sock") as rpc:
            rpc.supervisor.stopProcess("lines")
    numbers = [int(line.split()[1]) for line in (place / "lines.log").read_text().splitlines()]
    assert numbers == list(range(1, len(numbers) + 1))


def test_two_that_race_to_adopt(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", PROGRAMS)
    pid = daemon.wait_state("cat", "RUNNING")["pid"]
    daemon.stop(signal.SIGKILL)
    command = [*daemon_command("supervise"), "-n", "-c", str(daemon.config)]
    racers = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=daemon.env)
        for _ in range(2)
    ]
    [loser] = wait_for(lambda: [one for one in racers if one.poll() is not None])
    assert loser.returncode == 2
    assert "another daemon is already " in loser.communicate()[0]
    [winner] = [one for one in racers if one is not loser]
    wait_for(lambda: pid_of(daemon.place, "cat") == pid)
    winner.terminate()
    winner.communicate(timeout=60)
    assert winner.returncode == 0
    assert not alive(pid)


@pytest.mark.parametrize("policy", ["adopt", "stop", "ignore", "--stop-leftovers"])
def test_policies(supervisors: Supervisors, policy: str) -> None:
    first = supervisors.start("supervise", PROGRAMS)
    pid = first.wait_state("cat", "RUNNING")["pid"]
    first.stop(signal.SIGKILL)
    flag = policy.startswith("--")
    first.configure(PROGRAMS, "" if flag else f"on_leftover = {policy}")
    again = supervisors.run("supervise", first.config, first.place, options=("-n", policy) if flag else ("-n",))
    new = again.wait_state("cat", "RUNNING")["pid"]
    assert (new == pid) is (policy == "adopt")
    assert alive(pid) is (policy in {"adopt", "ignore"})


DEAF = """
[program:deaf]
command = bash -c 'trap "" TERM; touch {place}/deaf; while :; do sleep 0.05; done'
stopwaitsecs = {seconds}
startsecs = 0
"""


@pytest.mark.parametrize("amid", [False, True])
def test_what_was_stopped_by_order_stays_so_where_leftovers_are_stopped(supervisors: Supervisors, amid: bool) -> None:
    daemon = supervisors.start("supervise", PROGRAMS + DEAF.replace("{seconds}", "1"), "on_leftover = stop")
    pids = {name: daemon.wait_state(name, "RUNNING")["pid"] for name in ("cat", "deaf")}
    wait_for((daemon.place / "deaf").exists)
    daemon.rpc.supervisor.stopProcess("deaf", not amid)
    for _ in range(2):
        daemon = supervisors.another(daemon)
        assert daemon.wait_state("cat", "RUNNING")["pid"] != pids["cat"]
        assert daemon.info("deaf")["statename"] == "STOPPED"
        assert not alive(pids["deaf"])
    daemon.rpc.supervisor.startProcess("deaf")
    daemon = supervisors.another(daemon)
    assert daemon.wait_state("deaf", "RUNNING")


def test_who_is_told_to_end_amid_the_end_of_leftovers(supervisors: Supervisors) -> None:
    """It does, at once, and the next one knows of them."""
    daemon = supervisors.start("supervise", DEAF.replace("{seconds}", "1000"))
    pid = daemon.wait_state("deaf", "RUNNING")["pid"]
    wait_for((daemon.place / "deaf").exists)
    daemon.stop(signal.SIGKILL)
    options = ("-n", "--stop-leftovers")
    daemon = supervisors.run("supervise", daemon.config, daemon.place, options=options, answers=False)
    daemon.wait_log(f"ending deaf (pid {pid})")
    assert daemon.stop() == 0
    assert "received SIGTERM indicating exit request" in daemon.log
    assert alive(pid)
    daemon = supervisors.run("supervise", daemon.config, daemon.place)
    assert daemon.wait_state("deaf", "RUNNING")["pid"] == pid
    os.kill(pid, signal.SIGKILL)


def test_adopted_ones_obey(supervisors: Supervisors) -> None:
    """Reload, update, and a stop of a whole tree."""
    tree = "[program:tree]\ncommand = bash -c 'sleep 1000 & setsid -w sleep 1001 & wait'\nstop_scope = tree\n"
    first = supervisors.start("supervise", PROGRAMS + tree)
    pids = {name: first.wait_state(name, "RUNNING")["pid"] for name in ("cat", "tree", "lines")}
    wait_for(lambda: len(psutil.Process(pids["tree"]).children(recursive=True)) >= 2)
    members = [pids["tree"], *(one.pid for one in psutil.Process(pids["tree"]).children())]
    first.stop(signal.SIGKILL)
    again = supervisors.run("supervise", first.config, first.place)
    assert {name: again.info(name)["pid"] for name in pids} == pids
    again.rpc.supervisor.stopProcess("tree")
    wait_for(lambda: not alive(members[0]) and not alive(members[1]))
    again.configure(PROGRAMS.replace("command = cat", "command = cat -u"))
    assert again.ctl("update").returncode == 0
    again.process.send_signal(signal.SIGHUP)
    wait_for(lambda: again.log.count("spawned: 'lines'") == 2)
    assert not alive(pids["lines"])
    assert again.stop() == 0


def test_options_that_were_edited_while_there_was_no_daemon(supervisors: Supervisors) -> None:
    """What runs goes on as it was started, and an update sees that it is not what is configured."""
    first = supervisors.start("supervise", PROGRAMS)
    pids = {name: first.wait_state(name, "RUNNING")["pid"] for name in ("cat", "lines")}
    first.stop(signal.SIGKILL)
    first.configure(PROGRAMS.replace("command = cat", "command = cat -u\npriority = 5"))
    again = supervisors.run("supervise", first.config, first.place)
    assert {name: again.info(name)["pid"] for name in pids} == pids
    again.wait_log("cat runs with options that have changed since: update restarts it")
    assert again.ctl("reread").stdout == "cat: changed\n"
    assert again.ctl("update").stdout.splitlines()[-1] == "cat: updated process group"
    restarted = again.wait_state("cat", "RUNNING")["pid"]
    assert restarted != pids["cat"]
    assert psutil.Process(restarted).cmdline() == ["cat", "-u"]
    assert again.info("lines")["pid"] == pids["lines"]
    assert again.ctl("reread").stdout == "No config updates to processes\n"
    assert again.stop() == 0


def test_a_foreign_process_with_a_recorded_pid_is_left_alone(supervisors: Supervisors) -> None:
    """Same pid, another start time: what the journal says is about somebody else."""
    first = supervisors.start("supervise", PROGRAMS)
    first.wait_state("cat", "RUNNING")
    first.stop(signal.SIGKILL)
    with subprocess.Popen(["sleep", "1000"]) as stranger:
        from supervise.daemon.memory import open_memory
        from supervise.system.handover import Handover

        memory = open_memory(f"{first.place}/main.pid", Handover())
        journal = memory._journal
        assert journal is not None
        for slot, record in journal.records.items():
            if record["name"] == "cat":
                os.kill(record["pid"], signal.SIGKILL)
                journal.write(slot, dict(record) | {"pid": stranger.pid})
        memory.close(everything_stopped=False)
        again = supervisors.run("supervise", first.config, first.place)
        assert again.wait_state("cat", "RUNNING")["pid"] != stranger.pid
        assert again.stop() == 0
        assert stranger.poll() is None
        stranger.kill()


class Systemd:
    """Plays systemd: stores descriptors by name, and passes them back (sd_pid_notify_with_fds(3), sd_listen_fds(3))."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(path))
        self.store: dict[str, int] = {}

    def until(self, line: str) -> None:
        """Receive until this is said."""
        self.sock.settimeout(PATIENCE)
        while line not in self._receive():
            pass

    def drain(self) -> dict[str, int]:
        """Receive what has come; how many of each kind are in the store then."""
        self.sock.settimeout(0.2)
        with suppress(TimeoutError):
            while True:
                self._receive()
        return dict(Counter(name.split("-")[0] for name in self.store))

    def _receive(self) -> list[str]:
        data, fds, _, _ = socket.recv_fds(self.sock, 4096, 8)
        lines = data.decode().split("\n")
        values = dict(line.split("=", 1) for line in lines)
        name = values.get("FDNAME", "")
        if "FDSTOREREMOVE" in values and name in self.store:
            os.close(self.store.pop(name))
        for fd in fds:
            if "FDSTORE" in values and name not in self.store:
                assert values["FDPOLL"] == "0"
                self.store[name] = fd
            else:
                os.close(fd)
        return lines

    def command(self) -> tuple[str, ...]:
        """A prefix that starts a service with what is in the store."""
        names, fds = list(self.store), list(self.store.values())
        moves = "".join(f"exec {3 + n}<&{fd}; " for n, fd in enumerate(fds)) if fds else ""
        listen = f"export LISTEN_FDS={len(fds)} LISTEN_FDNAMES={':'.join(names)} LISTEN_PID=$$; " if fds else ""
        return ("bash", "-c", f'{moves}{listen}exec "$@"', "bash")


def test_systemd_keeps_what_is_needed(supervisors: Supervisors) -> None:
    place = supervisors.place()
    manager = Systemd(place / "notify")
    env = {"NOTIFY_SOCKET": str(place / "notify"), "FDSTORE": "1000"}
    with manager.sock:
        (place / "s.conf").write_text(configuration(place, PROGRAMS))
        first = supervisors.run("supervise", place / "s.conf", place, env=env)
        manager.until("READY=1")
        pids = {name: first.wait_state(name, "RUNNING")["pid"] for name in ("lines", "cat", "ends")}
        first.disconnect()
        kept = {"lock": 1, "control": 1, "pipe": 6, "process": 3}
        wait_for(lambda: manager.drain() == kept, "all is in the store")
        first.process.kill()
        first.process.wait()
        Path(f"/proc/{pids['ends']}/fd/0").write_text("5\n")
        wait_for(lambda: not alive(pids["ends"]))
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(place / "s.sock"))  # nobody is refused meanwhile
        high = {name: os.dup(fd) for name, fd in manager.store.items()}
        for name, fd in manager.store.items():
            moved = __import__("fcntl").fcntl(fd, 0, 100)  # F_DUPFD, above what the shell is to use
            os.close(fd)
            os.close(high[name])
            os.set_inheritable(moved, True)
            manager.store[name] = moved
        whole = environment(place, **env)
        with (place / "output").open("ab") as output:
            process = subprocess.Popen(
                [*manager.command(), *daemon_command("supervise"), "-n", "-c", str(place / "s.conf")],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=whole,
                cwd=place,
                close_fds=False,
            )
        try:
            manager.until("READY=1")
            assert {name: pid_of(place, name) for name in ("lines", "cat")} == {
                name: pids[name] for name in ("lines", "cat")
            }
            ended = info(place, "ends")
            release = tuple(int(part) for part in os.uname().release.split(".")[:2])
            assert ended["exitstatus"] == (5 if release >= (6, 15) else 0)
            wait_for(lambda: (place / "ends.log").read_text() == "last words\n", "which only the store had")
            wait_for(lambda: manager.drain()["process"] == 2)
            assert f"process-{pids['ends']}" not in "".join(manager.store)
        finally:
            process.terminate()
            wait_for(lambda: [manager.drain()] and process.poll() is not None)
        assert set(manager.drain()) <= {"lock", "control"}
        for fd in manager.store.values():
            os.close(fd)


BOTH = """
[program:quick]
command = sleep 1000
startsecs = 0
environment = VERSION={version}
{more}
[program:slow]
command = bash -c 'trap "" TERM; echo deaf; while :; do sleep 0.05; done'
stdout_logfile = {place}/slow.log
stopwaitsecs = 2
startsecs = 0
environment = VERSION={version}
[group:both]
programs = quick,slow
priority = {version}
"""


@pytest.mark.parametrize("frame", [True, False])
@pytest.mark.parametrize("order", ["reload", "update", "restart all", "restart both:*", "restart both:quick both:slow"])
def test_killed_amid_a_restart(supervisors: Supervisors, order: str, frame: bool) -> None:
    """What was stopped only to be started again is started, and nothing else."""

    def programs(version: int) -> str:
        text = BOTH.replace("{version}", str(version)).replace("{more}", "[program:idle]\ncommand = sleep 1000\n")
        return text if frame else text.partition("[group")[0]

    both = "both:" if frame else ""
    order = order if frame else order.replace("both:*", "quick slow").replace("both:", "")
    daemon = supervisors.start("supervise", programs(1))
    pids = [daemon.wait_state(both + name, "RUNNING")["pid"] for name in ("quick", "slow")]
    daemon.rpc.supervisor.stopProcess("idle")
    wait_for(lambda: daemon.read("slow.log") == "deaf\n", "a program that is deaf to SIGTERM")
    daemon.configure(programs(2))
    options = ["-c", str(daemon.config), *order.split()]
    client = subprocess.Popen([*client_command("supervise"), *options], env=daemon.env, stderr=subprocess.DEVNULL)
    wait_for(lambda: "stopped: quick" in daemon.log)
    daemon.stop(signal.SIGKILL)
    client.wait()
    daemon = supervisors.run("supervise", daemon.config, daemon.place)
    for name, pid in zip(("quick", "slow"), pids, strict=True):
        wait_for(lambda name=name, pid=pid: daemon.info(both + name)["pid"] not in (0, pid), f"another {name}")
    assert not alive(pids[1])
    everything = order in {"reload", "restart all"}
    assert daemon.wait_state("idle", "RUNNING" if everything else "STOPPED")


def test_killed_amid_a_shutdown(supervisors: Supervisors) -> None:
    """What had ended by then was not stopped for good: it starts as after any other shutdown."""
    programs = BOTH.partition("[group")[0].replace("{version}", "1").replace("{more}", "")
    programs += "[program:idle]\ncommand = sleep 1000\nautostart = false\nstartsecs = 0\n"
    daemon = supervisors.start("supervise", programs)
    pids = [daemon.wait_state(name, "RUNNING")["pid"] for name in ("quick", "slow")]
    daemon.rpc.supervisor.startProcess("idle")
    wait_for(lambda: daemon.read("slow.log") == "deaf\n", "a program that is deaf to SIGTERM")
    daemon.process.terminate()
    daemon.wait_log("stopped: quick")
    daemon.wait_log("stopped: idle")
    daemon = supervisors.another(daemon)
    for name, pid in zip(("quick", "slow"), pids, strict=True):
        wait_for(lambda name=name, pid=pid: daemon.info(name)["pid"] not in (0, pid), f"another {name}")
    assert not alive(pids[1])
    assert daemon.info("idle")["statename"] == "STOPPED"


@pytest.mark.parametrize("upgrade", [True, False])
def test_a_group_that_was_removed_is_not_back(supervisors: Supervisors, upgrade: bool) -> None:
    """Though it is configured; until it is added, or everything is started anew."""

    def again(daemon: Daemon) -> Daemon:
        if not upgrade:
            return supervisors.another(daemon)
        assert daemon.ctl("upgrade", "--wait").returncode == 0
        daemon.disconnect()
        return daemon

    daemon = supervisors.start("supervise", sleepers("web", "cat"))
    daemon.wait_state("web", "RUNNING")
    assert daemon.ctl("stop", "web").returncode == 0
    assert daemon.ctl("remove", "web").returncode == 0
    for _ in range(2):
        daemon = again(daemon)
        assert daemon.states() == {"cat:cat": "RUNNING"}
    assert daemon.ctl("add", "web").returncode == 0
    daemon = again(daemon)
    assert daemon.wait_state("web", "RUNNING")
    assert daemon.ctl("stop", "web").returncode == 0
    assert daemon.ctl("remove", "web").returncode == 0
    assert daemon.ctl("reload", "--wait").returncode == 0
    assert daemon.wait_state("web", "RUNNING")
    daemon = again(daemon)
    assert daemon.wait_state("web", "RUNNING")
    assert daemon.stop() == 0


def test_killed_amid_a_shutdown_amid_an_update(supervisors: Supervisors) -> None:
    """What the first had stopped, and the second would not have started, is not lost between the two."""

    def programs(version: int) -> str:
        slow = BOTH.partition("[program:slow]")[2].partition("[group")[0].replace("waitsecs = 2", "waitsecs = 1000")
        slower = "[program:slower]" + slow.replace("slow.log", "slower.log")
        text = (
            BOTH.replace("{more}", slower)
            .replace("waitsecs = 2", "waitsecs = 3")
            .replace("= quick,", "= slower,quick,")
        )
        return text.replace("{version}", str(version))

    daemon = supervisors.start("supervise", programs(1))
    daemon.wait_state("both:quick", "RUNNING")
    slower = daemon.wait_state("both:slower", "RUNNING")["pid"]
    for name in ("slow.log", "slower.log"):
        wait_for(lambda name=name: daemon.read(name) == "deaf\n", "a program that is deaf to SIGTERM")
    daemon.configure(programs(2))
    options = ["-c", str(daemon.config), "update"]
    client = subprocess.Popen([*client_command("supervise"), *options], env=daemon.env, stderr=subprocess.DEVNULL)
    daemon.wait_log("stopped: quick")
    daemon.process.terminate()
    daemon.wait_log("stopped: slow ")
    time.sleep(0.2)  # for whoever has waited for that
    daemon.stop(signal.SIGKILL)
    client.wait()
    daemon = supervisors.run("supervise", daemon.config, daemon.place)
    os.kill(slower, signal.SIGKILL)
    for name in ("quick", "slow", "slower"):
        assert daemon.wait_state(f"both:{name}", "RUNNING")


@pytest.mark.parametrize("order", ["shutdown", "reload"])
def test_a_group_that_was_removed_is_back_though_all_that_begins_anew_is_cut_off(
    supervisors: Supervisors, order: str
) -> None:
    programs = BOTH.partition("[group")[0].replace("{version}", "1").replace("{more}", sleepers("web"))
    daemon = supervisors.start("supervise", programs)
    daemon.wait_state("slow", "RUNNING")
    wait_for(lambda: daemon.read("slow.log") == "deaf\n", "a program that is deaf to SIGTERM")
    assert daemon.ctl("stop", "web").returncode == 0
    assert daemon.ctl("remove", "web").returncode == 0
    assert daemon.ctl(order).returncode == 0
    daemon.wait_log("stopped: quick")
    daemon = supervisors.another(daemon)
    assert daemon.wait_state("web", "RUNNING")


ONE_AT_A_TIME = """
[program:{name}]
command = bash -c 'mkdir {place}/lock || echo twice >> {place}/twice; trap "touch {place}/asked" TERM; \
until test -e {place}/asked -a -e {place}/go; do sleep 0.05; done; rmdir {place}/lock'
process_name = {process}
stopwaitsecs = 1000
startsecs = 0
autorestart = false
"""


@pytest.mark.parametrize("how", ["kill", "upgrade"])
@pytest.mark.parametrize("edit", ["renamed", "regrouped", "process"])
def test_another_name_is_not_another_copy(supervisors: Supervisors, edit: str, how: str) -> None:
    """What is not configured any more is ended before anything new is started, while the rest goes on."""

    def programs(name: str = "old", process: str = "old") -> str:
        return PROGRAMS + ONE_AT_A_TIME.replace("{name}", name).replace("{process}", process)

    daemon = supervisors.start("supervise", programs())
    old, cat = (daemon.wait_state(name, "RUNNING")["pid"] for name in ("old", "cat"))
    wait_for((daemon.place / "lock").exists)
    changed = {"renamed": programs("new", "new"), "process": programs(process="new")}
    daemon.configure(changed.get(edit, programs() + "[group:new]\nprograms = old\n"))
    if how == "kill":
        daemon = supervisors.another(daemon)
    else:
        assert daemon.ctl("upgrade", "--wait").returncode == 0
        daemon.disconnect()
    assert daemon.info("cat")["pid"] == cat
    name = {"renamed": "new", "regrouped": "new:old", "process": "old:new"}[edit]
    assert daemon.wait_state(name, "STARTING")
    wait_for((daemon.place / "asked").exists)
    assert alive(old)
    (daemon.place / "go").touch()
    daemon.wait_state(name, "EXITED")
    assert not alive(old)
    assert not daemon.read("twice")
    assert daemon.stop() == 0


@pytest.mark.parametrize("configured", [True, False])
def test_who_dies_while_ending_leftovers_does_not_forget_them(supervisors: Supervisors, configured: bool) -> None:
    deaf = """
        [program:deaf]
        command = bash -c 'trap "" TERM; touch {place}/deaf; while :; do sleep 0.1; done'
        stopwaitsecs = 1000
        startsecs = 0
        autorestart = false
    """
    daemon = supervisors.start("supervise", deaf)
    pid = daemon.wait_state("deaf", "RUNNING")["pid"]
    wait_for((daemon.place / "deaf").exists)
    daemon.stop(signal.SIGKILL)
    daemon.configure(deaf if configured else "", "on_leftover = stop" if configured else "")
    for times in (1, 2):
        daemon = supervisors.run("supervise", daemon.config, daemon.place, answers=False)
        wait_for(lambda daemon=daemon, times=times: daemon.log.count(f"ending deaf (pid {pid})") == times)
        daemon.stop(signal.SIGKILL)
    assert alive(pid)
    daemon.configure(deaf)
    daemon = supervisors.run("supervise", daemon.config, daemon.place)
    assert daemon.wait_state("deaf", "RUNNING")["pid"] == pid, "no second copy"
    os.kill(pid, signal.SIGKILL)
    assert daemon.stop() == 0
