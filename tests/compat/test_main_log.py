"""The main log's lines that people grep for, and the orders of starting and stopping: the same as supervisord's."""

import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.compat.pair import Pair, call, plain
from tests.daemons import Daemon, Supervisors, wait_answer
from tests.tools import ROOT, wait_for

pytestmark = pytest.mark.timeout(300)

PROGRAMS = """
[program:steady]
command = sleep 1000
startsecs = 1

[program:instant]
command = sh -c 'exit 0'
startsecs = 0

[program:toosoon]
command = sh -c 'exit 0'
startretries = 0
startsecs = 5

[program:hopeless]
command = sh -c 'exit 3'
startretries = 2
startsecs = 5

[program:absent]
command = /no/such/file
startretries = 1

[program:deaf]
command = sh -c 'trap "" TERM; while :; do sleep 0.1; done'
startsecs = 0
stopwaitsecs = 1

[program:finishes]
command = sh -c 'sleep 4; exit 2'
exitcodes = 0,2

[program:surprises]
command = sh -c 'sleep 4; exit 5'
autorestart = false

[program:victim]
command = sleep 1000
startsecs = 0

[program:polite]
command = sh -c 'trap "exit 7" TERM; while :; do sleep 0.1; done'
startsecs = 0

[group:both]
programs = grouped

[program:grouped]
command = sleep 1000
startsecs = 0

[include]
files = {place}/nothing/*.conf {place}/s.con[g]
"""


def messages(daemon: Daemon) -> list[str]:
    """`LEVL message` of every line, without time and process ids."""
    lines = [plain(line, daemon.place) for line in daemon.log.splitlines()]
    bad = [line for line in lines if not re.match(r"TIME (CRIT|ERRO|WARN|INFO|DEBG|TRAC|BLAT) ", line)]
    assert not bad, f"not in the log's format: {bad}"
    return [line.removeprefix("TIME ") for line in lines]


@pytest.fixture(scope="module")
def pair(shared_supervisors: Supervisors) -> Pair:
    """Both daemons after the same story: starts, failures, a kill, stops, USR2, TERM."""
    both = Pair(shared_supervisors, PROGRAMS)
    for daemon in (both.ours, both.theirs):
        for name in ("toosoon", "hopeless", "absent"):
            daemon.wait_state(name, "FATAL")
        for name in ("instant", "finishes", "surprises"):
            daemon.wait_state(name, "EXITED")
        daemon.wait_state("steady", "RUNNING")
        daemon.rpc.supervisor.signalProcess("victim", "KILL")
        wait_for(lambda daemon=daemon: daemon.log.count("spawned: 'victim'") == 2)
        daemon.wait_state("victim", "RUNNING")
        for name in ("deaf", "steady", "polite", "both:grouped"):
            daemon.rpc.supervisor.stopProcess(name)
        daemon.rpc.supervisor.startProcess("both:grouped")
        daemon.process.send_signal(signal.SIGUSR2)
        daemon.wait_log("supervisord logreopen")
        assert daemon.stop() == 0
    return both


NAMES = re.findall(r"\[program:(\w+)\]", PROGRAMS)


@pytest.mark.parametrize("name", NAMES)
def test_the_life_of_a_program(pair: Pair, name: str) -> None:
    """Every line that names it. Not compared: what we say beyond supervisord, and what it says by the clock."""
    beyond = re.compile(r"INFO supervisor\.\w+\(.*\) by |waiting for|success: instant|ended within startsecs")

    def life(daemon: Daemon) -> list[str]:
        return [line for line in messages(daemon) if re.search(rf"\b{name}\b", line) and not beyond.search(line)]

    pair.agree(life)


def test_lines_of_the_daemon(pair: Pair) -> None:
    """Everything that is not about a program is said by us too; in the same order, but for the late HTTP server, whose
    missing password is no alarm where nobody else can reach it (B56)."""
    named = re.compile("|".join(rf"\b{name}\b" for name in NAMES))
    late = re.compile("Server|RPC interface|supervisord started")

    def general(daemon: Daemon) -> list[str]:
        return [re.sub("CRIT(?= Server)", "INFO", line) for line in messages(daemon) if not named.search(line)]

    ours, theirs = general(pair.ours), general(pair.theirs)
    assert set(theirs) <= set(ours)
    assert [line for line in ours if line in theirs and not late.search(line)] == [
        line for line in theirs if not late.search(line)
    ]


