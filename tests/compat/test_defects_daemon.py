"""B47 to B59: defects of supervisord 4.3.0 as a daemon and of its client, and that they are not here.

A test is named after its row; where the real one shows the defect within seconds, it is asked too.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from tests.daemons import (
    KINDS,
    Daemon,
    Kind,
    Supervisors,
    UnixConnection,
    client_command,
    configuration,
    daemon_command,
    environment,
    proxy,
    wait_answer,
)
from tests.tools import ROOT, alive, free_ports, need, need_root, wait_for

pytestmark = pytest.mark.timeout(300)

WEB = "[program:web]\ncommand = sleep 1000\nstartsecs = 0\n"


def run(kind: Kind, place: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """The daemon's command line, up to its end."""
    command = [*daemon_command(kind), *words]
    whole = environment(place, **env)
    return subprocess.run(command, capture_output=True, text=True, cwd=place, env=whole, timeout=60)


def test_b47_a_second_instance_touches_nothing(supervisors: Supervisors) -> None:
    for kind in KINDS:
        daemon = supervisors.start(kind, WEB)
        pid = daemon.wait_state("web", "RUNNING")["pid"]
        daemon.wait_log("running without any HTTP authentication checking")
        before = daemon.wait_log("success: web entered RUNNING state")
        again = run(kind, daemon.place, "-n", "-c", "s.conf")
        assert again.returncode == 2
        assert (daemon.log == before) is (kind == "supervise")
        assert (str(daemon.pid) in again.stderr) is (kind == "supervise"), "it says who is there"
        assert daemon.info("web")["pid"] == pid


def test_b48_a_pid_in_the_pidfile_alone_means_nothing(supervisors: Supervisors) -> None:
    """What counts is the lock. At the end the file is removed only by whom it belongs to."""
    place = supervisors.place()
    (place / "main.pid").write_text(f"{os.getpid()}\n")
    daemon = supervisors.start("supervise", WEB, place=place)
    assert daemon.read("main.pid") == f"{daemon.pid}\n"
    pid = daemon.wait_state("web", "RUNNING")["pid"]
    (place / "main.pid").write_text("1\n")
    again = run("supervise", place, "-n", "-c", "s.conf")
    assert again.returncode == 2, "the file was rewritten, the lock is still there"
    assert alive(pid)


def test_b48_only_its_own_pidfile_is_removed(supervisors: Supervisors) -> None:
    cases: dict[Kind, bool] = {"supervise": True, "supervisord": False}
    for kind, left in cases.items():
        daemon = supervisors.start(kind, WEB)
        pidfile = daemon.place / "main.pid"
        pidfile.rename(daemon.place / "old.pid")
        pidfile.write_text("somebody else's\n")  # who has started meanwhile
        assert daemon.stop() == 0
        assert pidfile.exists() is left


def test_b49_a_deleted_socket_comes_back(supervisors: Supervisors) -> None:
    daemons = [supervisors.start(kind, "") for kind in KINDS]
    for daemon in daemons:
        daemon.disconnect()
        daemon.socket.unlink()
    mine, real = daemons
    wait_for(mine.socket.exists)
    wait_answer(mine)
    assert not real.socket.exists()


HELD = """
[unix_http_server]
file = {place}/held/s.sock
[supervisord]
pidfile = {place}/held/main.pid
childlogdir = {place}/held
[supervisorctl]
serverurl = unix://{place}/held/s.sock
[program:web]
command = sh -c 'while read line; do echo "$line"; done'
startsecs = 0
"""


def test_b49_what_cleans_old_files_away_stops_nobody(supervisors: Supervisors) -> None:
    """tmpfiles.d(5) and its like remove sockets, pidfiles and logs, and in the end the empty directory."""
    place = supervisors.place()
    held = place / "held"
    held.mkdir()
    config = place / "s.conf"
    config.write_text(configuration(place, HELD))
    daemon = supervisors.run("supervise", config, place, answers=False)
    wait_for(lambda: daemon.ctl("pid").stdout == f"{daemon.pid}\n")
    pid = daemon.ctl("pid", "web").stdout
    held.rename(place / "old")  # all at once: the socket would come back before the directory is empty
    shutil.rmtree(place / "old")
    held.mkdir()
    wait_for((held / "s.sock").exists, "the socket is there again")
    assert daemon.ctl("pid", "web").stdout == pid
    again = run("supervise", place, "-n", "-c", "s.conf")
    assert again.returncode == 2, "who answers at the socket is there, though the pidfile is gone"
    with closing(UnixConnection(held / "s.sock")) as connection:
        connection.request("POST", "/api/v1/processes/web/stdin", b'{"data": "after\\n"}')
        assert connection.getresponse().status == 200
    assert daemon.ctl("tail", "web").returncode in (0, 1)
    daemon.process.send_signal(signal.SIGUSR2)
    wait_for(lambda: list(held.glob("web-stdout*")), "and so is the log")
    assert daemon.ctl("shutdown", "--wait").returncode == 0
    assert daemon.process.wait(60) == 0


