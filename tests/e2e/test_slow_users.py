"""A user database that hangs, as LDAP and SSSD do: a FIFO in the place of /etc/passwd and /etc/group, in a namespace
that has an /etc of its own. Whoever opens it waits."""

import base64
import http.client
import os
import shutil
import subprocess
from contextlib import closing, suppress
from pathlib import Path

import pytest

from supervise.config.passwords import hashed
from tests.compat.pair import call
from tests.daemons import Daemon, Supervisors, client_command, configuration
from tests.tools import free_ports, need, need_package, need_root, wait_for

pytestmark = pytest.mark.timeout(300)

NAMES = ("passwd", "group")
OWN_ETC = 'mount --bind "$0/etc" /etc && exec "$@"'
PROGRAMS = """
[program:known]
command = sh -c 'id -G; exec sleep 1000'
user = nobody
user_env = set
startsecs = 0

[program:unknown]
command = sleep 1000
user = daemon
autostart = false
startsecs = 0
startretries = 0

[program:own]
command = sleep 1000
autostart = false
startsecs = 0
"""


def start(supervisors: Supervisors, programs: str) -> Daemon:
    need_root("CAP_SYS_ADMIN")
    place = supervisors.place()
    (place / "etc" / "pam.d").mkdir(parents=True)
    for name in ("nsswitch.conf", "ld.so.cache", "hosts", *NAMES):
        if Path("/etc", name).exists():
            shutil.copy(f"/etc/{name}", place / "etc" / name)
    for name in NAMES:
        os.mkfifo(place / f"{name}.fifo")
        shutil.copy(f"/etc/{name}", place / f"{name}.good")
    config = place / "s.conf"
    config.write_text(configuration(place, programs))
    return supervisors.run("supervise", config, place, prefix=(need("unshare"), "-m", "sh", "-c", OWN_ETC, str(place)))


def exchange(daemon: Daemon, kind: str) -> None:
    for name in NAMES:
        new = daemon.place / f"{name}.new"
        os.link(daemon.place / f"{name}.{kind}", new)
        new.rename(daemon.place / "etc" / name)


def release(daemon: Daemon) -> bool:
    """Whoever waits for a FIFO finds it empty."""
    for name in NAMES:
        with suppress(OSError):  # nobody waits
            os.close(os.open(daemon.place / f"{name}.fifo", os.O_WRONLY | os.O_NONBLOCK))
    return True


def waiting(pid: int) -> int:
    """How many of its threads wait for somebody to open the other end of a FIFO."""
    return sum("wait_for_partner" in (task / "wchan").read_text() for task in Path(f"/proc/{pid}/task").iterdir())


def asking(daemon: Daemon, verb: str) -> subprocess.Popen[bytes]:
    """A client that waits for its answer."""
    command = [*client_command("supervise"), "-c", str(daemon.config), verb]
    return subprocess.Popen(command, env=daemon.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_the_daemon_goes_on_without_it(supervisors: Supervisors) -> None:
    daemon = start(supervisors, PROGRAMS)
    first = daemon.wait_state("known", "RUNNING")["pid"]
    exchange(daemon, "fifo")
    assert call("supervisor.startProcess", "unknown")(daemon)["faultCode"] == 50
    assert "the user database does not answer" in daemon.wait_state("unknown", "FATAL")["spawnerr"]
    daemon.rpc.supervisor.stopProcess("known")
    assert daemon.rpc.supervisor.startProcess("known") is True, "what was true before will do"
    assert daemon.wait_state("known", "RUNNING")["pid"] != first
    clients = [asking(daemon, verb) for verb in ("reread", "reload")]
    wait_for(lambda: waiting(daemon.pid) >= 3, "one for a user that nobody knew, two that read the files")
    assert daemon.rpc.supervisor.startProcess("own") is True, "and nobody else notices"
    assert daemon.rpc.supervisor.tailProcessStdoutLog("known", 0, 100)[2] is False
    exchange(daemon, "good")
    wait_for(lambda: release(daemon) and waiting(daemon.pid) == 0)
    assert [client.wait(60) for client in clients] == [0, 0]
    wait_for(lambda: call("supervisor.startProcess", "unknown")(daemon) is True, "as soon as it is there again")


def test_the_end_does_not_wait_for_it(supervisors: Supervisors) -> None:
    daemon = start(supervisors, PROGRAMS)
    daemon.wait_state("known", "RUNNING")
    exchange(daemon, "fifo")
    client = asking(daemon, "reread")
    wait_for(lambda: waiting(daemon.pid))
    assert daemon.stop() == 0
    assert client.wait(60) != 0


def test_a_login_that_hangs_keeps_nobody_else_out(supervisors: Supervisors) -> None:
    """What PAM asks is no different. Who has a password of the configuration comes in, and the end does not wait."""
    need_package("pamela")
    (port,) = free_ports(1)
    users = f"[user:ann]\npassword = {hashed('right')}\nrole = control\n"
    server = f"[inet_http_server]\nport = 127.0.0.1:{port}\npam_service = slow\nadmin_users = nobody\n"
    daemon = start(supervisors, server + users)
    script = daemon.place / "check.sh"
    script.write_text(f"#!/bin/sh\ntouch {daemon.place}/asked\nread line < {daemon.place}/group.fifo\n")
    script.chmod(0o755)
    (daemon.place / "etc/pam.d/slow").write_text(f"auth required pam_exec.so quiet {script}\n")

    def login(user: str, timeout: float = 60) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        token = base64.b64encode(f"{user}:right".encode()).decode()
        with closing(connection):
            connection.request("GET", "/ok.html", headers={"Authorization": f"Basic {token}"})
            return connection.getresponse().status

    for number in range(3):  # as many as there are threads, and one that waits for them
        with pytest.raises(TimeoutError):
            login(f"user{number}", 0.5)
    wait_for((daemon.place / "asked").exists)
    assert login("ann") == 200
    assert daemon.stop() == 0
