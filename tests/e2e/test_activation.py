"""gunicorn (PyPI) on a socket of the daemon's: restarted, updated and reloaded under the eyes of its clients."""

import json
import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
import xmlrpc.client
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.daemons import Daemon, Supervisors, configuration
from tests.e2e.test_survival import in_background, kill, pid_of
from tests.tools import free_ports, need, wait_for

APP = """
import os
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Connection", "close")])
    return [b"%d" % os.getppid()]
"""
CONFIG = """
[socket:web]
address = 127.0.0.1:{port}
backlog = 512

[socket:admin]
address = {{place}}/admin.sock
mode = 0600

[program:app]
command = {gunicorn} --chdir {{place}} --workers 2 --graceful-timeout 20 app:application
sockets = web
startsecs = 0.3

[program:look]
command = {look}
sockets = admin, web
autostart = false
startsecs = 0
autorestart = false
stdout_logfile = {{place}}/look.json
"""
LOOK = """
import json, os, socket
fds = [socket.socket(fileno=3 + n) for n in range(int(os.environ["LISTEN_FDS"]))]
print(json.dumps({
    "own": int(os.environ["LISTEN_PID"]) == os.getpid(),
    "names": os.environ["LISTEN_FDNAMES"].split(":"),
    "listening": [s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) for s in fds],
    "families": [s.family.name for s in fds],
    "blocking": [os.get_blocking(s.fileno()) for s in fds],
    "open": sorted(int(n) for n in os.listdir("/proc/self/fd")),
}))
"""


def start(supervisors: Supervisors) -> tuple[Daemon, str, str]:
    place = supervisors.place()
    (port,) = free_ports(1)
    (place / "app.py").write_text(APP)
    (place / "look.py").write_text(LOOK)
    config = CONFIG.format(port=port, gunicorn=need("gunicorn"), look=f"{sys.executable} -I -S {place}/look.py")
    daemon = supervisors.start("supervise", config, place=place)
    daemon.wait_state("app", "RUNNING")
    url = f"http://127.0.0.1:{port}/"
    wait_for(lambda: fetch(url) == str(daemon.info("app")["pid"]), "gunicorn's answer")
    return daemon, url, config


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return str(answer.read().decode())


@contextmanager
def load(url: str) -> Iterator[None]:
    """Clients in a loop, none of which is refused."""
    failures: list[str] = []
    served = 0
    stop = threading.Event()

    def ask() -> None:
        nonlocal served
        while not stop.is_set():
            try:
                fetch(url)
                served += 1
            except OSError as error:
                failures.append(repr(error))
            time.sleep(0.005)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        wait_for(lambda: served > 10)
        yield
        before = served
        wait_for(lambda: served > before + 10)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []


def new_pid(daemon: Daemon, old: int) -> int:
    """The pid of the program when it is up again, another than `old`."""

    def changed() -> int:
        try:
            info = daemon.info("app")
        except xmlrpc.client.Fault:  # in the middle of a reload
            return 0
        return int(info["pid"]) if info["statename"] == "RUNNING" and info["pid"] != old else 0

    return wait_for(changed)


def test_gunicorn_restarts_without_refusing_a_connection(supervisors: Supervisors) -> None:
    daemon, url, config = start(supervisors)
    pid = daemon.info("app")["pid"]
    with load(url):
        assert daemon.ctl("restart", "app").returncode == 0
        pid = new_pid(daemon, pid)
        assert daemon.ctl("restart", "all").returncode == 0
        pid = new_pid(daemon, pid)
        daemon.config.write_text(configuration(daemon.place, config.replace("--workers 2", "--workers 1")))
        assert daemon.ctl("update").returncode == 0
        pid = new_pid(daemon, pid)
        assert daemon.ctl("reload").returncode == 0
        new_pid(daemon, pid)
    assert daemon.log.count("Creating socket tcp://") == 1
    assert "Closing socket tcp://" not in daemon.log