def test_b49_small_files_in_tmp_are_warned_of(supervisors: Supervisors) -> None:
    place = supervisors.place()
    config = place / "s.conf"
    text = "[unix_http_server]\nfile = /tmp/supervisor.sock\n[supervisord]\npidfile = /tmp/supervisord.pid\n"
    config.write_text(text)
    checked = run("supervise", place, "check", "-c", str(config))
    assert f"{config}:2: [unix_http_server] file: old files in /tmp are removed" in checked.stdout
    assert f"{config}:4: [supervisord] pidfile: old files in /tmp are removed" in checked.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_b49_a_stale_socket_is_no_obstacle_and_a_file_is_not_removed(supervisors: Supervisors, kind: Kind) -> None:
    place = supervisors.place()
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(place / "s.sock"))
    daemon = supervisors.start(kind, "", place=place)
    assert daemon.rpc.supervisor.getState()["statename"] == "RUNNING"
    if kind == "supervise":
        other = supervisors.place()
        (other / "s.sock").write_text("somebody's notes")
        (other / "s.conf").write_text(configuration(other, ""))
        assert run(kind, other, "-n", "-c", "s.conf").returncode == 2
        assert (other / "s.sock").read_text() == "somebody's notes"


def listening(port: int) -> str:
    """The inode of the socket that listens on a port: see proc_net(5)."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return next(row[9] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "0A")


def test_b50_a_reload_keeps_the_port_and_refuses_nobody(supervisors: Supervisors) -> None:
    """supervisord 4.3.0 no longer trips over a client that stays connected, but closes the socket and makes another."""
    kept: dict[Kind, bool] = {"supervise": True, "supervisord": False}
    for kind, keeps in kept.items():
        (port,) = free_ports(1)
        one = supervisors.start(kind, WEB + f"[inet_http_server]\nport = 127.0.0.1:{port}\n")
        before = listening(port)
        with socket.create_connection(("127.0.0.1", port)):
            assert one.ctl("reload").returncode == 0
            wait_for(lambda one=one: one.log.count("spawned: 'web'") == 2)
            one.disconnect()
            wait_answer(one)
        assert (listening(port) == before) is keeps
    (port,) = free_ports(1)
    inet = f"[inet_http_server]\nport = 127.0.0.1:{port}\nusername = u\npassword = p\n"
    daemon = supervisors.start("supervise", WEB + inet)
    daemon.wait_state("web", "RUNNING")
    refused: list[OSError] = []
    done = threading.Event()

    def knock() -> None:
        while not done.is_set():
            try:
                socket.create_connection(("127.0.0.1", port), timeout=60).close()
            except OSError as error:
                refused.append(error)

    knocking = threading.Thread(target=knock)
    with socket.create_connection(("127.0.0.1", port)):  # a client that stays connected
        knocking.start()
        for _ in range(3):
            assert daemon.ctl("reload", "--wait").returncode == 0
        done.set()
        knocking.join()
    assert refused == []
    last = daemon.wait_state("web", "RUNNING")["pid"]
    assert daemon.wait_log(f"spawned: 'web' with pid {last}\n").count("spawned: 'web'") == 4


# Python reads this first: a file system that knows no hard links.
LINKLESS = """\
import errno, os
def link(source, target, **more):
    raise OSError(errno.EPERM, os.strerror(errno.EPERM), source)
