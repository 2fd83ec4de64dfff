"""The real supervisord 4.3.0 and our daemon on the same configurations: every answer, line and child compared."""

import re
import time
from collections.abc import Callable
from threading import Thread
from typing import Any

import pytest

from tests.compat.pair import Pair, call
from tests.daemons import Daemon, Supervisors
from tests.tools import PATIENCE, alive, wait_for

pytestmark = pytest.mark.timeout(300)

# Programs that are refused, each in its way.
REFUSED = """\
[program:folder]
command = /tmp
autostart = false
[program:plainfile]
command = /etc/passwd
autostart = false
[program:unbalanced]
command = sh -c "echo
autostart = false
[program:failing]
command = sh -c 'sleep 0.3; exit 3'
autostart = false
startretries = 0
startsecs = 30
"""
PROGRAMS = (
    """
[program:cat]
command = cat
startsecs = 0

[program:many]
command = sleep 1000
process_name = %(program_name)s_%(process_num)02d
numprocs = 3
numprocs_start = 1
startsecs = 0
priority = 5
stopsignal = INT
exitcodes = 0,2, 7

[group:pair]
programs = left,right
priority = 20

[program:left]
command = sleep 1000
startsecs = 0
stdout_logfile = {place}/left.log
stdout_logfile_maxbytes = 1MB
stdout_logfile_backups = 3
redirect_stderr = true
priority = 2

[program:right]
command = sleep 1000
startsecs = 0
stdout_logfile = NONE
stderr_logfile = none
priority = 1
user = www-data
killasgroup = true
environment = A="1",B="two words"
directory = /
umask = 027
stopwaitsecs = 3
serverurl = http://127.0.0.1:9999

[program:manual]
command = sleep 1000
autostart = false
startsecs = 0

[program:missing]
command = /does/not/exist --at all
autostart = false

[program:nowhere]
command = there-is-no-such-command
autostart = false

"""
    + REFUSED
    + """
[program:done]
command = sh -c 'echo done; exit 0'
startsecs = 0
autorestart = unexpected

[program:wrong]
command = sh -c 'exit 4'
startsecs = 0
autorestart = false

[program:talker]
command = sh -c 'printf "first\\nsecond\\n"; printf "bad\\n" >&2; exec sleep 1000'
startsecs = 0
"""
)


# What the program talker has said, by the stream.
TALKED = [call(f"supervisor.readProcess{name}Log", "talker", 0, 0) for name in ("Stdout", "Stderr")]


@pytest.fixture(scope="module")
def pair(shared_supervisors: Supervisors) -> Pair:
    """Both daemons, their programs settled."""
    both = Pair(shared_supervisors, PROGRAMS)
    for daemon in (both.ours, both.theirs):
        for name in ("done", "wrong"):
            daemon.wait_state(name, "EXITED")
        wait_for(lambda daemon=daemon: [read(daemon) for read in TALKED] == ["first\nsecond\n", "bad\n"])
    return both


def soon(question: Callable[[Daemon], Any], wanted: Callable[[Any], bool]) -> Callable[[Daemon], Any]:
    """The question again and again until its answer is as wanted."""

    def patient(daemon: Daemon) -> Any:
        deadline = time.monotonic() + PATIENCE
        while not wanted(answer := question(daemon)) and time.monotonic() < deadline:
            time.sleep(0.05)
        return answer

    return patient