DEBUGGED = """
[program:plain]
command = sh -c 'echo said; exec sleep 1000'
startsecs = 0
[program:whole]
command = sleep 1000
stopasgroup = true
stopsignal = INT
startsecs = 0
"""


def test_what_debug_shows(supervisors: Supervisors) -> None:
    both = Pair(supervisors, DEBUGGED, "loglevel = debug\n")

    def story(daemon: Daemon) -> list[str]:
        daemon.wait_log("'plain' stdout output:")
        daemon.rpc.supervisor.signalProcess("plain", "CONT")
        for name in ("plain", "whole"):
            daemon.wait_state(name, "RUNNING")
            daemon.rpc.supervisor.stopProcess(name)
        daemon.wait_log("received SIGCHLD")
        daemon.wait_log("stopped: whole")
        shown = re.findall(r"DEBG ((?:killing|sending|received|'\w+' std).*\n(?:said)?)", daemon.log)
        return sorted({re.sub(r"pid \d+", "pid N", line) for line in shown})

    both.agree(story)


ENDING = """
[program:both]
command = sh -c 'echo said; exec sleep 1000'
startsecs = 0
[program:one]
command = sleep 1000
redirect_stderr = true
startsecs = 0
[group:g]
programs = member
[program:member]
command = sh -c 'exec >&- 2>&-; exec sleep 1000'
startsecs = 0
"""


def test_the_end_of_output(supervisors: Supervisors) -> None:
    """Also of a program that goes on without."""

    def story(daemon: Daemon) -> list[str]:
        wait_for(lambda: daemon.log.count("(stdout)>") == daemon.log.count("(stderr)>") == 1)  # member's
        for name in ("both", "one"):
            daemon.wait_state(name, "RUNNING")
            daemon.rpc.supervisor.stopProcess(name)
        wait_for(lambda: (daemon.log.count("(stdout)>"), daemon.log.count("(stderr)>")) == (3, 2))
        lines = re.findall(r"DEBG (fd \d+ closed, stopped monitoring <.*\((?:stdout|stderr)\)>)", daemon.log)
        return sorted(
            re.sub(r"fd \d+", "fd N", re.sub(r"<.*\b(both|one|member)\b.*\(", r"<\1 (", line)) for line in lines
        )

    Pair(supervisors, ENDING, "loglevel = debug\n").agree(story)


PLUGIN = """
class Plugin:
    def fail(self):
        raise ZeroDivisionError("failed")
def make(supervise, **options):
    return Plugin()
"""


def test_a_method_that_raises(supervisors: Supervisors) -> None:
    """Alone, and in a multicall, whose other calls are answered."""

    def prepare(place: Path) -> None:
        (place / "plugin.py").write_text(PLUGIN)
        (place / "more.conf").write_text("[rpcinterface:plugin]\nsupervisor.rpcinterface_factory = plugin:make\n")

    path = {"PYTHONPATH": f"{ROOT}:."}
    both = Pair(supervisors, "[include]\nfiles = more.conf\n", prepare=prepare, env=path)
    both.ours.expect_traceback = True

    def line(daemon: Daemon) -> Any:
        answer = call("plugin.fail")(daemon)
        assert (answer.get("http"), answer.get("faultCode")) == (500, None)
        said = (
            r"CRIT (Handling XML-RPC request with data .* raised an unexpected exception: )(?:.*\n)+?.*(ZeroDivision.*)"
        )
        return list(wait_for(lambda: re.search(said, daemon.log)).groups())

    def several(daemon: Daemon) -> Any:
        calls: list[dict[str, Any]] = [
            {"methodName": name, "params": []} for name in ("plugin.fail", "supervisor.getIdentification")
        ]
        first, second = call("system.multicall", calls)(daemon)
        assert first.pop("faultString").endswith("failed")  # which class of error: in words of each
        return [first, second]

    both.agree(line)
    both.agree(several)


