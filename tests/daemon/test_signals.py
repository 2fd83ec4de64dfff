"""Signals that come at bad moments. (tests/daemon/test_main.py has what each of them means.)"""

import os
import re
import signal
import time
import xmlrpc.client
from pathlib import Path

import pytest

from tests.daemons import Daemon, Supervisors, configuration, sleepers
from tests.tools import ROOT, wait_for

# Ends when it was told to, and the test lets it.
SLOW = """
[program:a]
command = bash -c "trap 'while ! test -e {place}/go; do sleep 0.02; done; exit' TERM; touch {place}/up;
    while :; do sleep 0.02; done"
startsecs = 0
stopwaitsecs = 600
"""


def slow(supervisors: Supervisors) -> Daemon:
    daemon = supervisors.start("supervise", SLOW)
    wait_for((daemon.place / "up").exists)
    return daemon


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
    daemon = slow(supervisors)
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_log("received SIGHUP")
    wait_for(lambda: restarting(daemon))
    daemon.configure(SLOW + "[program:b]\ncommand = sleep 1000\nstartsecs = 0\n")
    for _ in range(5):
        daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: daemon.log.count("received SIGHUP") > 1)
    (daemon.place / "go").touch()
    wait_for(lambda: names(daemon) == {"a:a", "b:b"})
    assert daemon.stop() == 0


def test_a_hangup_during_a_reload_by_a_client(supervisors: Supervisors) -> None:
    daemon = slow(supervisors)
    daemon.rpc.supervisor.restart()
    wait_for(lambda: restarting(daemon))
    daemon.configure(SLOW + "[program:b]\ncommand = sleep 1000\nstartsecs = 0\n")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_log("received SIGHUP")
    (daemon.place / "go").touch()
    wait_for(lambda: names(daemon) == {"a:a", "b:b"})


def test_the_end_comes_before_a_reload(supervisors: Supervisors) -> None:
    daemon = slow(supervisors)
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: restarting(daemon))
    daemon.disconnect()
    daemon.process.terminate()
    daemon.wait_log("received SIGTERM")
    (daemon.place / "go").touch()
    assert daemon.stop(0) == 0
    assert not daemon.socket.exists()
    assert daemon.log.count("spawned: 'a'") == 1


def test_every_signal_at_once(supervisors: Supervisors) -> None:
    daemon = slow(supervisors)
    (daemon.place / "go").touch()
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


# Runs in every interpreter of the test, and holds the daemon up where a test wants to signal it.
HELD_UP = """
import logging, os, sys, time
place, execve, info = os.environ["TEST_PLACE"], os.execve, logging.Logger.info
def hold(where):
    if os.path.exists(f"{place}/hold-{where}"):
        os.rename(f"{place}/hold-{where}", f"{place}/held-{where}")
        while os.path.exists(f"{place}/held-{where}"):
            time.sleep(0.01)
def held(*arguments):
    hold("before exec")
    execve(*arguments)
def told(self, message, *arguments):
    if message.startswith("upgrade: executing"):
        hold("about to exec")
    info(self, message, *arguments)
os.execve, logging.Logger.info = held, told
class Finder:
    def find_spec(self, name, *_):
        if name == "supervise.daemon.main":
            hold("amid imports")
if "SUPERVISE_REHEARSAL" not in os.environ:
    sys.meta_path.insert(0, Finder())
    if "SUPERVISE_HANDOVER" in os.environ:
        hold("after exec")
"""
ORDERS = (signal.SIGUSR2, signal.SIGHUP)


def held_up(supervisors: Supervisors, *where: str) -> Daemon:
    place = supervisors.place()
    (place / "sitecustomize.py").write_text(HELD_UP)
    for each in where:
        (place / f"hold-{each}").touch()
    config = place / "s.conf"
    config.write_text(configuration(place, sleepers("web")))
    env = {"PYTHONPATH": f"{place}:{ROOT}"}
    return supervisors.run("supervise", config, place, env=env, answers=not where)


def obeys(daemon: Daemon, web: int) -> None:
    """It has heard of all, and its programs have nothing of it."""
    daemon.wait_log("received SIGUSR2 indicating log reopen request")
    daemon.wait_log("received SIGHUP indicating restart request")
    wait_for(lambda: daemon.info("web")["pid"] not in (0, web))
    mask = re.search(r"SigBlk:\s*(\w+)", Path(f"/proc/{daemon.info('web')['pid']}/status").read_text())
    assert mask is not None
    assert int(mask[1], 16) == 0


def test_orders_before_it_can_follow_them(supervisors: Supervisors) -> None:
    daemon = held_up(supervisors, "amid imports")
    wait_for((daemon.place / "held-amid imports").exists)
    for number in ORDERS:
        daemon.process.send_signal(number)
    (daemon.place / "held-amid imports").unlink()
    daemon.wait_log("supervisord started with pid")
    daemon.wait_log("spawned: 'web'")
    obeys(daemon, 0)
    assert daemon.stop() == 0


@pytest.mark.parametrize("where", ["about to exec", "before exec", "after exec", "amid imports"])
def test_orders_amid_an_upgrade(supervisors: Supervisors, where: str) -> None:
    """They reach the daemon after it; so does the order to end."""
    daemon = held_up(supervisors)
    web = daemon.wait_state("web", "RUNNING")["pid"]
    daemon.disconnect()
    for orders in (ORDERS, (signal.SIGTERM,)):
        (daemon.place / f"hold-{where}").touch()
        daemon.process.send_signal(signal.SIGUSR1)
        wait_for((daemon.place / f"held-{where}").exists)
        for number in orders:
            daemon.process.send_signal(number)
        (daemon.place / f"held-{where}").unlink()
        if orders is ORDERS:
            obeys(daemon, web)
            daemon.disconnect()
    assert daemon.stop(0) == 0
    assert daemon.log.count("supervisord started with pid") == 3
