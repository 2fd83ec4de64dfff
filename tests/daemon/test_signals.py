"""Signals that come at bad moments. (tests/daemon/test_main.py has what each of them means.)"""

import os
import signal
import time
import xmlrpc.client

from tests.daemons import Daemon, Supervisors
from tests.tools import wait_for

SLOW = "[program:a]\ncommand = bash -c \"trap 'sleep 0.5; exit' TERM; while :; do sleep 0.05; done\"\nstartsecs = 0\n"


def names(daemon: Daemon) -> set[str]:
    try:
        return set(daemon.states())
    except xmlrpc.client.Fault:  # between the old and the new
        return set()


def restarting(daemon: Daemon) -> bool:
    """Whether a reload has got as far as stopping programs (getState is a fault then)."""
    try:
        return bool(daemon.rpc.supervisor.getState()["statename"] == "RESTARTING")
    except xmlrpc.client.Fault as fault:
        return bool(fault.faultCode == 6)


def test_a_hangup_during_a_reload_is_not_lost(supervisors: Supervisors) -> None:
    """The reload under way has read its files already; what was written after that must count, too."""
    daemon = supervisors.start("supervise", SLOW)
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_log("received SIGHUP")
    wait_for(lambda: restarting(daemon))
    daemon.configure(SLOW + "[program:b]\ncommand = sleep 1000\nstartsecs = 0\n")
    for _ in range(5):
        daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: names(daemon) == {"a:a", "b:b"})
    assert daemon.stop() == 0


def test_a_hangup_during_a_reload_by_a_client(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", SLOW)
    daemon.rpc.supervisor.restart()
    wait_for(lambda: restarting(daemon))
    daemon.configure(SLOW + "[program:b]\ncommand = sleep 1000\nstartsecs = 0\n")
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: names(daemon) == {"a:a", "b:b"})


def test_the_end_comes_before_a_reload(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", SLOW)
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: restarting(daemon))
    assert daemon.stop() == 0
    assert not daemon.socket.exists()
    assert daemon.log.count("spawned: 'a'") == 1


def test_every_signal_at_once(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", SLOW)
    for number in (signal.SIGHUP, signal.SIGUSR2, signal.SIGCHLD, signal.SIGHUP, signal.SIGTERM, signal.SIGUSR2):
        os.kill(daemon.pid, number)
    assert daemon.stop(0) == 0
    assert not (daemon.place / "main.pid").exists()


def test_orders_to_end_until_the_very_end(supervisors: Supervisors) -> None:
    """`while kill PID; do :; done`: it ends as it was told to, and not by one order too many."""
    daemon = supervisors.start("supervise", "[program:a]\ncommand = sleep 1000\n")
    while daemon.process.poll() is None:
        daemon.process.terminate()
        time.sleep(0.0005)
    assert daemon.process.returncode == 0
    assert not (daemon.place / "main.pid").exists()
