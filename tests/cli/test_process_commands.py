"""Actions on processes: supervisorctl's answers, line by line, and what we have beyond them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.pairs import Pair, start_pair
from tests.daemons import Daemon, Supervisors
from tests.tools import wait_for

pytestmark = pytest.mark.xdist_group("process_commands")


@pytest.fixture(scope="module")
def pair(shared_supervisors: Supervisors) -> Pair:
    return start_pair(shared_supervisors)


@pytest.fixture
def ours(pair: Pair) -> Daemon:
    return pair.ours


QUIET = [  # change nothing
    *(
        "status",
        "status all",
        "status cat",
        "status cat two:two_00 cat",
        "status two:*",
        "status two:",
        "status duo:left",
    ),
    *("status nosuch", "status nosuch:x", "status g:*", "status nosuch g:* cat", "status two", "status missing"),
    *("signal HUP", "signal FOO cat", "signal CONT cat nosuch two:* nolog g:*", "signal CONT missing", "signal 18 cat"),
    *("signal SIGCONT cat", "signal CONT duo:*", "signal CONT", "signal"),
    *("pid", "pid cat", "pid cat nosuch nolog", "pid missing", "pid all", "pid nosuch"),
    *("start cat", "start nosuch", "start g:*", "start nosuch cat g:*", "start cat nosuch", "start two:*", "start"),
    *("stop missing", "stop nosuch", "stop g:*", "stop missing nosuch", "stop"),
    *("restart nosuch", "restart g:*", "restart nosuch g:*", "restart"),
    *("start missing", "start locked", "start dies", "start missing cat", "start missing dies", "start dies missing"),
    *("clear cat", "clear nolog", "clear nosuch", "clear cat nosuch two:two_00", "clear all", "clear"),
]


@pytest.mark.parametrize("line", QUIET)
def test_the_same_answer(pair: Pair, line: str) -> None:
    ours, theirs = pair.answers(line)
    if ours.out.startswith("Error: "):  # what follows is the action's own help
        assert ours.out.splitlines()[0] == theirs.out.splitlines()[0]
    else:
        assert ours.out == theirs.out
    assert (ours.err, ours.code) == (theirs.err, theirs.code)


STORIES = [  # change something; the daemons are alike again at the end
    ["start off", "status", "stop off", "status off", "stop off"],
    ["stop cat nolog nosuch", "status cat nolog", "start nolog cat", "status cat nolog"],
    ["stop two:*", "stop two:*", "start two:two_01", "start two:*", "start two:*"],
    ["stop two:two_00", "restart two:*", "restart two:two_00 cat"],
    ["restart off missing", "stop off"],
    ["stop two:two_00 two:two_01 cat", "start two: cat"],
    ["restart cat nosuch two:*", "start duo:right duo:left", "stop duo:right", "restart duo:*", "stop duo:right"],
]


@pytest.mark.parametrize("story", STORIES, ids=" / ".join)
def test_the_same_story(pair: Pair, story: list[str]) -> None:
    for line in story:
        ours, theirs = pair.answers(line)
        if "*" in line:  # a group's lines come as its processes finish
            ours, theirs = (replace(one, out="\n".join(sorted(one.out.splitlines()))) for one in (ours, theirs))
        assert ours == theirs, line


def test_all(pair: Pair) -> None:
    """The lines of `all` come as processes finish, or by priority: in no order to rely on."""
    for line in ("stop all", "stop cat all", "start all", "restart all"):
        ours, theirs = pair.answers(line)
        assert sorted(ours.out.splitlines()) == sorted(theirs.out.splitlines()), line
    pair.answers("stop off duo:right")


def test_wildcards(ours: Daemon) -> None:
    assert ours.ctl("status", "two:two_*").stdout.count("RUNNING") == 2
    run = ours.ctl("restart", "two_0[01]")
    assert run.stdout.split("\n")[:4] == [
        *("two:two_00: stopped", "two:two_01: stopped", "two:two_00: started", "two:two_01: started"),
    ]
    assert (ours.ctl("start", "web-*").stdout, ours.ctl("start", "web-*").returncode) == (
        *("web-*: ERROR (no such process)\n",),
        1,
    )


def test_clear_of_a_group(ours: Daemon) -> None:
    assert ours.ctl("clear", "two:*").stdout == "two:two_00: cleared\ntwo:two_01: cleared\n"


def test_json(ours: Daemon) -> None:
    rows = json.loads(ours.ctl("status", "--json").stdout)
    assert {row["namespec"]: row["statename"] for row in rows}["two:two_00"] == "RUNNING"
    run = ours.ctl("status", "--json", "cat", "nosuch")
    assert json.loads(run.stdout)[0]["name"] == "cat"
    assert (run.stderr, run.returncode) == ("nosuch: ERROR (no such process)\n", 4)
    run = ours.ctl("restart", "cat", "nosuch", "--json")
    assert [(row["action"], row["namespec"], row["fault"]) for row in json.loads(run.stdout)] == [
        *(("stop", "cat", "SUCCESS"), ("stop", "nosuch", "BAD_NAME")),
        *(("start", "cat", "SUCCESS"), ("start", "nosuch", "BAD_NAME")),
    ]
    assert json.loads(ours.ctl("explain", "cat", "--json").stdout)[0]["process"]["name"] == "cat"


def test_wide(ours: Daemon) -> None:
    head, *rows = ours.ctl("status", "--wide").stdout.splitlines()
    assert head.split() == ["NAME", "STATE", "PID", "UPTIME", "RESTARTS", "LAST", "EXIT"]
    assert any(row.startswith("cat ") and "RUNNING" in row for row in rows)
    assert "\x1b" not in head


def test_wait(ours: Daemon) -> None:
    assert ours.ctl("wait", "cat", "two:*").stdout == "cat: running\ntwo:two_00: running\ntwo:two_01: running\n"
    assert ours.ctl("wait", "off", "--for", "stopped").stdout == "off: stopped\n"
    run = ours.ctl("wait", "off", "--timeout", "0.2")
    assert run.stdout.startswith("off: ERROR (off is STOPPED, not running, after 0.")
    assert run.returncode == 1
    ours.ctl("start", "dies")
    run = ours.ctl("wait", "cat", "dies")
    assert run.stdout.startswith("cat: running\ndies: ERROR (dies is FATAL: Exited too quickly")
    assert run.returncode == 7  # as of a start that fails
    assert ours.ctl("wait").returncode == 1
    assert ours.ctl("wait", "nosuch").returncode == 1


def test_explain(ours: Daemon) -> None:
    ours.ctl("start", "dies")
    lines = ours.ctl("explain", "dies").stdout.splitlines()
    assert lines[0].startswith("dies: FATAL: gave up after a failed start")
    assert any("exit status 3" in line for line in lines)
    run = ours.ctl("explain", "cat", "nosuch")
    assert run.stdout.startswith("nosuch: ERROR (no such process)\ncat: RUNNING: ")
    assert run.returncode == 1


def test_restart_only_running(ours: Daemon) -> None:
    run = ours.ctl("restart", "--only-running", "off", "cat")
    assert (run.stdout, run.returncode) == ("cat: stopped\ncat: started\n", 0)


def test_rotate(ours: Daemon) -> None:
    ours.ctl("stop", "talks")
    ours.ctl("clear", "talks")
    ours.ctl("start", "talks")  # writes a line when it starts
    wait_for(lambda: "one" in ours.ctl("tail", "talks").stdout, "talks has talked")
    run = ours.ctl("rotate", "talks", "nosuch")
    assert (run.stdout, run.returncode) == ("talks: rotated\nnosuch: ERROR (no such process)\n", 1)
    assert ours.ctl("tail", "talks").stdout == "\n"
    assert "cat: rotated\n" in ours.ctl("rotate").stdout


TOGETHER = """#!/bin/sh
cd "$(dirname "$0")"
trap 'touch told-$NUMBER; while [ $(ls told-* | wc -l) -lt 5 ]; do sleep 0.05; done; exit' TERM
touch up-$NUMBER
while :; do sleep 0.05; done
"""


def test_stops_are_parallel(supervisors: Supervisors, place: Path) -> None:
    """Each of these ends when all of them have been told to."""
    (place / "slow.sh").write_text(TOGETHER)
    (place / "slow.sh").chmod(0o755)
    daemon = supervisors.start(
        "supervise",
        """
        [program:slow]
        stopwaitsecs = 50
        command = {place}/slow.sh
        process_name = %(process_num)d
        environment = NUMBER="%(process_num)d"
        numprocs = 5
        startsecs = 0
        """,
        place=place,
    )
    wait_for(lambda: len(list(place.glob("up-*"))) == 5)
    run = daemon.ctl("stop", *(f"slow:{number}" for number in range(5)))
    assert run.stdout.count(": stopped\n") == 5
    assert "SIGKILL" not in daemon.wait_log("'action': 'stop'")


def test_now_cuts_a_backoff_short(supervisors: Supervisors) -> None:
    daemon = supervisors.start(
        "supervise",
        """
        [program:late]
        command = sh -c 'test -e {place}/ready && exec sleep 1000; exit 1'
        startretries = 100
        """,
    )

    def deep() -> bool:
        info = daemon.api("/processes/late")
        return bool(info["statename"] == "BACKOFF" and info["tries"] >= 4 and info["next_retry"] > 3)

    daemon.wait_state("late", "BACKOFF")
    assert daemon.ctl("start", "late").stdout == "late: ERROR (already started)\n"
    wait_for(deep, "several failed starts, and long to go")
    (daemon.place / "ready").touch()
    assert daemon.ctl("start", "--now", "late").returncode == 0
    daemon.wait_state("late", "RUNNING")