os.link = link
"""


def test_b51_a_file_system_without_hard_links_will_do(supervisors: Supervisors) -> None:
    place = supervisors.place()
    (place / "links").mkdir()
    (place / "links/sitecustomize.py").write_text(LINKLESS)
    env = {"PYTHONPATH": f"{place}/links:{ROOT}"}
    daemon = supervisors.start("supervise", "", place=place, env=env)
    assert daemon.rpc.supervisor.getState()["statename"] == "RUNNING"
    assert "stale" not in daemon.log
    other = supervisors.place()
    (other / "s.conf").write_text(configuration(other, ""))
    real = supervisors.run("supervisord", other / "s.conf", other, env=env, answers=False)
    wait_for(lambda: (real.output + real.read("main.log")).count("Unlinking stale socket") > 3, "again and again")


def test_b53_the_start_tells_how_it_ends(supervisors: Supervisors) -> None:
    place = supervisors.place()
    (place / "s.conf").write_text(configuration(place, WEB))
    assert run("supervise", place, "-c", "s.conf").returncode == 0
    with proxy(place / "s.sock") as rpc:  # at once, without waiting for anything
        assert rpc.supervisor.getState()["statename"] == "RUNNING"
        pid = rpc.supervisor.getPID()
        rpc.supervisor.shutdown()
    wait_for(lambda: not alive(pid))
    (place / "s.conf").write_text(configuration(place, WEB).replace("file = ", "file = /no/such/directory"))
    failed = run("supervise", place, "-c", "s.conf")
    assert failed.returncode == 2
    assert "/no/such/directory" in failed.stderr


def test_b53_what_fails_in_the_background_is_told(supervisors: Supervisors) -> None:
    """supervisord throws a traceback on a stderr that is /dev/null by then."""
    program = "[program:a]\ncommand = sh -c 'echo said; touch {place}/up; exec sleep 1000'\nstartsecs = 0\n"
    told: dict[Kind, bool] = {"supervise": True, "supervisord": False}
    for kind, tells in told.items():
        place = supervisors.place()
        (place / "s.conf").write_text(configuration(place, f"{program}stdout_logfile = /dev/full\n"))
        started = run(kind, place, "-c", "s.conf")
        assert (started.returncode, started.stderr) == (0, "")
        log = place / "main.log"
        wait_for((place / "up").exists)
        if tells:
            wait_for(lambda log=log: "/dev/full" in log.read_text())
        with proxy(place / "s.sock") as rpc:
            rpc.supervisor.stopProcess("a")  # its output has been dealt with
            said = log.read_text()
            rpc.supervisor.shutdown()
        assert (("/dev/full" in said) or ("No space" in said)) is tells
        wait_for(lambda place=place: not (place / "main.pid").exists())


# What setuptools 80.9 and later say to whoever imports this, on any terminal.
DEPRECATED = """\
import warnings
warnings.warn("pkg_resources is deprecated as an API. See its documentation.", UserWarning, stacklevel=2)
"""


@pytest.mark.parametrize("kind", KINDS)
def test_b54_no_warning_of_the_interpreter_reaches_a_terminal(supervisors: Supervisors, kind: Kind) -> None:
    """supervisord 4.3.0 has learnt that, where Python has importlib.metadata; the reports are of those before it."""
    place = supervisors.place()
    (place / "lib").mkdir()
    (place / "lib/pkg_resources.py").write_text(DEPRECATED)
    path = f"{place}/lib:{ROOT}"

    def said(*command: str) -> str:
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": path}
        done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=place, timeout=60)
        assert done.returncode in (0, 1, 4), done  # the client has no server to ask
        return done.stderr

    assert "UserWarning" in said(sys.executable, "-c", "import pkg_resources"), "it would be seen"
    for command in (daemon_command(kind), client_command(kind)):
        assert said(*command, "--help") == ""
    daemon = supervisors.start(kind, WEB, place=place, env={"PYTHONPATH": path, "PYTHONWARNINGS": ""})
    daemon.wait_state("web", "RUNNING")
    assert said(*client_command(kind), "-c", str(daemon.config), "status") == ""
    assert "Warning" not in daemon.output


def test_b54_nothing_that_python_has_given_up_is_used() -> None:
    code = (
        "import sys, supervise.cli.supervise, supervise.cli.supervisectl, supervise.daemon.main, supervise.api.app;"
        "print({'asyncore', 'asynchat', 'imp', 'pkg_resources', 'cgi', 'distutils'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("set()\n", "")


ASCII = {"LC_ALL": "POSIX", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
ACCENTS = """
[program:wéb]
command = sh -c 'echo "$NAME"; exec sleep 1000'
environment = NAME="é"
startsecs = 0
"""


def test_b55_files_are_utf8_in_every_locale(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", ACCENTS, env=ASCII)
    info = daemon.wait_state("wéb", "RUNNING")
    assert "wéb-stdout" in info["stdout_logfile"]
    wait_for(lambda: Path(info["stdout_logfile"]).read_text(encoding="utf-8") == "é\n")
    daemon.wait_log("spawned: 'wéb'")
    assert "Traceback" not in daemon.log
    place = supervisors.place()
    (place / "s.conf").write_text(configuration(place, ACCENTS))
    real = run("supervisord", place, "-n", "-c", "s.conf", **ASCII)
    assert real.returncode == 2
    assert "'ascii' codec can't decode" in real.stderr


def test_b56_running_as_root_on_purpose_is_no_alarm(supervisors: Supervisors) -> None:
    """In a container root is who one is; there supervisord alarms, too. Elsewhere `user=root` says that it is meant."""
    need_root("CAP_SYS_ADMIN")
    root = "Supervisor is running as root.  Privileges were not dropped"
    levels: dict[Kind, str] = {"supervise": "INFO", "supervisord": "CRIT"}
    container = (need("unshare"), "--pid", "--fork", "--mount-proc", "--kill-child")
    for kind, level in levels.items():
        first = supervisors.start(kind, "", prefix=container)
        assert first.rpc.supervisor.getPID() == 1
        first.wait_log(f" {level} {root}")
        first.disconnect()
        psutil.Process(first.pid).children()[0].kill()
        first.process.wait(60)
        named = supervisors.start(kind, "", env={"container": "podman"})  # as systemd's container interface has it
        named.wait_log(f" {level} {root}")
        supervisors.start(kind, "").wait_log(f" CRIT {root}")
        meant = supervisors.start(kind, "", "user = root\n")
        assert "running as root" not in meant.wait_log("supervisord started with pid")


def test_b56_nor_is_a_socket_without_a_password_that_nobody_else_can_reach(supervisors: Supervisors) -> None:
    levels: dict[Kind, str] = {"supervise": "INFO", "supervisord": "CRIT"}
    line = "Server 'unix_http_server' running without any HTTP authentication checking"
    for kind, level in levels.items():
        supervisors.start(kind, "").wait_log(f" {level} {line}")
        supervisors.start(kind, "[unix_http_server]\nchmod = 0770\n").wait_log(f" CRIT {line}")


def test_b57_changes_of_the_daemons_own_options_are_told(supervisors: Supervisors) -> None:
    cases: dict[Kind, bool] = {"supervise": True, "supervisord": False}
    for kind, told in cases.items():
        daemon = supervisors.start(kind, WEB)
        pid = daemon.wait_state("web", "RUNNING")["pid"]
        daemon.configure(WEB + "[unix_http_server]\nchmod = 0770\n", "loglevel = debug\n")
        said = [daemon.ctl("reread"), daemon.ctl("update")]
        assert [run.stdout for run in said] == ["No config updates to processes\n", ""]
        for option in ("[supervisord] loglevel", "[unix_http_server] chmod"):
            if told:
                daemon.wait_log(option)
            assert [option in text for text in (daemon.log, *(run.stderr for run in said))] == [told] * 3
        assert daemon.info("web")["pid"] == pid


def test_b58_errors_of_the_client_are_one_line(supervisors: Supervisors) -> None:
    for kind in KINDS:
        (port,) = free_ports(1)
        inet = f"[inet_http_server]\nport = 127.0.0.1:{port}\nusername = u\npassword = p\n"
        daemon = supervisors.start(kind, inet)
        url = f"http://127.0.0.1:{port}"
        for words in (("-s", url), ("-s", url, "-u", "u", "-p", "wrong")):
            done = daemon.ctl(*words, "status")
            text = done.stdout + done.stderr
            assert done.returncode != 0
            assert text.startswith("Server requires authentication\n")
            assert ("ProtocolError" in text) is (kind == "supervisord")
            assert (text.count("\n") == 1) is (kind == "supervise")


def client(daemon: Daemon, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """A client that finds no configuration by itself."""
    command = [*client_command(daemon.kind), *words, "status"]
    return subprocess.run(command, capture_output=True, text=True, cwd="/", env=daemon.env | env, timeout=60)


def test_b59_the_client_needs_no_section_to_find_its_server(supervisors: Supervisors) -> None:
    for kind in KINDS:
        daemon = supervisors.start(kind, WEB)
        url = f"unix://{daemon.socket}"
        (daemon.place / "bare.conf").write_text("[supervisord]\n")
        (daemon.place / "include.conf").write_text("[supervisord]\n[include]\nfiles = *.ini\n")
        (daemon.place / "client.ini").write_text(f"[supervisorctl]\nserverurl = {url}\n")
        assert client(daemon, "-s", url).returncode == 0
        bare = client(daemon, "-c", f"{daemon.place}/bare.conf", "-s", url)
        included = client(daemon, "-c", f"{daemon.place}/include.conf")
        for done in (bare, included):
            assert (done.returncode == 0) is (kind == "supervise"), done
            assert ("RUNNING" in done.stdout) is (kind == "supervise")
        if kind == "supervise":
            assert "RUNNING" in client(daemon, SUPERVISOR_SERVER_URL=url).stdout


def test_b52_the_exit_status_says_what_failed(supervisors: Supervisors) -> None:
    """supervisord ends with 0 whatever happened; `on_exit` and `on_fatal` let a program's end be the daemon's."""
    main = "[program:main]\ncommand = sh -c 'read x; exit 3'\nstartsecs = 0\nautorestart = false\non_exit = shutdown\n"
    side = "[program:side]\ncommand = sleep 1000\n"
    daemon = supervisors.start("supervise", main + side)
    daemon.rpc.supervisor.sendProcessStdin("main", "go\n")
    assert daemon.process.wait(60) == 3
    real = supervisors.start("supervisord", main + side)
    real.rpc.supervisor.sendProcessStdin("main", "go\n")
    real.wait_state("main", "EXITED")
    assert real.stop() == 0
    assert "main is EXITED (exit status 3): shutting down" in daemon.log
    assert "stopped: side (terminated by SIGTERM)" in daemon.log