READS: list[tuple[Any, ...]] = [
    ("supervisor.getAPIVersion",),
    ("supervisor.getVersion",),
    ("supervisor.getSupervisorVersion",),
    ("supervisor.getIdentification",),
    ("supervisor.getState",),
    ("supervisor.getState", 1),
    ("supervisor.getAllProcessInfo",),
    ("supervisor.getAllProcessInfo", "extra"),
    ("supervisor.getAllConfigInfo",),
    *[
        ("supervisor.getProcessInfo", name)
        for name in ("cat", "pair:left", "many:many_01", "many:*", "many", "", "nope", ":")
    ],
    *[
        ("supervisor.getProcessInfo", name)
        for name in ("left", "pair:nope", "nope:*", "cat:cat", "cat:", "CAT", "done", "wrong")
    ],
    ("supervisor.getProcessInfo",),
    ("supervisor.getProcessInfo", "cat", "cat"),
    *[
        ("supervisor.readProcessStdoutLog", "talker", *window)
        for window in ((0, 0), (0, 5), (6, 100), (-4, 0), (-100, 0), (50, 10), (13, 0), (-1, 1), (0, -1), (5, -5))
    ],
    *[("supervisor.readProcessStderrLog", "talker", *window) for window in ((0, 0), (-2, 0), (0, -1))],
    *[
        ("supervisor.tailProcessStdoutLog", "talker", *window)
        for window in ((0, 5), (0, 100), (10, 100), (0, 0), (100, 3), (5, 8))
    ],
    ("supervisor.tailProcessStderrLog", "talker", 0, 100),
    ("supervisor.tailProcessLog", "talker", 0, 4),
    ("supervisor.readProcessLog", "talker", 0, 4),
    *[
        (f"supervisor.{method}Log", name, 0, 10)
        for method in ("readProcessStdout", "readProcessStderr", "tailProcessStdout")
        for name in ("nope", "pair:right", "many:*", "manual", "pair:left")
    ],
    ("supervisor.readProcessStdoutLog", "talker"),
    ("supervisor.readLog", -1, 1),
    ("supervisor.readLog", 0, -1),
    ("supervisor.readMainLog", 0, -1),
    ("supervisor.readLog", 1000000, 10),
    ("supervisor.readLog",),
    ("supervisor.sendRemoteCommEvent", "type", "data"),
    ("supervisor.sendProcessStdin", "nope", "x"),
    ("supervisor.sendProcessStdin", "manual", "x"),
    ("supervisor.sendProcessStdin", "many:*", "x"),
    ("supervisor.sendProcessStdin", "cat", 5),
    ("system.listMethods",),
    ("system.methodSignature", "supervisor.startProcess"),
    ("system.methodSignature", "supervisor.getAllProcessInfo"),
    ("system.methodSignature", "nope"),
    ("system.methodHelp", "nope"),
    ("system.methodHelp",),
    ("system.multicall", []),
    ("system.multicall", [{"methodName": "supervisor.getState", "params": []}, {"methodName": "supervisor.nope"}]),
    ("system.multicall", [{"methodName": "supervisor.getIdentification"}, {"params": []}]),
    ("system.multicall", [{"methodName": "system.multicall", "params": [[]]}]),
    ("system.multicall", [{"methodName": "supervisor.getProcessInfo", "params": ["nope"]}]),
    ("system.multicall", [{"methodName": "supervisor.getProcessInfo", "params": []}]),
    ("system.multicall", [{"methodName": "supervisor.stopProcess", "params": ["manual"]}]),
    ("supervisor.nope",),
    ("nope.getState",),
    ("getState",),
    ("supervisor._getState",),
    ("supervisor.supervisord.options",),
    ("system.__init__",),
    ("supervisor.stopProcess",),
    ("supervisor.startProcess", "cat", True, "extra"),
]


@pytest.mark.parametrize("question", READS, ids=lambda step: f"{step[0].rpartition('.')[2]}{step[1:]!r}"[:80])
def test_reading(pair: Pair, question: tuple[Any, ...]) -> None:
    pair.agree(call(*question))


LIFE: list[tuple[Any, ...]] = [
    ("startProcess", "manual"),
    ("startProcess", "manual"),
    ("getProcessInfo", "manual"),
    ("signalProcess", "manual", "CONT"),
    ("signalProcess", "manual", "SIGCONT"),
    ("signalProcess", "manual", "18"),
    ("signalProcess", "manual", 18),
    ("signalProcess", "manual", "NOPE"),
    ("signalProcess", "manual", ""),
    ("signalProcess", "manual", "1000"),
    ("stopProcess", "manual"),
    ("stopProcess", "manual"),
    ("getProcessInfo", "manual"),
    ("signalProcess", "manual", "CONT"),
    ("signalProcess", "nope", "CONT"),
    ("startProcess", "manual", False),
    ("stopProcess", "manual", False),
    *[
        (verb, name)
        for verb in ("startProcess", "stopProcess")
        for name in ("nope", "", "pair:nope", "nope:*", "left", "all")
    ],
    *[("startProcess", name) for name in ("missing", "nowhere", "folder", "plainfile", "unbalanced", "failing")],
    *[("startProcess", name, False) for name in ("missing", "failing")],
    *[("getProcessInfo", name) for name in ("missing", "folder", "unbalanced")],
    ("startProcess", "many:*"),
    ("stopProcess", "many:*"),
    ("stopProcess", "many:*"),
    ("startProcess", "many:*"),
    ("stopProcess", "many:"),
    ("startProcessGroup", "many"),
    ("startProcessGroup", "many"),
    ("signalProcess", "many:*", "CONT"),
    ("signalProcessGroup", "many", "CONT"),
    ("signalProcessGroup", "many", "NOPE"),
    ("signalProcessGroup", "nope", "CONT"),
    ("signalProcessGroup", "many:*", "CONT"),
    ("signalAllProcesses", "CONT"),
    ("signalAllProcesses", "NOPE"),
    ("stopProcess", "many:many_02"),
    ("startProcessGroup", "many"),
    ("stopProcess", "many:many_02"),
    ("stopProcessGroup", "many"),
    ("stopProcessGroup", "many"),
    ("stopProcessGroup", "nope"),
    ("startProcessGroup", "nope"),
    ("startProcessGroup", "cat"),
    ("startProcessGroup", "many", False),
    ("clearProcessLogs", "talker"),
    ("readProcessStdoutLog", "talker", 0, 0),
    ("clearProcessLog", "cat"),
    ("clearProcessLogs", "nope"),
    ("clearProcessLogs", "many:*"),
    ("addProcessGroup", "many"),
    ("addProcessGroup", "nope"),
    ("addProcessGroup", "left"),
    ("removeProcessGroup", "many"),
    ("removeProcessGroup", "nope"),
    ("reloadConfig",),
    ("stopProcessGroup", "many"),
    ("removeProcessGroup", "many"),
    ("removeProcessGroup", "many"),
    ("getProcessInfo", "many:many_01"),
    ("startProcess", "many:many_01"),
    ("reloadConfig",),
    ("addProcessGroup", "many"),
    ("reloadConfig",),
    ("clearLog",),
]


