"""Plugins of [rpcinterface:x]: in a running daemon, by XML-RPC."""

import re
import textwrap
import xmlrpc.client
from pathlib import Path
from typing import Any

import pytest

from supervise.api.plugins import describe, resolve
from supervise.config.model import Role
from tests.api.asking import connected
from tests.daemons import Daemon, Supervisors, configuration
from tests.readme import README
from tests.tools import wait_for

PLUGIN = '''
import asyncio, os, sys, time

class Thing:
    secret = "an attribute"
    roles = {"look": "read", "act": "control"}

    def __init__(self, supervise, colour="none"):
        self.supervise, self.colour, self.seen = supervise, colour, []
        supervise.spawn(self._listen())

    async def _listen(self):
        async for event in self.supervise.events():
            self.seen.append(event["type"])

    async def look(self, name):
        """The state of a process.

        @param string name  as in `status`
        @return string
        """
        return (await self.supervise.process(name))["statename"]

    def act(self, name, wait=True):
        return self.supervise.wait(self.supervise.restart(name, wait=wait))[-1]["fault"]

    def options(self):
        return [self.colour, self.supervise.name]

    def events(self):
        return list(self.seen)

    async def boom(self):
        raise ZeroDivisionError("kaboom")

    def leave(self):
        sys.exit(3)

    def nothing(self):
        return None

    def data(self):
        return {"bytes": b"\\xff\\n"}

    def large(self):
        return [2**40]

    def deep(self):
        found = []
        found.append(found)
        return found

    def blocked(self):
        time.sleep(1000)

    async def careless(self):
        return self.supervise.wait(self.supervise.daemon())

    def refused(self):
        return self.supervise.wait(self.supervise.process("nosuch"))

    def any(self, *words):
        return " ".join(words)

    def _hidden(self):
        return "hidden"

    class Inner:
        pass

def make(supervise, **options):
    return Thing(supervise, **options)

def old(supervisord, **options):
    supervisord.options.logger.info("hello")

class Later:
    def __init__(self, supervisord):
        self.supervisord = supervisord

    def call(self):
        return self.supervisord.supervisord.process_groups

def broken(supervise, **options):
    raise RuntimeError("cannot")
'''

SECTIONS = """
[program:cat]
command = cat
startsecs = 0
[rpcinterface:thing]
supervisor.rpcinterface_factory = thing:make
colour = dark %(ENV_COLOUR)s
[rpcinterface:old]
supervisor.rpcinterface_factory = thing:old
[rpcinterface:later]
supervisor.rpcinterface_factory = thing:Later
[rpcinterface:broken]
supervisor.rpcinterface_factory = thing:broken
[rpcinterface:other]
supervisor.rpcinterface_factory = supervisor.rpcinterface: make_main_rpcinterface
"""


def environment(place: Path) -> dict[str, str]:
    return {"PYTHONPATH": f"{place}:{Path(__file__).parents[2]}", "COLOUR": "blue"}


@pytest.fixture(scope="module")
def daemon(shared_supervisors: Supervisors) -> Daemon:
    place = shared_supervisors.place()
    (place / "thing.py").write_text(textwrap.dedent(PLUGIN))
    daemon = shared_supervisors.start("supervise", SECTIONS, place=place, env=environment(place))
    daemon.expect_traceback = True  # of the plugins
    daemon.wait_state("cat", "RUNNING")
    return daemon


def fault(call: Any, *params: Any) -> tuple[int, str]:
    with pytest.raises(xmlrpc.client.Fault) as caught:
        call(*params)
    return caught.value.faultCode, caught.value.faultString


def test_methods_are_called(daemon: Daemon) -> None:
    thing = daemon.rpc.thing
    assert thing.look("cat") == "RUNNING"
    assert thing.options() == ["dark blue", "thing"]
    before = daemon.info("cat")["pid"]
    assert thing.act("cat") == "SUCCESS"
    assert daemon.info("cat")["pid"] != before
    assert thing.any("a", "b", "c") == "a b c"
    assert thing.data() == {"bytes": xmlrpc.client.Binary(b"\xff\n")}
    wait_for(lambda: "PROCESS_STATE_RUNNING" in thing.events(), "events")


def test_introspection(daemon: Daemon) -> None:
    names = daemon.rpc.system.listMethods()
    own = " ".join(name.removeprefix("thing.") for name in names if name.startswith("thing."))
    assert own == "act any blocked boom careless data deep events large leave look nothing options refused"
    help = daemon.rpc.system.methodHelp("thing.look")
    assert help == "The state of a process.\n\n@param string name  as in `status`\n@return string"
    assert daemon.rpc.system.methodHelp("thing.act") == "\n\n@param value name\n@param value wait\n@return value"
    assert daemon.rpc.system.methodSignature("thing.look") == ["string", "string"]


def test_supervisords_own_methods_under_another_name(daemon: Daemon) -> None:
    """Whatever the section is called, as with supervisord."""
    assert daemon.rpc.other.getProcessInfo("cat")["name"] == "cat"
    own, other = (
        {name for name in daemon.rpc.system.listMethods() if name.startswith(f"{space}.")}
        for space in ("supervisor", "other")
    )
    assert other == {name.replace("supervisor.", "other.") for name in own}


@pytest.mark.parametrize(
    "name",
    [
        *("thing._hidden", "thing.secret", "thing.__init__", "thing.Inner", "thing.supervise", "thing.roles"),
        *("thing.look.x", "thing.supervise.shutdown", "thing", "old.anything", "broken.anything"),
    ],
)
def test_nothing_else_is_there(daemon: Daemon, name: str) -> None:
    assert fault(getattr(daemon.rpc, name))[0] == 1


