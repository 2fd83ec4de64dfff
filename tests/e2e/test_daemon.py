"""The daemon as a whole: starting, ending, being asked to begin again, and what it must survive."""

import os
import re
import signal
import socket
import stat
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.daemons import Supervisors, configuration, daemon_command, environment, proxy, sleepers, wait_answer
from tests.tools import alive, belonging_to, free_ports, need, need_root, wait_for

pytestmark = pytest.mark.timeout(300)


def test_term_ends_fifty_programs_of_which_forty_were_stopped(supervisors: Supervisors) -> None:
    stopped = "".join(sleepers(f"off{number}") + "autostart = false\n" for number in range(40))
    running = sleepers(*(f"on{number}" for number in range(10)))
    daemon = supervisors.start("supervise", stopped + running)
    pids = [daemon.wait_state(f"on{number}", "RUNNING")["pid"] for number in range(10)]
    assert daemon.stop() == 0
    assert not any(map(alive, pids))
    assert daemon.log.count("stopped: on") == 10
    assert "stopped: off" not in daemon.log
    assert not daemon.socket.exists()
    assert not (daemon.place / "main.pid").exists()


def test_a_thousand_ends_at_once(supervisors: Supervisors) -> None:
    """More SIGCHLD than fit into anything; `stop` also looks at what the daemon says on its stderr."""
    daemon = supervisors.start("supervise", sleepers("many") + "numprocs = 1000\nprocess_name = p%(process_num)d\n")
    wait_for(lambda: list(daemon.states().values()).count("RUNNING") == 1000)
    pids = [row["pid"] for row in daemon.rpc.supervisor.getAllProcessInfo()]
    assert daemon.stop() == 0
    assert not any(map(alive, pids))
    assert daemon.log.count("stopped: p") == 1000


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_signals_that_end_it(supervisors: Supervisors, number: signal.Signals) -> None:
    daemon = supervisors.start("supervise", sleepers("web"))
    daemon.wait_state("web", "RUNNING")
    assert daemon.stop(number) == 0
    assert f"received {number.name} indicating exit request" in daemon.log


def test_a_broken_file_stops_nothing(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", sleepers("web"))
    pid = daemon.wait_state("web", "RUNNING")["pid"]
    daemon.configure("[program:web]\nautostart = perhaps\n")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_log("perhaps")
    reload = daemon.ctl("reload")
    assert reload.returncode == 1
    assert "perhaps" in reload.stdout + reload.stderr
    assert daemon.info("web")["pid"] == pid
    daemon.configure(sleepers("web", "new"))
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "spawned: 'new'" in daemon.log, "the mended file is taken")
    daemon.wait_state("new", "RUNNING")
    assert daemon.info("web")["pid"] != pid, "a reload starts everything again"


def test_a_reload_keeps_the_socket(supervisors: Supervisors) -> None:
    """Nobody who connects is refused, not even in between."""
    daemon = supervisors.start("supervise", sleepers("web"))
    before = daemon.socket.stat().st_ino
    daemon.wait_state("web", "RUNNING")
    assert daemon.ctl("reload").returncode == 0
    while daemon.log.count("spawned: 'web'") < 2:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(daemon.socket))
    assert daemon.socket.stat().st_ino == before


TREES = {
    "a shell's child": "sh -c 'sleep 1000 & sleep 1000'",
    "a shell's child that ignores TERM": """sh -c '(trap "" TERM; while :; do sleep 0.2; done) & sleep 1000'""",
    "a leader that ignores TERM": """sh -c 'trap "" TERM; sleep 1000 & while :; do sleep 0.2; done'""",
    "a leader that obeys at once": """sh -c 'trap "exit 0" TERM; sleep 1000 & sleep 1000 & wait'""",
    "another process group": "sh -ic 'sleep 1000 & sleep 1000 & wait'",
}


SCOPES = ["stopasgroup = true", "killasgroup = true", "stop_scope = tree"]
# A signal to a process group does not reach another group of the session, here as with supervisord.
CASES = [(tree, scope) for tree in TREES for scope in SCOPES if "group" not in tree or "tree" in scope]


@pytest.mark.parametrize(("tree", "scope"), CASES)
def test_nothing_of_a_tree_is_left(supervisors: Supervisors, tree: str, scope: str) -> None:
    daemon = supervisors.start(
        "supervise", f"[program:tree]\ncommand = {TREES[tree]}\nstopwaitsecs = 1\nstartsecs = 0\n{scope}\n"
    )
    daemon.wait_state("tree", "RUNNING")
    mine = wait_for(lambda: family if len(family := psutil.Process(daemon.pid).children(recursive=True)) > 1 else None)
    daemon.rpc.supervisor.stopProcess("tree")
    assert daemon.info("tree")["statename"] == "STOPPED"
    wait_for(lambda: not any(alive(one.pid) for one in mine), "the whole tree has gone")


