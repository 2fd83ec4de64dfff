"""FastCGI programs behind Debian's nginx: flup's server (PyPI) and fcgiwrap (Debian), restarted under load."""

import os
import stat
import sys
import textwrap
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.daemons import Daemon, Supervisors
from tests.tools import free_ports, need, need_package, need_root, wait_for

APP = """
import os, time
from flup.server.fcgi import WSGIServer
class Server(WSGIServer):
    def shutdown(self):  # flup itself forgets requests that it has accepted and not begun
        while self._threadPool._workQueue:
            time.sleep(0.01)
        super().shutdown()
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % os.getpid()]
Server(application, minSpare=2).run()
"""
NGINX = """
daemon off;
pid {place}/nginx.pid;
error_log {place}/nginx.log warn;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {place}/body;
    fastcgi_temp_path {place}/fastcgi;
    proxy_temp_path {place}/proxy;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            fastcgi_param REQUEST_METHOD $request_method;
            fastcgi_param QUERY_STRING $query_string;
            fastcgi_param SCRIPT_NAME $fastcgi_script_name;
            fastcgi_param SCRIPT_FILENAME {place}/script.cgi;
            fastcgi_param SERVER_NAME $server_name;
            fastcgi_param SERVER_PORT $server_port;
            fastcgi_param SERVER_PROTOCOL $server_protocol;
            fastcgi_pass {upstream};
        }}
    }}
}}
"""
CONFIG = """
[program:nginx]
command = {nginx} -c {{place}}/nginx.conf -e {{place}}/nginx.log
startsecs = 0.2

[fcgi-program:app]
command = {command}
process_name = app_%(process_num)d
numprocs = {numprocs}
socket = {socket}
{options}
startsecs = 0.2
"""


def start(supervisors: Supervisors, command: str, numprocs: int, kind: str) -> tuple[Daemon, str]:
    """The daemon with nginx and the application; returns it and the URL."""
    need_package("flup")
    need_root()  # nginx becomes another user, who may use the unix socket all the same
    place = supervisors.place()
    web, port = free_ports(2)
    socket = f"unix://{place}/app.sock" if kind == "unix" else f"tcp://127.0.0.1:{port}"
    upstream = f"unix:{place}/app.sock" if kind == "unix" else f"127.0.0.1:{port}"
    options = "socket_owner = root:www-data\nsocket_mode = 0660" if kind == "unix" else "socket_backlog = 256"
    (place / "app.py").write_text(APP)
    (place / "script.cgi").write_text("#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'; echo $PPID\n")
    (place / "script.cgi").chmod(0o755)
    (place / "nginx.conf").write_text("user www-data;" + NGINX.format(place=place, port=web, upstream=upstream))
    facts = {"nginx": need("nginx"), "command": command.replace("{place}", str(place))}
    config = CONFIG.format(**facts, numprocs=numprocs, socket=socket, options=options)
    daemon = supervisors.start("supervise", textwrap.dedent(config), place=place)
    for name in ("nginx", *(f"app:app_{number}" for number in range(numprocs))):
        daemon.wait_state(name, "RUNNING")
    url = f"http://127.0.0.1:{web}/"
    wait_for(lambda: fetch(url).isdigit(), f"an answer: {daemon.read('nginx.log')}")
    return daemon, url


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return str(answer.read().decode()).strip()


@contextmanager
def load(url: str, log: Callable[[], str], clients: int = 8) -> Iterator[list[str]]:
    """Clients who ask all the time; gives the list of the answers, at the end of which all must be good."""
    answers: list[str] = []
    failures: list[str] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                answers.append(fetch(url))
            except (urllib.error.URLError, OSError) as error:
                failures.append(repr(error))
            time.sleep(0.005)

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        wait_for(lambda: len(answers) > 20)
        yield answers
        before = len(answers)
        wait_for(lambda: len(answers) > before + 20)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == [], log()


@pytest.mark.parametrize(
    ("kind", "numprocs", "what"), [("unix", 2, "app:app_0"), ("unix", 2, "app:*"), ("tcp", 1, "app:*")]
)
def test_no_request_fails_during_a_restart(supervisors: Supervisors, kind: str, numprocs: int, what: str) -> None:
    daemon, url = start(supervisors, f"{sys.executable} {{place}}/app.py", numprocs, kind)
    pids = {daemon.info(f"app:app_{number}")["pid"] for number in range(numprocs)}
    if kind == "unix":
        assert stat.S_IMODE(os.stat(daemon.place / "app.sock").st_mode) == 0o660
    with load(url, lambda: daemon.read("nginx.log")) as answers:
        done = daemon.ctl("restart", what)
        assert done.returncode == 0, done.stdout + done.stderr
        restarted = {daemon.info(f"app:app_{number}")["pid"] for number in range(numprocs)} - pids
        assert len(restarted) == (1 if what == "app:app_0" else numprocs)
        wait_for(lambda: restarted & {int(answer) for answer in answers[-200:]})
    creating = f"Creating socket {'unix' if kind == 'unix' else 'tcp'}://"
    assert daemon.log.count(creating) == 1
    assert "Closing socket" not in daemon.log
    assert daemon.stop() == 0
    assert daemon.log.count("Closing socket") == 1
    assert not (daemon.place / "app.sock").exists()


def test_an_update_and_a_reload_keep_the_socket(supervisors: Supervisors) -> None:
    daemon, url = start(supervisors, f"{sys.executable} {{place}}/app.py", 1, "tcp")
    config = daemon.config.read_text()
    before = daemon.info("app:app_0")["pid"]
    with load(url, lambda: daemon.read("nginx.log")):
        daemon.config.write_text(config.replace("[fcgi-program:app]", '[fcgi-program:app]\nenvironment = X="1"'))
        done = daemon.ctl("update")
        assert done.returncode == 0, done.stdout + done.stderr
        after = daemon.wait_state("app:app_0", "RUNNING")["pid"]
        assert after != before
    assert "Closing socket" not in daemon.log


def test_fcgiwrap(supervisors: Supervisors) -> None:
    daemon, url = start(supervisors, need("fcgiwrap"), 2, "unix")
    pids = {str(daemon.info(f"app:app_{number}")["pid"]) for number in range(2)}
    assert fetch(url) in pids
    daemon.ctl("restart", "app:*")
    wait_for(lambda: fetch(url) not in pids)
    daemon.ctl("stop", "app:*")
    assert not (daemon.place / "app.sock").exists()
    with pytest.raises(urllib.error.HTTPError, match="502"):
        fetch(url)