def test_arity_is_checked_before(daemon: Daemon) -> None:
    assert fault(daemon.rpc.thing.look) == (2, "INCORRECT_PARAMETERS")
    assert fault(daemon.rpc.thing.look, "a", "b") == (2, "INCORRECT_PARAMETERS")


def test_what_goes_wrong_is_the_callers_fault_alone(daemon: Daemon) -> None:
    thing = daemon.rpc.thing
    for raises in (thing.boom, thing.leave, thing.careless):
        with pytest.raises(xmlrpc.client.ProtocolError) as caught:
            raises()
        assert caught.value.errcode == 500, "as with supervisord"
    assert (
        fault(thing.nothing)[1]
        == "FAILED: thing.nothing returned what XML-RPC cannot carry: no XML-RPC type for NoneType"
    )
    assert "cannot carry" in fault(thing.deep)[1]
    assert fault(thing.large) == (
        30,
        "FAILED: thing.large returned what XML-RPC cannot carry: 1099511627776 has more than 32 bits",
    )
    daemon.wait_log("use await")
    assert fault(thing.refused) == (10, "BAD_NAME: nosuch")
    assert daemon.rpc.supervisor.getState()["statename"] == "RUNNING"
    daemon.wait_log("thing.boom</methodName>")
    said = (
        r"CRIT Handling XML-RPC request with data .*thing\.boom.* raised an unexpected exception: ZeroDivisionError: "
    )
    whole = said + r"kaboom\n    Traceback.*\n(    .*\n)+    ZeroDivisionError: kaboom\n"
    found = wait_for(lambda: re.search(whole, daemon.log), "a traceback in the main log")
    assert "nosuch</" not in daemon.log.replace(found[0], "")  # what it has refused is no failure


def test_one_written_for_supervisords_objects_says_so(daemon: Daemon) -> None:
    daemon.wait_log("Could not make old rpc interface: supervise has no 'options': the plugin [rpcinterface:old]")
    daemon.wait_log("CRIT Could not make broken rpc interface")
    code, said = fault(daemon.rpc.later.call)
    assert (code, "supervise has no 'supervisord'" in said) == (30, True)


def test_a_plugin_that_hangs_holds_up_nobody_not_even_the_end(supervisors: Supervisors) -> None:
    place = supervisors.place()
    (place / "thing.py").write_text(textwrap.dedent(PLUGIN))
    daemon = supervisors.start("supervise", SECTIONS, place=place, env=environment(place))
    daemon.expect_traceback = True
    call = xmlrpc.client.dumps((), "thing.blocked").encode()
    head = b"POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(call)
    links = [connected(daemon) for _ in range(8)]
    for link in links:
        link.__enter__().sendall(head + call)
    wait_for(lambda: "no more are begun" in fault_text(daemon), "all threads are taken")
    assert daemon.rpc.supervisor.getState()["statename"] == "RUNNING"
    assert daemon.stop() == 0  # within its patience; the calls would take longer
    for link in links:
        link.__exit__(None, None, None)


def fault_text(daemon: Daemon) -> str:
    try:
        daemon.rpc.thing.options()
    except xmlrpc.client.Fault as error:
        return error.faultString
    return ""


@pytest.mark.parametrize(
    "factory, says",
    [
        ("nosuch:make", "nosuch:make cannot be resolved within [rpcinterface:x]: No module named 'nosuch'"),
        ("thing:nosuch", "thing:nosuch cannot be resolved within [rpcinterface:x]: module 'thing' has no attribute"),
    ],
)
def test_what_cannot_be_imported_is_refused_at_the_start(supervisors: Supervisors, factory: str, says: str) -> None:
    place = supervisors.place()
    (place / "thing.py").write_text(textwrap.dedent(PLUGIN))
    text = f"[rpcinterface:x]\nsupervisor.rpcinterface_factory = {factory}\n"
    config = place / "s.conf"
    config.write_text(configuration(place, text))
    daemon = supervisors.run("supervise", config, place, env=environment(place), answers=False)
    assert daemon.process.wait(30) == 2
    assert says in daemon.output


def test_descriptions() -> None:
    def method(self_: object, a: int, b: int = 2, *more: int, key: int = 1) -> None:
        """Do it.

        @param int a  the first
        @return boolean
        """

    found = describe("m", method, method, Role.READ)
    assert found.signature == ["boolean", "value", "int", "value"]
    assert [found.accepts(count) for count in (1, 2, 3, 9)] == [False, True, True, True]
    assert resolve("os.path:join")("a", "b") == "a/b"


def test_the_example_of_the_readme(supervisors: Supervisors) -> None:
    found = re.search(r"## Plugins.*?```python\n(.*?)```\n\n```ini\n(.*?)```", README.read_text(), re.DOTALL)
    assert found
    place = supervisors.place()
    (place / "deploy.py").write_text(found[1])
    text = "[group:shop]\nprograms = a,b\n[program:a]\ncommand = cat\nstartsecs = 0\n[program:b]\ncommand = cat\n"
    daemon = supervisors.start("supervise", text + "startsecs = 0\n" + found[2], place=place, env=environment(place))
    wait_for(daemon.rpc.deploy.ready, "both run")
    assert daemon.rpc.deploy.switch("2") == ["SUCCESS"] * 4
    daemon.wait_log("INFO switching to 2")