def test_a_second_instance_touches_nothing(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", sleepers("web"))
    pid = daemon.wait_state("web", "RUNNING")["pid"]
    daemon.wait_log("without any HTTP authentication")  # the last line, which may come after the first answer
    wait_for(lambda: len([*daemon.place.glob("web-std*")]) == 2, "its logs, which are made when there is time")
    before = (
        daemon.log,
        (daemon.place / "main.pid").read_text(),
        daemon.socket.stat().st_ino,
        sorted(os.listdir(daemon.place)),
    )
    for options in (("-n",), ()):
        again = subprocess.run(
            [*daemon_command("supervise"), *options, "-c", daemon.config],
            capture_output=True,
            text=True,
            env=daemon.env,
            cwd=daemon.place,
            timeout=60,
        )
        assert again.returncode == 2
        assert str(daemon.pid) in again.stderr, "it says who is there"
    after = (
        daemon.log,
        (daemon.place / "main.pid").read_text(),
        daemon.socket.stat().st_ino,
        sorted(os.listdir(daemon.place)),
    )
    assert after == before
    assert daemon.info("web")["pid"] == pid


def daemonised(place: Path, programs: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run `supervise -c` without -n, as an init script does, and return how the starting command ended."""
    (place / "s.conf").write_text(configuration(place, programs))
    command = [*daemon_command("supervise"), "-c", "s.conf"]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=place, env=environment(place, **more), timeout=60
    )


def test_the_start_returns_when_the_daemon_serves(place: Path) -> None:
    done = daemonised(place, sleepers("web"))
    assert done.returncode == 0, done.stderr
    with proxy(place / "s.sock") as rpc:
        assert rpc.supervisor.getState()["statename"] == "RUNNING"
        daemon = psutil.Process(int((place / "main.pid").read_text()))
        assert os.getsid(daemon.pid) != os.getsid(0), "it has left the session"
        assert daemon.terminal() is None
        assert {os.readlink(f"/proc/{daemon.pid}/fd/{number}") for number in range(3)} == {"/dev/null"}
        web = rpc.supervisor.getProcessInfo("web")["pid"]
        assert psutil.Process(web).ppid() == daemon.pid
        rpc.supervisor.shutdown()
    wait_for(lambda: not alive(daemon.pid))
    assert not alive(web)
    assert not (place / "main.pid").exists()


FAILURES = {
    "a socket in no directory": ("[unix_http_server]\nfile = {place}/no/dir/s.sock\n", "no/dir"),
    "a port that is taken": ("[inet_http_server]\nport = 127.0.0.1:{taken}\n", "{taken}"),
    "an address of another machine": ("[inet_http_server]\nport = 192.0.2.1:{free}\n", "192.0.2.1"),
    "a name that is no file": ("[unix_http_server]\nfile = {place}\n", "{place}"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_start_that_fails_says_why(place: Path, case: str) -> None:
    text, says = FAILURES[case]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        names = {"{taken}": str(taken.getsockname()[1]), "{free}": str(free_ports(1)[0]), "{place}": str(place)}
        for name, value in names.items():
            text, says = text.replace(name, value), says.replace(name, value)
        before = sorted(os.listdir(place))
        done = daemonised(place, sleepers("web") + text)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ")
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    wait_for(lambda: not list(belonging_to(place)), "nothing runs")
    assert not {"main.pid", "s.sock"} & set(os.listdir(place)), "nothing is left"
    assert before == []


def test_a_deleted_socket_comes_back(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", sleepers("web"))
    pid = daemon.wait_state("web", "RUNNING")["pid"]
    daemon.disconnect()
    daemon.socket.unlink()
    wait_for(daemon.socket.exists, "the socket is back")
    wait_answer(daemon)
    assert daemon.info("web")["pid"] == pid


def test_what_a_killed_daemon_left_is_no_obstacle(supervisors: Supervisors) -> None:
    first = supervisors.start("supervise", "")
    first.process.kill()
    first.process.wait()
    assert first.socket.exists()
    first.disconnect()
    second = supervisors.run("supervise", first.config, first.place)
    assert (first.place / "main.pid").read_text() == f"{second.pid}\n"


def test_a_pidfile_with_somebody_elses_number_is_no_obstacle(supervisors: Supervisors) -> None:
    place = supervisors.place()
    (place / "main.pid").write_text(f"{os.getpid()}\n")
    daemon = supervisors.start("supervise", "", place=place)
    assert (place / "main.pid").read_text() == f"{daemon.pid}\n"
    assert daemon.stop() == 0


def test_usr2_reopens_every_log(supervisors: Supervisors) -> None:
    program = "[program:web]\ncommand = sh -c 'while :; do echo tick; sleep 0.05; done'\nstartsecs = 0\n"
    daemon = supervisors.start("supervise", program + "stdout_logfile = {place}/web.log\n")
    wait_for(lambda: daemon.read("web.log"))
    for name in ("web.log", "main.log"):
        (daemon.place / name).rename(daemon.place / f"{name}.old")
    daemon.process.send_signal(signal.SIGUSR2)
    wait_for(lambda: daemon.read("web.log"), "the program's new log")
    wait_for((daemon.place / "main.log").exists, "the new main log")
    # A line after a while finds out by itself that its file has been moved away, and this may be the one.
    wait_for(lambda: "supervisord logreopen" in daemon.read("main.log.old") + daemon.read("main.log"))
    assert daemon.read("web.log.old").endswith("tick\n"), "no line is torn"


def test_the_socket_is_its_owners(supervisors: Supervisors) -> None:
    need_root()
    daemon = supervisors.start("supervise", "[unix_http_server]\nchmod = 0770\nchown = root:www-data\n")
    facts = daemon.socket.stat()
    assert (stat.S_IMODE(facts.st_mode), facts.st_uid, facts.st_gid) == (0o770, 0, 33)
    private = supervisors.start("supervise", "")
    assert stat.S_IMODE(private.socket.stat().st_mode) == 0o700


def test_descriptors_and_threads_stay_flat(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", sleepers("web", "other"))

    def cycle(times: int) -> tuple[int, int]:
        for _ in range(times):
            daemon.rpc.supervisor.stopProcess("web")
            daemon.rpc.supervisor.startProcess("web")
            daemon.rpc.supervisor.clearProcessLogs("web")
        process = psutil.Process(daemon.pid)
        return process.num_fds(), process.num_threads()

    daemon.wait_state("web", "RUNNING")
    before = cycle(20)
    after = cycle(100)
    assert after[0] <= before[0] + 2
    assert after[1] <= before[1] + 2


def test_more_processes_leave_the_others_alone(supervisors: Supervisors) -> None:
    program = "[program:w]\ncommand = sleep 1000\nprocess_name = w%(process_num)d\nstartsecs = 0\nnumprocs = "
    daemon = supervisors.start("supervise", program + "4\n")
    before = {name: daemon.wait_state(name, "RUNNING")["pid"] for name in (f"w:w{number}" for number in range(4))}
    daemon.configure(program + "6\n")
    plan = daemon.ctl("update", "--dry-run")
    assert plan.returncode == 0
    assert "w5" in plan.stdout
    assert len(daemon.states()) == 4, "a plan changes nothing"
    assert daemon.ctl("update").returncode == 0
    daemon.wait_state("w:w5", "RUNNING")
    assert {name: daemon.info(name)["pid"] for name in before} == before
    daemon.configure(program + "2\n")
    assert daemon.ctl("update").returncode == 0
    wait_for(lambda: sorted(daemon.states()) == ["w:w0", "w:w1"], "four have gone")
    assert daemon.info("w:w0")["pid"] == before["w:w0"]


def test_a_daemon_of_another_user(supervisors: Supervisors) -> None:
    need_root()
    place = supervisors.place()
    os.chown(place, 33, 33)
    daemon = supervisors.start("supervise", sleepers("web"), "user = www-data\n", place=place)
    web = daemon.wait_state("web", "RUNNING")["pid"]
    assert psutil.Process(daemon.pid).uids() == (33, 33, 33)
    assert psutil.Process(web).uids() == (33, 33, 33)
    assert daemon.socket.stat().st_uid == 33


STRAY = "sh -c '(setsid sleep 998 &); exec sleep 999'"
ORPHANS = """sh -c 'for i in 1 2 3; do (sh -c "sleep 0.2; exit 5" &); done; exec sleep 999'"""


def test_as_pid_1_it_reaps_and_ends_everything(supervisors: Supervisors) -> None:
    """In a pid namespace, as a container's first process; without -n, since there is nowhere to daemonise to."""
    need_root("CAP_SYS_ADMIN")
    program = "".join(
        sleepers(name).replace("sleep 1000", command)
        for name, command in (("web", "sleep 999"), ("stray", STRAY), ("orphans", ORPHANS))
    )
    prefix = (need("unshare"), "--pid", "--fork", "--mount-proc", "--kill-child")
    daemon = supervisors.start("supervise", program, options=(), prefix=prefix)
    first = wait_for(lambda: psutil.Process(daemon.pid).children(), "the namespace's first process")[0]
    assert daemon.rpc.supervisor.getPID() == 1
    wait_for(
        lambda: len(re.findall(r"reaped unknown pid \d+ \(exit status 5\)", daemon.log)) == 3, "orphans are reaped"
    )

    def zombies() -> list[psutil.Process]:
        return [one for one in first.children(recursive=True) if one.status() == psutil.STATUS_ZOMBIE]

    wait_for(lambda: not zombies(), "and everybody else who ends")
    family = first.children(recursive=True)
    daemon.disconnect()
    first.send_signal(signal.SIGTERM)
    assert daemon.process.wait(60) == 0
    assert not any(alive(one.pid) for one in family), "and the namespace is empty"
    assert "running as root" not in re.sub(r"(?m)^.* INFO .*$", "", daemon.log), "in a container that is no alarm"
