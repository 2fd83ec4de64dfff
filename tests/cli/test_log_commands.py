"""tail, maintail and events: supervisorctl's answers, and what we have beyond them."""

import json
import select
import subprocess

import pytest

from tests.cli.pairs import Pair, start_pair
from tests.daemons import Supervisors, client_command
from tests.tools import wait_for

pytestmark = pytest.mark.xdist_group("log_commands")


@pytest.fixture(scope="module")
def pair(shared_supervisors: Supervisors) -> Pair:
    pair = start_pair(shared_supervisors)
    for daemon in (pair.ours, pair.theirs):
        wait_for(lambda daemon=daemon: daemon.ctl("tail", "talks", "stderr").stdout == "two\n\n", "talks has talked")
    return pair


QUIET = [
    *("tail", "tail talks", "tail talks stderr", "tail talks STDERR", "tail -2 talks", "tail -2 talks stderr"),
    *("tail -0 talks", "tail -99999 talks", "tail cat", "tail nolog", "tail nosuch", "tail talks foo", "tail -x talks"),
    *(
        "tail -x",
        "tail a b c d",
        "tail talks stdout x",
        "tail two:two_00",
        "tail two:*",
        "tail missing",
    ),
    *("maintail x", "maintail -x", "maintail a b"),
    *("fg", "fg a b", "fg nosuch", "fg missing"),
]


@pytest.mark.parametrize("line", QUIET)
def test_the_same_answer(pair: Pair, line: str) -> None:
    ours, theirs = pair.answers(line)
    if ours.out.startswith("Error: ") or line == "fg":  # what follows is the action's own help
        assert ours.out.splitlines()[0] == theirs.out.splitlines()[0]
    else:
        assert ours.out == theirs.out
    assert (ours.err, ours.code) == (theirs.err, theirs.code)


def test_maintail(pair: Pair) -> None:
    log = pair.ours.log
    assert pair.ours.ctl("maintail", "-99999999").stdout.startswith(log)
    assert len(pair.ours.ctl("maintail", "-300").stdout) == 300 + 1
    assert len(pair.ours.ctl("maintail", "-n", "2").stdout.splitlines()) == 2


def test_lines(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", "[program:p]\ncommand = sh -c 'seq 100; exec sleep 1000'\n")
    wait_for(lambda: daemon.ctl("tail", "p").stdout.endswith("100\n\n"), "everything is written")
    assert daemon.ctl("tail", "-n", "3", "p").stdout == "98\n99\n100\n"
    assert daemon.ctl("tail", "p", "-n", "1", "stdout").stdout == "100\n"
    assert daemon.ctl("tail", "-n", "0", "p").stdout == ""
    assert daemon.ctl("tail", "-n", "x", "p").returncode != 0


def test_bytes_are_passed_untouched(supervisors: Supervisors) -> None:
    daemon = supervisors.start(
        "supervise",
        r"""
        [program:p]
        command = sh -c "printf 'a\\377\\000\\303\\274'; exec sleep 1000"
        """,
    )

    def tail() -> bytes:
        argv = [*client_command("supervise"), "-c", str(daemon.config), "tail", "p"]
        return subprocess.run(argv, capture_output=True, env=daemon.env, timeout=60).stdout

    wait_for(lambda: tail() == b"a\xff\x00\xc3\xbc\n", "the bytes as written")


def test_events(pair: Pair) -> None:
    argv = [*client_command("supervise"), "-c", str(pair.ours.config), "events", "--json"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=pair.ours.env) as client:
        output = client.stdout
        assert output is not None
        seen = []
        try:
            # The stream is open some time after the start: restart until it has been seen.
            def heard() -> bool:
                pair.ours.ctl("restart", "cat")
                if select.select([output], [], [], 0.5)[0]:
                    seen.append(json.loads(output.readline()))
                return bool(seen)

            wait_for(heard, "an event")
        finally:
            client.kill()
    assert seen[0]["type"].startswith("PROCESS_STATE_")
    assert seen[0]["name"] == "cat"