@pytest.mark.parametrize("question", LIFE, ids=lambda step: f"{step[0]}{step[1:]!r}"[:80])
def test_life(pair: Pair, question: tuple[Any, ...]) -> None:
    """In this order: every call starts from the states that the calls before it left."""
    pair.agree(call(f"supervisor.{question[0]}", *question[1:]))
    if question[1:] == ("failing", False):
        for daemon in (pair.ours, pair.theirs):
            daemon.wait_state("failing", "FATAL")


def test_stdin_arrives(pair: Pair) -> None:
    pair.agree(call("supervisor.sendProcessStdin", "cat", "héllo wörld\n"))
    pair.agree(soon(call("supervisor.readProcessStdoutLog", "cat", 0, 0), lambda answer: answer != ""))


def test_what_ends_at_once_may_be_started_again(pair: Pair) -> None:
    start = call("supervisor.startProcess", "done")
    assert start(pair.ours) is True
    assert soon(start, lambda answer: answer is True)(pair.theirs) is True, "where it does not see the end at once"
    for daemon in (pair.ours, pair.theirs):
        daemon.wait_state("done", "EXITED")
    pair.agree(call("supervisor.getProcessInfo", "done"))


def test_reload_config_names_what_changed(pair: Pair) -> None:
    changed = PROGRAMS.replace("command = cat", "command = cat -u").replace("[program:manual]", "[program:renamed]")
    pair.configure(changed)
    pair.agree(call("supervisor.reloadConfig"))
    pair.agree(call("supervisor.addProcessGroup", "renamed"))
    pair.agree(call("supervisor.startProcess", "renamed"))
    pair.configure(PROGRAMS)
    pair.agree(call("supervisor.reloadConfig"))
    pair.agree(call("supervisor.stopProcess", "renamed"))
    pair.agree(call("supervisor.removeProcessGroup", "renamed"))
    pair.agree(call("supervisor.addProcessGroup", "manual"))


@pytest.mark.parametrize(
    "broken",
    ["[program:x]\n", "[program:x]\ncommand = a\nnumprocs = many\n", "[program:x]\ncommand = %(nope)s\n", "nonsense\n"],
    ids=["no command", "no number", "no such name", "no section"],
)
def test_a_broken_configuration_is_refused(pair: Pair, broken: str) -> None:
    pair.configure(PROGRAMS + broken)
    ours, theirs = (call("supervisor.reloadConfig")(daemon) for daemon in (pair.ours, pair.theirs))
    pair.configure(PROGRAMS)
    assert ours["faultCode"] == theirs["faultCode"] == 92
    assert ours["faultString"].startswith("CANT_REREAD: ")
    pair.agree(call("supervisor.getAllProcessInfo"))


def test_all_down_and_up(pair: Pair) -> None:
    """supervisord stops in ascending order, we in descending: the elements are the same."""
    pair.agree(
        lambda daemon: sorted(daemon.rpc.supervisor.stopAllProcesses(), key=lambda row: (row["group"], row["name"]))
    )
    pair.agree(call("supervisor.stopAllProcesses"))
    pair.agree(lambda daemon: daemon.states())