def test_one_that_cannot_be_cleared(supervisors: Supervisors) -> None:
    def clear(daemon: Daemon) -> int:
        (daemon.place / "main.log").rename(daemon.place / "before")
        (daemon.place / "main.log").mkdir()
        return int(call("supervisor.clearLog")(daemon)["faultCode"])

    assert Pair(supervisors, "").ask(clear) == ("30", "30")


def test_one_that_is_not_there(supervisors: Supervisors) -> None:
    def clear(daemon: Daemon) -> Any:
        (daemon.place / "main.log").unlink()
        return call("supervisor.clearLog")(daemon)

    both = Pair(supervisors, "")
    both.agree(clear)
    wait_for(
        lambda: call("supervisor.stopAllProcesses")(both.ours) == [] and both.ours.read("main.log")
    )  # a later line


def test_a_shutdown_names_whom_it_waits_for(pair: Pair) -> None:
    def waited(daemon: Daemon) -> list[list[str]]:
        found = re.findall("INFO waiting for (.*) to die", daemon.log)
        return [sorted(names.split(", ")) for names in found][:1]

    pair.agree(waited)


ORDER = """
[program:third]
command = sleep 1000
startsecs = 0
priority = 30

[program:first]
command = sleep 1000
startsecs = 0
priority = 10

[program:second]
command = sleep 1000
startsecs = 0
priority = 20

[group:zero]
programs = b,a
priority = 1

[program:a]
command = sleep 1000
startsecs = 0
priority = 7

[program:b]
command = sleep 1000
startsecs = 0
priority = 8
"""


def order(verb: str) -> Callable[[Daemon], list[str]]:
    """Names in the order in which the main log says the verb of them; members of one group come at once."""
    return lambda daemon: [
        "a or b" if name in ("a", "b") else name for name in re.findall(rf"{verb}: '?(\w+)", daemon.log)
    ]


def test_start_ascends_and_shutdown_descends(supervisors: Supervisors) -> None:
    both = Pair(supervisors, ORDER)
    names = {"zero:a", "zero:b", "first:first", "second:second", "third:third"}
    for daemon in (both.ours, both.theirs):
        wait_for(lambda daemon=daemon: {name for name, state in daemon.states().items() if state == "RUNNING"} == names)
        assert daemon.stop() == 0
    both.agree(order("spawned"))
    both.agree(order("stopped"))
    assert order("spawned")(both.ours) == ["a or b", "a or b", "first", "second", "third"]
    assert order("stopped")(both.ours)[:3] == ["third", "second", "first"]


def test_a_restart_request_starts_everything_again(supervisors: Supervisors) -> None:
    both = Pair(supervisors, ORDER)
    for daemon in (both.ours, both.theirs):
        before = daemon.wait_state("third", "RUNNING")["pid"]
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_log("SIGHUP")
        wait_for(lambda daemon=daemon: daemon.log.count("spawned: 'third'") == 2, "another child")
        daemon.disconnect()
        wait_answer(daemon)
        assert daemon.wait_state("third", "RUNNING")["pid"] != before
        assert daemon.stop() == 0
    both.agree(order("spawned"))
    both.agree(order("stopped"))
    both.agree(lambda daemon: [line for line in messages(daemon) if "received" in line])


FAILING = """
[program:never]
command = false
startretries = 3
startsecs = 5

[program:once]
command = false
startretries = 0
startsecs = 5
"""


def test_back_off_counts(supervisors: Supervisors) -> None:
    """One attempt more than startretries."""
    both = Pair(
        supervisors,
        FAILING,
    )
    for daemon in (both.ours, both.theirs):
        daemon.wait_state("once", "FATAL")
        daemon.wait_state("never", "FATAL")
    both.agree(lambda daemon: (order("spawned")(daemon).count("never"), order("spawned")(daemon).count("once")))
    both.agree(lambda daemon: [daemon.info(name) for name in ("never", "once")])
    assert order("spawned")(both.ours).count("never") == 4
