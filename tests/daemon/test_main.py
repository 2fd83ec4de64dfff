"""The daemon from its start to its end, as a process."""

import contextlib
import os
import signal
import socket
import subprocess
import time
import xmlrpc.client
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from tests.daemons import Daemon, Supervisors, configuration, daemon_command, environment, proxy
from tests.tools import alive, descriptors, free_ports, need, need_root, wait_for

SLEEP = "[program:a]\ncommand = sleep 1000\nstartsecs = 0\n"


def run(place: Path, *options: str, config: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """Call `supervise` and wait for the process that was started."""
    command = [*daemon_command("supervise"), "-c", str(config or place / "s.conf"), *options]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment(place, **env), cwd=place, timeout=60, stdin=-3
    )


def write(place: Path, programs: str = SLEEP, supervisord: str = "") -> Path:
    config = place / "s.conf"
    config.write_text(configuration(place, programs, supervisord))
    return config


@contextlib.contextmanager
def in_background(place: Path, *options: str, **env: str) -> Iterator[psutil.Process]:
    """A daemonised daemon, told to end afterwards."""
    done = run(place, *options, config=None, **env)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    daemon = psutil.Process(int((place / "main.pid").read_text()))
    try:
        yield daemon
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            daemon.terminate()
            daemon.wait(60)


def pid_of_a(daemon: Daemon) -> int:
    """The pid of program a; 0 also while a reload is under way."""
    try:
        return int(daemon.info("a")["pid"])
    except xmlrpc.client.Fault:
        return 0


# Ends


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_signals_that_end_it(supervisors: Supervisors, number: signal.Signals) -> None:
    daemon = supervisors.start("supervise", SLEEP + "[program:bad]\ncommand = /no/such\nstartretries = 0\n")
    daemon.wait_state("bad", "FATAL")
    pid = daemon.info("a")["pid"]
    assert daemon.read("main.pid") == f"{daemon.pid}\n"
    assert daemon.stop(number) == 0, "also with a FATAL program"
    assert f" WARN received {number.name} indicating exit request\n" in daemon.log
    assert not alive(pid)
    assert not daemon.socket.exists()
    assert not (daemon.place / "main.pid").exists()


def test_a_second_signal_breaks_nothing(supervisors: Supervisors) -> None:
    script = "trap '' TERM; touch {place}/deaf; while :; do sleep 0.1; done"
    daemon = supervisors.start("supervise", f'[program:a]\ncommand = bash -c "{script}"\nstopwaitsecs = 5\n')
    wait_for((daemon.place / "deaf").exists)
    daemon.process.terminate()
    daemon.wait_log("received SIGTERM")
    daemon.process.terminate()
    daemon.process.send_signal(signal.SIGINT)
    daemon.process.send_signal(signal.SIGHUP)
    assert daemon.stop(0) == 0
    assert " WARN ignored SIGHUP indicating restart request (shutdown in progress)\n" in daemon.log
    assert " WARN killing 'a' (" in daemon.log


