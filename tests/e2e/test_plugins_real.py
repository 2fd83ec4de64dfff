"""Plugins that others published: which work here as they do with supervisord, and what those are told that cannot."""

import sys
import xmlrpc.client
from pathlib import Path
from typing import Any

import pytest

from tests.compat.pair import Pair, call
from tests.daemons import Daemon, Supervisors, configuration, sleepers
from tests.tools import ROOT, wait_for

PROGRAMS = f"""
{sleepers("web", "wiki", "api")}[rpcinterface:cache]
supervisor.rpcinterface_factory = supervisor_cache.rpcinterface:make_cache_rpcinterface
[rpcinterface:twiddler]
supervisor.rpcinterface_factory = supervisor_twiddler.rpcinterface:make_twiddler_rpcinterface
whitelist = getAPIVersion,getGroupNames
[ctlplugin:wildcards]
supervisor.ctl_factory = supervisorwildcards.controllerplugin:make_wildcards_controllerplugin
[ctlplugin:serialrestart]
supervisor.ctl_factory = supervisorserialrestart.controllerplugin:make_serialrestart_controllerplugin
"""


@pytest.fixture(scope="module")
def pair(shared_supervisors: Supervisors) -> Pair:
    pair = Pair(shared_supervisors, PROGRAMS)
    for name in ("web", "wiki", "api"):
        pair.ours.wait_state(name, "RUNNING")
        pair.theirs.wait_state(name, "RUNNING")
    return pair


@pytest.mark.parametrize(
    "question",
    [
        ("getAPIVersion",),
        ("getKeys",),
        ("store", "colour", "grün"),
        ("fetch", "colour"),
        ("getCount",),
        ("fetch", "nothing"),
        ("store", "", "x"),
        ("store", "one argument"),
        ("delete", "colour"),
        ("clear",),
        ("_validateKey", "x"),
    ],
)
def test_supervisor_cache(pair: Pair, question: tuple[str, ...]) -> None:
    pair.agree(call(f"cache.{question[0]}", *question[1:]))


def test_supervisor_twiddler_as_far_as_it_goes(pair: Pair) -> None:
    pair.agree(call("twiddler.getAPIVersion"))
    pair.agree(call("twiddler.removeProcessFromGroup", "web", "web"))  # refused by itself, with a number of its own
    ours = call("twiddler.getGroupNames")(pair.ours)
    assert (
        "supervise has no 'process_groups': the plugin [rpcinterface:twiddler] was written for" in ours["faultString"]
    )
    pair.ours.expect_traceback = True
    assert pair.ours.info("web")["statename"] == "RUNNING"


@pytest.mark.parametrize(
    "words",
    [
        ("mstop", "w*"),
        ("mstart", "web wiki"),
        ("mrestart", "*i"),
        ("mstop", "nobody*"),
        ("help", "mstop"),
        ("serialrestart", "w*", "nobody"),
        ("serialrestart",),
        ("help", "serialrestart"),
    ],
)
def test_actions_of_supervisorctl_plugins(pair: Pair, words: tuple[str, ...]) -> None:
    def lines(daemon: Daemon) -> Any:
        done = daemon.ctl(*words)
        said = [line for line in done.stdout.splitlines() if "*** No help on" not in line]  # supervisorctl, twice
        return done.returncode, sorted(said), daemon.states()

    pair.agree(lines)


# Without the package supervisor


def hidden(place: Path) -> dict[str, str]:
    """An environment in which the package supervisor is not installed."""
    (place / "supervisor.py").write_text("raise ModuleNotFoundError('No module named supervisor', name='supervisor')\n")
    return {"PYTHONPATH": f"{place}:{ROOT}"}


def test_supervisords_own_names_need_no_package(supervisors: Supervisors) -> None:
    place = supervisors.place()
    (place / "listener.py").write_text(LISTENER)
    text = f"""
        [eventlistener:l]
        command = {sys.executable} {place}/listener.py
        events = TICK_5,PROCESS_STATE_RUNNING
        result_handler = supervisor.dispatchers:default_handler
        [program:web]
        command = sleep 1000
        startsecs = 0
    """
    daemon = supervisors.start("supervise", text, place=place, env=hidden(place))
    daemon.wait_state("l", "STARTING", "RUNNING")
    wait_for(lambda: "PROCESS_STATE_RUNNING processname:web" in daemon.read("events"), "an event")
    assert daemon.ctl("status", "web").returncode == 0


def test_who_borrows_names_is_told_what_to_install(supervisors: Supervisors) -> None:
    place = supervisors.place()
    config = place / "s.conf"
    config.write_text(configuration(place, PROGRAMS))
    daemon = supervisors.run("supervise", config, place, env=hidden(place), answers=False)
    assert daemon.process.wait(60) == 2
    assert "[rpcinterface:cache]: No module named supervisor; it needs supervisor of supervisord" in daemon.output
    assert "install the package supervisor beside supervise" in daemon.output


# Event types of plugins

LISTENER = """
import sys
while True:
    sys.stdout.write("READY\\n")
    sys.stdout.flush()
    header = dict(word.split(":") for word in sys.stdin.readline().split())
    data = sys.stdin.read(int(header["len"]))
    with open("events", "a") as file:
        file.write(f"{header['eventname']} {data}\\n")
    sys.stdout.write("RESULT 2\\nOK")
    sys.stdout.flush()
"""
PLUGIN = """
class Deploy:
    event_types = {"DEPLOY": "", "DEPLOY_DONE": "DEPLOY", "HEARTBEAT": "TICK"}

    def __init__(self, supervise):
        self.supervise = supervise

    async def done(self, release):
        await self.supervise.publish("DEPLOY_DONE", f"release:{release}\\nby hand")
        await self.supervise.publish("HEARTBEAT", "when:0")
        return True

    def other(self):
        self.supervise.wait(self.supervise.publish("NEVER_DECLARED", ""))
"""


@pytest.mark.parametrize("events", ["DEPLOY", "DEPLOY_DONE", "EVENT"])
def test_events_of_a_type_of_its_own(supervisors: Supervisors, events: str) -> None:
    place = supervisors.place()
    (place / "listener.py").write_text(LISTENER)
    (place / "deploy.py").write_text(PLUGIN)
    text = f"""
        [rpcinterface:deploy]
        supervisor.rpcinterface_factory = deploy:Deploy
        [eventlistener:l]
        command = {sys.executable} {place}/listener.py
        events = {events}
        directory = {place}
    """
    daemon = supervisors.start("supervise", text, place=place, env={"PYTHONPATH": f"{place}:{ROOT}"})
    daemon.expect_traceback = True  # of the plugin
    assert daemon.rpc.deploy.done("42")
    wait_for(lambda: "DEPLOY_DONE release:42\nby hand\n" in daemon.read("events"), "the event")
    assert daemon.rpc.deploy.done("43")
    wait_for(lambda: "release:43" in daemon.read("events"), "the next event")
    assert ("HEARTBEAT when:0" in daemon.read("events")) is (events == "EVENT")
    with pytest.raises(xmlrpc.client.ProtocolError, match="500"):
        daemon.rpc.deploy.other()
    daemon.wait_log("does not declare 'NEVER_DECLARED'")
    text = text.replace(f"events = {events}", "events = DEPLOI")
    daemon.configure(text)
    reread = daemon.ctl("reread")
    assert reread.returncode == 1
    assert "Unknown event type DEPLOI in [eventlistener:l] events; did you mean DEPLOY" in reread.stdout