def test_a_variable_that_is_taken_away_and_still_used(supervisors: Supervisors) -> None:
    """supervisord goes on expanding it, until a reload ends it (B1); we say at once who uses it, and change nothing."""
    program = "[program:a]\ncommand = sleep %(ENV_SECONDS)s\nstartsecs = 0\n"
    both = Pair(supervisors, program, 'environment = SECONDS="1000"\n')
    pids = [daemon.wait_state("a", "RUNNING")["pid"] for daemon in (both.ours, both.theirs)]
    both.configure(program)
    ours, theirs = (call("supervisor.reloadConfig")(daemon) for daemon in (both.ours, both.theirs))
    assert theirs == [[[], ["a"], []]]
    assert ours["faultCode"] == 92
    assert "contains names ('ENV_SECONDS')" in ours["faultString"]
    assert f"{both.ours.config}:" in ours["faultString"]
    for verb in ("update", "reload"):
        said = both.ours.ctl(verb)
        assert (said.returncode, "[program:a] command" in said.stdout) == (1, True)
    assert both.ours.info("a")["pid"] == pids[0]
    assert both.theirs.ctl("reload").returncode == 0
    assert both.theirs.process.wait(60) == 2
    assert not alive(pids[1])


@pytest.mark.parametrize("verb", ["update", "reload"])
def test_a_variable_that_is_taken_away(supervisors: Supervisors, verb: str) -> None:
    """It is one of every program, which starts again without it; and nothing is left that was not in force."""
    program = """
        [program:a]
        command = sh -c 'echo "one=$ONE two=$TWO"; exec sleep 1000'
        stdout_logfile = {place}/a.log
        startsecs = 0
        """
    both = Pair(supervisors, program, 'environment = ONE="1",TWO="2"\n')
    for daemon in (both.ours, both.theirs):
        wait_for(lambda daemon=daemon: daemon.read("a.log") == "one=1 two=2\n")
        daemon.configure(program, 'environment = TWO="2"\n')
    both.agree(call("supervisor.reloadConfig"))
    assert both.theirs.info("a")["statename"] == both.ours.info("a")["statename"] == "RUNNING"
    for daemon in (both.ours, both.theirs):
        said = daemon.ctl(verb)
        assert (said.returncode, said.stderr) == (0, "")
        wait_for(lambda daemon=daemon: daemon.read("a.log") == "one=1 two=2\none= two=2\n")
    assert both.ours.api("/daemon")["problems"] == []


ALL = (
    """
[program:talker]
command = sh -c 'echo out; echo err >&2; exec sleep 1000'
startsecs = 0
[program:silent]
command = sleep 1000
autostart = false
startsecs = 0
stdout_logfile = NONE
stderr_logfile = NONE
[program:missing]
command = /does/not/exist
autostart = false
"""
    + REFUSED
    + """\
[program:patient]
command = sleep 1000
autostart = false
startsecs = 3600
[group:g]
programs = a,b
[program:a]
command = sleep 1000
startsecs = 0
[program:b]
command = sleep 1000
autostart = false
startsecs = 0
"""
)
WITHOUT_PATIENCE = re.sub(r"(?s)\[program:patient\].*?(?=\[)", "", ALL)


def test_all_of_them(supervisors: Supervisors) -> None:
    """The verbs for all processes, some of which run already, and some of which cannot."""
    both = Pair(supervisors, WITHOUT_PATIENCE)
    for daemon in (both.ours, both.theirs):
        for name in ("talker", "g:a"):
            daemon.wait_state(name, "RUNNING")
        wait_for(lambda daemon=daemon: all(read(daemon) for read in TALKED))
    both.agree(call("supervisor.clearAllProcessLogs"))
    both.agree(lambda daemon: [read(daemon) for read in TALKED])
    both.agree(call("supervisor.clearAllProcessLogs", "x"))
    both.agree(call("supervisor.startAllProcesses"))
    both.agree(Daemon.states)
    both.agree(call("supervisor.stopAllProcesses"))
    for name in ("missing", "folder", "plainfile", "unbalanced", "failing"):
        both.agree(call("supervisor.getProcessInfo", name))
    both.agree(call("supervisor.startAllProcesses", "yes", "no"))


def test_all_of_them_without_waiting(supervisors: Supervisors) -> None:
    """Whoever does not wait is told of what is known before anything has been tried, and no more."""
    both = Pair(supervisors, re.sub(r"(?s)\[program:failing\].*?(?=\[)", "", ALL))
    both.agree(call("supervisor.startAllProcesses", False))
    both.agree(Daemon.states)
    both.agree(call("supervisor.stopAllProcesses", False))


def test_a_start_that_another_client_ends(supervisors: Supervisors) -> None:
    """Fault 40: it has left STARTING without having been RUNNING, and nothing is wrong with it."""

    def start(daemon: Daemon) -> Any:
        answers: list[Any] = []
        waiting = Thread(target=lambda: answers.append(call("supervisor.startProcess", "patient")(daemon)))
        waiting.start()
        daemon.wait_state("patient", "STARTING")
        stopped = call("supervisor.stopProcess", "patient")(daemon)
        waiting.join(60)
        return [stopped, *answers]

    both = Pair(supervisors, ALL)
    both.agree(start)
    assert start(both.ours)[1]["faultCode"] == 40