def test_only_its_own_files_are_removed(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", SLEEP)
    (daemon.place / "main.pid").unlink()
    (daemon.place / "main.pid").write_text("12345\n")
    assert daemon.stop() == 0
    assert daemon.read("main.pid") == "12345\n"


# Starts


def test_the_lines_of_a_start(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", SLEEP, "user = root" if os.geteuid() == 0 else "")
    started = f" INFO supervisord started with pid {daemon.pid}\n"
    daemon.wait_log(started)
    wait_for(lambda: started in daemon.output, "in the foreground on stdout too")
    if os.geteuid() == 0:
        daemon.wait_log(" INFO Set uid to user 0 succeeded\n")
    assert "running as root" not in daemon.log


def test_root_without_a_user_is_told(supervisors: Supervisors) -> None:
    need_root()
    daemon = supervisors.start("supervise", SLEEP, "silent = true")
    daemon.wait_log(
        " CRIT Supervisor is running as root.  Privileges were not dropped because no user is specified in the config "
        "file.  If you intend to run as root, you can set user=root in the config file to avoid this message.\n"
    )
    assert daemon.output == ""


def test_another_user(supervisors: Supervisors) -> None:
    need_root()
    place = supervisors.place()
    os.chown(place, 33, 33)
    daemon = supervisors.start("supervise", SLEEP, "user = www-data", place=place)
    daemon.wait_log(" INFO Set uid to user 33 succeeded\n")
    process = psutil.Process(daemon.pid)
    assert set(process.uids()) == set(process.gids()) == {33}
    assert (place / "main.log").stat().st_uid == (place / "s.sock").lstat().st_uid == 33
    assert psutil.Process(daemon.info("a")["pid"]).uids().real == 33


def test_a_user_that_only_root_could_become(supervisors: Supervisors) -> None:
    need_root()
    place = supervisors.place()
    os.chown(place, 33, 33)
    config = write(place, supervisord="user = nobody")
    command = [need("setpriv"), "--reuid=33", "--regid=33", "--clear-groups", *daemon_command("supervise"), "-n", "-c"]
    done = subprocess.run([*command, str(config)], capture_output=True, text=True, env=environment(place), timeout=60)
    if "No module named" in done.stderr or "Permission denied" in done.stderr:
        pytest.skip("another user may not read this checkout or its Python")  # as below /root
    assert done.stderr == "Error: Can't drop privilege as nonroot user\nFor help, use supervise -h\n"
    assert done.returncode == 2
    assert sorted(os.listdir(place)) == ["s.conf"]


def test_a_pidfile_that_cannot_be_written(supervisors: Supervisors) -> None:
    place = supervisors.place()
    (place / "main.pid").write_text("something precious")
    daemon = supervisors.start("supervise", SLEEP, place=place)
    daemon.wait_log(f" CRIT could not write pidfile {place}/main.pid\n")
    assert daemon.stop() == 0
    assert daemon.read("main.pid") == "something precious"


# A second one


def test_a_second_daemon_with_the_same_pidfile(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", SLEEP)
    for options in ((), ("-n",)):
        done = run(daemon.place, *options)
        assert done.returncode == 2
        assert done.stderr == (
            f"Error: another daemon is already running with pidfile {daemon.place}/main.pid (pid {daemon.pid})\n"
            "For help, use supervise -h\n"
        )
    assert daemon.log.count("supervisord started") == 1, "nothing of the first one's is touched"
    assert daemon.read("main.pid") == f"{daemon.pid}\n"
    assert daemon.states() == {"a:a": "RUNNING"}


def test_a_second_daemon_with_the_same_socket(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", SLEEP)
    done = run(daemon.place, "-j", f"{daemon.place}/other.pid")
    assert done.returncode == 2
    assert done.stderr.startswith("Error: Another program is already listening on a port that one of our HTTP servers ")
    assert not (daemon.place / "other.pid").exists()
    assert daemon.log.count("supervisord started") == 1
    assert daemon.states() == {"a:a": "RUNNING"}


def test_after_a_kill_the_next_one_starts(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", "")
    daemon.stop(signal.SIGKILL)
    assert daemon.socket.exists()
    again = supervisors.run("supervise", daemon.config, daemon.place)
    again.wait_log(f" WARN Unlinking stale socket {daemon.socket}\n")
    assert again.stop() == 0


# The background


def test_into_the_background(place: Path) -> None:
    write(place, supervisord=f"umask = 027\ndirectory = {place}/deep")
    (place / "deep").mkdir()
    with in_background(place) as daemon:
        with proxy(place / "s.sock") as rpc:  # it answers as soon as the starting process has ended
            assert rpc.supervisor.getPID() == daemon.pid
            child = psutil.Process(rpc.supervisor.getProcessInfo("a")["pid"])
        assert os.getsid(daemon.pid) != daemon.pid, "not the leader of its session: no terminal can become its own"
        assert daemon.terminal() is None
        assert daemon.cwd() == child.cwd() == f"{place}/deep"
        assert "Umask:\t0027" in Path(f"/proc/{daemon.pid}/status").read_text()
        assert [os.readlink(f"/proc/{daemon.pid}/fd/{fd}") for fd in range(3)] == ["/dev/null"] * 3
    log = (place / "main.log").read_text()
    assert " INFO daemonizing the supervisord process\n" in log
    assert f" INFO set current directory: '{place}/deep'\n" in log
    assert sorted(name for name in os.listdir(place) if not name.startswith("a-")) == ["deep", "main.log", "s.conf"]


def test_a_pipe_of_the_starter_is_not_kept(place: Path) -> None:
    write(place)
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    command = [*daemon_command("supervise"), "-c", str(place / "s.conf")]
    subprocess.run(command, pass_fds=[writer], env=environment(place), check=True, timeout=60, stdin=-3)
    os.close(writer)
    assert os.read(reader, 1) == b"", "end of file: nobody else has it"
    os.close(reader)
    pid = int((place / "main.pid").read_text())
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not alive(pid))


def test_a_signal_that_comes_before_the_programs_waits(supervisors: Supervisors) -> None:
    """Here while what an earlier daemon left is ended; it neither kills the new one nor is it lost."""
    script = 'trap "sleep 2; exit" TERM; touch {place}/slow; while :; do sleep 0.1; done'
    first = supervisors.start("supervise", f"[program:a]\ncommand = sh -c '{script}'\n")
    wait_for((first.place / "slow").exists)
    first.process.kill()
    first.process.wait()
    options = ("-n", "--stop-leftovers")
    second = supervisors.run("supervise", first.config, first.place, options=options, answers=False)
    wait_for(lambda: second.log.count("supervisord started with pid") == 2)
    assert second.stop() == 0
    assert not (second.place / "main.pid").exists()


@pytest.mark.parametrize("options", [(), ("-n",)])
def test_what_keeps_it_from_starting_is_said_by_who_was_started(place: Path, options: tuple[str, ...]) -> None:
    (place / "main.log").mkdir()
    write(place)
    done = run(place, *options)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: cannot open the main log: ")
    assert done.stderr.endswith("\nFor help, use supervise -h\n")
    assert sorted(os.listdir(place)) == ["main.log", "s.conf"]


def test_all_problems_of_a_configuration_at_once(place: Path) -> None:
    config = write(place, "[program:a]\ncommand = cat\nstartsecs = soon\n[program:b]\nnumprocs = many\n")
    done = run(place)
    assert done.returncode == 2
    assert done.stdout == ""
    first, *others, last = done.stderr.splitlines()
    assert first.startswith(f"Error: {config}:")
    assert len(others) >= 1
    assert all(line.startswith(f"{config}:") for line in others)
    assert last == "For help, use supervise -h"
    assert os.listdir(place) == ["s.conf"]


# Reload


def test_hangup_restarts_all_from_new_files(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", SLEEP)
    inode, pid = daemon.socket.lstat().st_ino, daemon.info("a")["pid"]
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(str(daemon.socket))
        daemon.configure(SLEEP + "[program:b]\ncommand = sleep 1000\n", "loglevel = debug\nidentifier = other")
        daemon.process.send_signal(signal.SIGHUP)
        wait_for(lambda: pid_of_a(daemon) not in {0, pid})
        assert "b:b" in daemon.states()
        client.sendall(b"GET /api/v1/daemon HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200"), "a connection from before is still served"
    assert daemon.rpc.supervisor.getPID() == daemon.pid
    assert daemon.rpc.supervisor.getIdentification() == "other"
    assert daemon.info("a")["pid"] != pid
    assert not alive(pid)
    assert daemon.socket.lstat().st_ino == inode
    daemon.wait_log(" WARN received SIGHUP indicating restart request\n")
    assert daemon.stop() == 0
    assert " DEBG killing b " in daemon.log, "the new loglevel counts"


def test_hangup_with_a_broken_file_changes_nothing(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", SLEEP)
    pid = daemon.info("a")["pid"]
    daemon.configure(SLEEP + "[program:b]\ncommand = x\nstartsecs = soon\n")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_log("reload refused, nothing has been changed: ")
    daemon.wait_log(f"{daemon.config}:")
    assert daemon.info("a")["pid"] == pid
    daemon.configure(SLEEP)
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: pid_of_a(daemon) not in {0, pid})


def test_servers_follow_a_reload(supervisors: Supervisors) -> None:
    [port] = free_ports(1)
    inet = f"[inet_http_server]\nport = 127.0.0.1:{port}\n"
    daemon = supervisors.start("supervise", SLEEP)

    def listens() -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    assert not listens()
    secret = "username = a\npassword = b\n"
    for more, expected in ((inet, True), (inet + secret, True), ("", False)):
        daemon.configure(SLEEP + more)
        daemon.process.send_signal(signal.SIGHUP)
        wait_for(lambda expected=expected: listens() is expected)

    def states() -> dict[str, str]:
        try:
            return daemon.states()
        except xmlrpc.client.Fault:  # the last reload is not over when the servers have followed it
            return {}

    wait_for(lambda: states() == {"a:a": "RUNNING"})


def test_what_a_reload_cannot_change_is_said(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", SLEEP)
    daemon.configure(SLEEP, "minfds = 100")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_log("[supervisord] minfds has changed; that takes effect when the daemon is started again")
    assert "[supervisord] pidfile has changed" not in daemon.log


# Other signals and accidents


def test_usr2_reopens_the_logs(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", SLEEP)
    log = daemon.place / "main.log"
    log.rename(daemon.place / "main.log.old")
    daemon.process.send_signal(signal.SIGUSR2)
    wait_for(log.exists)
    daemon.process.terminate()
    assert daemon.stop() == 0
    assert "received SIGTERM" in daemon.log
    said = daemon.read("main.log.old") + daemon.log  # a second after the last look a line finds that its file has moved
    assert " INFO received SIGUSR2 indicating log reopen request\n" in said
    assert " INFO supervisord logreopen\n" in said


def test_a_deleted_socket_comes_back(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", SLEEP)
    for count in (1, 2):
        daemon.socket.unlink()
        wait_for(
            lambda count=count: daemon.log.count(f"control socket {daemon.socket} was gone; made it anew") == count
        )
        daemon.disconnect()
        assert wait_for(daemon.states) == {"a:a": "RUNNING"}
    assert daemon.stop() == 0
    assert not daemon.socket.exists()


def test_no_descriptor_is_left_by_reloads_and_deleted_sockets(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", SLEEP)

    def count() -> int:
        daemon.disconnect()
        return len([name for name in descriptors(daemon.pid) if not name.startswith("/dev/null")])

    def once(number: int) -> None:
        daemon.socket.unlink()
        wait_for(lambda: daemon.log.count("made it anew") == number)
        pid = daemon.info("a")["pid"]
        daemon.process.send_signal(signal.SIGHUP)
        wait_for(lambda: pid_of_a(daemon) not in {0, pid})

    once(1)
    before = wait_for(count)
    for number in range(2, 6):
        once(number)
    wait_for(lambda: count() <= before, "as many descriptors as before")


def test_idle_means_asleep(supervisors: Supervisors) -> None:
    """No thread of the daemon runs while nothing happens."""
    daemon = supervisors.start(
        "supervise",
        SLEEP + "[program:b]\ncommand = sleep 1000\nnumprocs = 5\nprocess_name = b%(process_num)d\nstartsecs = 0\n",
    )
    wait_for(lambda: set(daemon.states().values()) == {"RUNNING"})
    daemon.disconnect()

    def switches() -> dict[str, str]:
        tasks = Path(f"/proc/{daemon.pid}/task").iterdir()
        return {task.name: (task / "status").read_text().partition("\nvoluntary_ctxt_switches:")[2] for task in tasks}

    def still() -> bool:
        before = switches()
        time.sleep(1.5)
        return switches() == before

    wait_for(still, "what the start has begun is over")
    before = switches()
    time.sleep(3)
    assert switches() == before


# PID 1


def test_as_pid_1(supervisors: Supervisors) -> None:
    need_root("CAP_SYS_ADMIN")
    programs = """
        [program:a]
        command = bash -c "(sleep 0.3; exit 7) & (setsid sleep 0.4 &); exec sleep 1000"
        """
    prefix = (need("unshare"), "--pid", "--fork", "--mount-proc", "--kill-child")
    daemon = supervisors.start("supervise", programs, prefix=prefix, options=())  # without -n
    [own] = psutil.Process(daemon.pid).children()
    assert daemon.rpc.supervisor.getPID() == 1
    daemon.wait_log(" INFO Supervisor is running as root.  Privileges were not dropped")  # expected of a container
    daemon.wait_log("reaped unknown pid")
    daemon.wait_log("(exit status 0)")
    wait_for(lambda: not [p for p in own.children(True) if p.status() == psutil.STATUS_ZOMBIE and p.ppid() == own.pid])
    daemon.disconnect()
    own.send_signal(signal.SIGTERM)
    assert daemon.process.wait(60) == 0
    assert "received SIGTERM indicating exit request" in daemon.log


def test_orphans_are_reaped_elsewhere_too(supervisors: Supervisors) -> None:
    daemon = supervisors.start(
        "supervise",
        '[program:a]\ncommand = bash -c "(while kill -0 $$; do sleep 0.02; done; exit 7) & exit 0"\n'
        "startsecs = 0\nautorestart = false\n",
    )
    daemon.wait_log("reaped unknown pid")
    daemon.wait_log("(exit status 7)")
    assert not psutil.Process(daemon.pid).children()


# A service manager


class Manager(SimpleNamespace):
    """What systemd would hear."""

    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(path))
        self.sock.settimeout(60)
        path.chmod(0o777)
        self.heard: list[str] = []

    def until(self, text: str | Callable[[str], Any]) -> list[str]:
        """Receive until a line is (or fulfils) this; returns the lines of that message."""
        while True:
            lines = self.sock.recv(4096).decode().split("\n")
            self.heard += lines
            if any(text(line) if callable(text) else line == text for line in lines):
                return lines


def test_a_service_manager_hears_all(supervisors: Supervisors) -> None:
    place = supervisors.place()
    manager = Manager(place / "notify")
    with manager.sock:
        daemon = supervisors.start(
            "supervise",
            '[program:a]\ncommand = bash -c "env > {place}/env; exec sleep 1000"\nstartsecs = 0\n',
            place=place,
            options=(),  # stays in the foreground without -n
            env={"NOTIFY_SOCKET": str(place / "notify"), "WATCHDOG_USEC": "400000"},
        )
        assert manager.until("READY=1") == ["READY=1", f"MAINPID={daemon.pid}", "STATUS=1 running"]
        for _ in range(3):
            manager.until("WATCHDOG=1")
        wait_for(lambda: "SUPERVISOR_ENABLED" in daemon.read("env") and daemon.read("env").endswith("\n"))
        assert "NOTIFY_SOCKET" not in daemon.read("env")
        assert "WATCHDOG" not in daemon.read("env")
        daemon.rpc.supervisor.stopProcess("a")
        manager.until("STATUS=1 stopped")
        daemon.configure(SLEEP)
        daemon.process.send_signal(signal.SIGHUP)
        assert manager.until("RELOADING=1")[1].startswith("MONOTONIC_USEC=")
        manager.until("READY=1")
        manager.until("STATUS=1 running")
        daemon.configure("[program:a]\ncommand = \n")  # refused: ready again
        daemon.process.send_signal(signal.SIGHUP)
        manager.until("RELOADING=1")
        manager.until("READY=1")
        daemon.disconnect()
        daemon.process.terminate()
        manager.until("STOPPING=1")
        assert daemon.stop(0) == 0


def test_without_a_watchdog_there_are_no_pings(supervisors: Supervisors) -> None:
    place = supervisors.place()
    manager = Manager(place / "notify")
    with manager.sock:
        daemon = supervisors.start("supervise", SLEEP, place=place, env={"NOTIFY_SOCKET": str(place / "notify")})
        manager.until("READY=1")
        assert daemon.stop() == 0
        manager.until("STOPPING=1")
    assert "WATCHDOG=1" not in manager.heard


def test_a_daemon_without_servers_runs(place: Path) -> None:
    config = place / "bare.conf"
    config.write_text(f"[supervisord]\nlogfile={place}/main.log\npidfile={place}/main.pid\n{SLEEP}")
    done = run(place, config=config)
    assert done.returncode == 0, done.stderr
    pid = int((place / "main.pid").read_text())
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not alive(pid))
    assert "stopped: a (terminated by SIGTERM)" in (place / "main.log").read_text()


def test_a_daemon_of_the_test_harness_is_ours(supervisors: Supervisors) -> None:
    daemon: Daemon = supervisors.start("supervise", SLEEP)
    assert psutil.Process(daemon.pid).cmdline()[1:3] == ["-m", "supervise"]