def test_what_a_program_is_given(supervisors: Supervisors) -> None:
    daemon, url, _ = start(supervisors)
    for _ in range(2):
        daemon.ctl("start", "look")
        daemon.wait_state("look", "EXITED")
    wait_for(lambda: daemon.read("look.json").count("\n") == 2)
    first, second = map(json.loads, daemon.read("look.json").splitlines())
    assert first == second
    assert first == {
        "own": True,
        "names": ["admin", "web"],
        "listening": [1, 1],
        "families": ["AF_UNIX", "AF_INET"],
        "blocking": first["blocking"],
        "open": first["open"],
    }
    assert first["blocking"][0] is True
    assert first["open"][:5] == [0, 1, 2, 3, 4]
    assert len(first["open"]) == 6, "and what listdir itself opens"
    wait_for(lambda: not (daemon.place / "admin.sock").exists(), "closed, since nobody is up who uses it")
    assert fetch(url)


def test_a_stop_refuses_and_the_daemon_keeps_nothing(supervisors: Supervisors) -> None:
    daemon, url, _ = start(supervisors)
    before = os.listdir(f"/proc/{daemon.pid}/fd")
    daemon.ctl("stop", "app")
    daemon.wait_log("Closing socket tcp://")
    with pytest.raises(urllib.error.URLError, match="refused"):
        fetch(url)
    for _ in range(3):
        daemon.ctl("start", "app")
        daemon.ctl("stop", "app")
    wait_for(lambda: len(os.listdir(f"/proc/{daemon.pid}/fd")) <= len(before))  # pipes are closed by another thread
    assert daemon.stop() == 0


# Answers a few clients, each with its pid, and leaves: most of the time nobody accepts.
SHORT_LIVED = """
import os, signal, socket, sys, time
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
listener = socket.socket(fileno=3)
for _ in range(20):
    client, _ = listener.accept()
    client.recv(1000)
    client.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\n%d" % os.getpid())
    client.close()
    if signal.sigpending():
        break
time.sleep(0.1)
"""
ALONE = """
[socket:web]
address = 127.0.0.1:{port}
[program:short]
command = {python} -I -S {{place}}/short.py
sockets = web
startsecs = 0
autorestart = true
"""


def told_to_end(place: Path) -> bool:
    """Whether the program could be told; between two runs, and at the end of one, there is nobody to tell."""
    if pid := pid_of(place, "short"):
        os.kill(pid, signal.SIGTERM)
    return pid != 0


def started(log: Path) -> int:
    return log.read_text().count("supervisord started with pid")


@pytest.mark.parametrize("how", ["keeper", "nobody", "upgrade"])
def test_no_client_is_refused_over_the_death_of_the_daemon(supervisors: Supervisors, how: str) -> None:
    """Those who come while neither daemon nor program runs wait in the queue of the socket, which somebody has open."""
    place = supervisors.place()
    (port,) = free_ports(1)
    (place / "short.py").write_text(SHORT_LIVED)
    config, url = ALONE.format(port=port, python=sys.executable), f"http://127.0.0.1:{port}/"
    if how == "keeper":
        with in_background(place, config) as pidfile, load(url):
            for _ in range(3):
                kill(pidfile)
                wait_for(partial(told_to_end, place))
                fetch(url)
        assert (place / "main.log").read_text().count("Creating socket") == 1
        return
    if how == "nobody":  # then the program has it open
        (place / "short.py").write_text(SHORT_LIVED.replace("range(20)", "range(1_000_000)"))
    daemon = supervisors.start("supervise", config, place=place)
    with load(url):
        for times in (1, 2, 3):
            if how == "upgrade":
                daemon.process.send_signal(signal.SIGUSR1)
                wait_for(lambda log=place / "main.log", times=times: started(log) == times + 1)
                daemon.disconnect()
            else:
                daemon.stop(signal.SIGKILL)
                fetch(url)
                daemon = supervisors.run("supervise", daemon.config, place)
                assert daemon.ctl("restart", "short").returncode == 0
            fetch(url)
    assert daemon.log.count("Creating socket") == 1
    assert daemon.stop() == 0


def test_an_unknown_socket_is_told_with_its_place(supervisors: Supervisors) -> None:
    place = supervisors.place()
    config = place / "s.conf"
    config.write_text(configuration(place, "[socket:web]\naddress = :1\n[program:p]\ncommand = x\nsockets = wep\n"))
    daemon = supervisors.run("supervise", config, place, answers=False)
    assert daemon.process.wait(60) == 2
    assert f"{config}:20: [program:p] sockets: unknown socket 'wep'; did you mean web?" in daemon.output
