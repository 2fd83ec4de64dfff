"""Actions on groups, configuration and daemon: supervisorctl's answers, and what we have beyond them."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.cli.pairs import Pair, answer, start_pair
from tests.daemons import Supervisors, sleepers
from tests.tools import alive, wait_for

pytestmark = pytest.mark.xdist_group("daemon_commands")

BEFORE = sleepers("stays", "goes", "changes")
AFTER = sleepers("stays", "comes") + sleepers("changes").replace("1000", "1001")
BAD = BEFORE + "[program:bad]\n"


@pytest.fixture(scope="module")
def pair(shared_supervisors: Supervisors) -> Pair:
    return start_pair(shared_supervisors, BEFORE)


@pytest.fixture
def own_pair(supervisors: Supervisors) -> Pair:
    return start_pair(supervisors, BEFORE)


def configure(pair: Pair, programs: str) -> None:
    for daemon in (pair.ours, pair.theirs):
        daemon.configure(programs)


QUIET = [
    *("avail", "avail x", "reread", "reread x", "update", "update nosuch", "update all", "update stays"),
    *(
        "add stays",
        "add nosuch",
        "add",
        "add nosuch stays",
        "remove stays",
        "remove nosuch",
        "remove",
        "remove nosuch goes",
    ),
    *("version", "version x", "shutdown x", "reload x", "open foo", "open unix:///nonexistent", "open"),
    *("help nosuch", "quit", "exit", "foo bar", "foo", "?nosuch"),
]


@pytest.mark.parametrize("line", QUIET)
def test_the_same_answer(pair: Pair, line: str) -> None:
    ours, theirs = pair.answers(line)
    if ours.out.startswith("Error: "):  # what follows is the action's own help
        assert ours.out.splitlines()[0] == theirs.out.splitlines()[0]
    else:
        assert ours.out == theirs.out
    assert (ours.err, ours.code) == (theirs.err, theirs.code)


def test_help(pair: Pair) -> None:
    ours, theirs = pair.answers("help")
    assert ours.out.splitlines()[:3] == theirs.out.splitlines()[:3]
    assert set(theirs.out.split()) <= set(ours.out.split())
    for action in ours.out.split()[7:]:
        assert pair.ours.ctl("help", action).stdout.startswith(action)
    assert pair.ours.ctl("help", "help").stdout.startswith("help")


def test_groups_come_and_go(own_pair: Pair) -> None:
    configure(own_pair, AFTER)
    story = [
        *("reread", "avail", "add comes", "add comes", "remove goes", "stop goes", "remove goes", "status", "reread"),
        *("start comes changes", "status goes", "add goes"),
    ]
    for line in story:
        ours, theirs = own_pair.answers(line)
        assert ours == theirs, line


def test_update(own_pair: Pair) -> None:
    configure(own_pair, AFTER)
    stays = own_pair.ours.info("stays")["pid"]
    ours, theirs = own_pair.answers("update")
    # Ours also tells what happens to single processes; the order of the groups means nothing.
    assert set(theirs.out.splitlines()) <= set(ours.out.splitlines())
    assert (ours.err, ours.code) == (theirs.err, theirs.code)
    for line in ("status", "reread", "update", "avail"):
        ours, theirs = own_pair.answers(line)
        assert ours == theirs, line
    assert own_pair.ours.info("stays")["pid"] == stays


def test_update_of_named_groups(own_pair: Pair) -> None:
    configure(own_pair, AFTER)
    for line in ("update comes nosuch", "status", "update goes", "status"):
        ours, theirs = own_pair.answers(line)
        assert ours == theirs, line


PLAN = {"goes:": "removed", "comes:": "added", "changes:": "updated"}


def test_dry_run(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", BEFORE)
    daemon.configure(AFTER)
    before = daemon.states()
    run = daemon.ctl("update", "--dry-run")
    assert {f"{name} process group would be {done}" for name, done in PLAN.items()} <= set(run.stdout.splitlines())
    assert daemon.states() == before
    plan = json.loads(daemon.ctl("update", "--dry-run", "--json").stdout)
    assert {step["group"] for step in plan} == {"goes", "comes", "changes"}
    assert json.loads(daemon.ctl("reread", "--json").stdout)["added"] == ["comes"]
    daemon.configure(BEFORE)
    assert daemon.ctl("update", "--dry-run").stdout == "No config updates to processes\n"


def test_a_bad_configuration(own_pair: Pair) -> None:
    configure(own_pair, BAD)
    ours, theirs = own_pair.answers("reread")
    assert ours.out.startswith("ERROR: CANT_REREAD: ")
    assert theirs.out.startswith("ERROR: CANT_REREAD: ")
    assert "program:bad" in ours.out
    assert ours.code == theirs.code == 1
    ours, theirs = own_pair.answers("update")
    assert ours.out.startswith("ERROR: CANT_REREAD: ")  # theirs: the repr of an exception
    assert ours.code == theirs.code == 1
    before = own_pair.ours.states()
    run = own_pair.ours.ctl("reload")  # theirs would stop everything and die
    assert run.stdout.startswith("ERROR: CANT_REREAD: ")
    assert run.returncode == 1
    assert own_pair.ours.states() == before


def test_shutdown(own_pair: Pair) -> None:
    ours, theirs = own_pair.answers("shutdown")
    assert ours == theirs
    assert ours.out == "Shut down\n"
    for daemon in (own_pair.ours, own_pair.theirs):
        daemon.disconnect()
        daemon.process.wait(60)
    for line in ("shutdown", "status", "pid", "start x", "version", "tail x", "fg x", "open foo"):
        ours, theirs = own_pair.answers(line)
        assert ours == theirs, line
    for line in ("reread", "update", "avail", "add x", "remove x", "reload"):
        ours, theirs = own_pair.answers(line)
        assert ours.out == "error: unix://PLACE/s.sock no such file\n", line  # theirs: the repr of an exception
        assert ours.code == theirs.code == 1, line


def test_shutdown_that_waits(supervisors: Supervisors) -> None:
    daemon = supervisors.start(
        "supervise", "[program:slow]\ncommand = sh -c 'trap \"sleep 0.5; exit\" TERM; while :; do sleep 0.05; done'\n"
    )
    run = daemon.ctl("shutdown", "--wait")
    assert (run.stdout, run.returncode) == ("Shut down\n", 0)
    assert not alive(daemon.pid)


def test_reload_that_waits(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", BEFORE)
    before = daemon.info("stays")["pid"]
    run = daemon.ctl("reload", "--wait")
    assert (run.stdout, run.returncode) == ("Restarted supervisord\n", 0)
    after = daemon.wait_state("stays", "RUNNING")
    assert after["pid"] != before


def test_a_reload_that_a_shutdown_overtakes(supervisors: Supervisors) -> None:
    deaf = "trap '' TERM; touch {place}/deaf; while ! test -e {place}/go; do sleep 0.05; done"
    program = f'[program:deaf]\ncommand = bash -c "{deaf}"\nstopwaitsecs = 600\nstartsecs = 0\n'
    daemon = supervisors.start("supervise", program)
    wait_for((daemon.place / "deaf").exists, "a program that is deaf to SIGTERM")
    with ThreadPoolExecutor() as pool:
        reload = pool.submit(daemon.ctl, "reload", "--wait")
        daemon.wait_log("waiting for deaf to die")
        daemon.process.terminate()
        daemon.wait_log("received SIGTERM")
        (daemon.place / "go").touch()
        run = reload.result()
    assert (run.stdout, run.stderr, run.returncode) == ("ERROR: already shutting down\n", "", 1)
    assert daemon.stop() == 0


def test_a_reload_that_could_not_open_a_port(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", BEFORE)
    before = daemon.wait_state("stays", "RUNNING")["pid"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        daemon.configure(BEFORE + f"[inet_http_server]\nport = 127.0.0.1:{port}\n")
        note = "changed in the files, not in force before a reload or a restart: [inet_http_server]\n"
        for words in (("reread",), ("update",), ("update", "--dry-run", "--json")):
            assert daemon.ctl(*words).stderr == note
        run = daemon.ctl("reload", "--wait")
        assert run.returncode == 1
        assert run.stdout.startswith("error: FAILED: everything has been started anew, but Another program is already")
        assert f"127.0.0.1:{port}" in run.stdout
        assert any(f"127.0.0.1:{port}" in problem for problem in daemon.api("/daemon")["problems"])
    assert daemon.wait_state("stays", "RUNNING")["pid"] != before
    assert (daemon.ctl("reload", "--wait").returncode, daemon.api("/daemon")["problems"]) == (0, [])


def test_shutting_down(supervisors: Supervisors) -> None:
    daemon = supervisors.start(
        "supervise",
        """
        [program:stubborn]
        command = sh -c 'trap "" TERM; touch {place}/deaf; while :; do sleep 0.05; done'
        stopwaitsecs = 1000
        """,
    )
    wait_for((daemon.place / "deaf").exists, "a program that is deaf to SIGTERM")
    assert daemon.ctl("shutdown").stdout == "Shut down\n"
    expected = {
        "shutdown": ("ERROR: already shutting down\n", 0),
        "reload": ("ERROR: already shutting down\n", 1),
        "update": ("ERROR: already shutting down\n", 1),
        "reread": ("ERROR: supervisor shutting down\n", 1),
        "add x": ("ERROR: shutting down\n", 1),
    }
    for line, (text, code) in expected.items():
        found = answer(daemon, *line.split())
        assert (found.out, found.code) == (text, code), line
    assert "STOPPING" in daemon.ctl("status").stdout
    assert answer(daemon, "start", "x").code == 1
    daemon.ctl("signal", "KILL", "stubborn")
    daemon.process.kill()
