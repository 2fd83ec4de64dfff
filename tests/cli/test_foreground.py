"""Following logs and talking to a process, in a terminal."""

import os

import pytest

from tests.cli.terminal import Terminal
from tests.daemons import Daemon, Supervisors
from tests.tools import wait_for

pytestmark = pytest.mark.xdist_group("foreground")
LEAVE = "==> Press Ctrl-C to exit <==\n"

PROGRAMS = """
[program:cat]
command = cat
startsecs = 0
autorestart = false
[program:a]
command = sh -c 'exec 3<>{place}/fifo_a; echo first; while read line <&3; do echo "$line"; done'
startsecs = 0
[program:long-b]
command = sh -c 'echo other >&2; echo b1; exec sleep 1000'
startsecs = 0
[program:off]
command = sleep 1000
autostart = false
"""


@pytest.fixture(scope="module")
def daemon(shared_supervisors: Supervisors) -> Daemon:
    place = shared_supervisors.place()
    os.mkfifo(place / "fifo_a")
    daemon = shared_supervisors.start("supervise", PROGRAMS, place=place)
    wait_for(lambda: daemon.ctl("tail", "long-b").stdout == "b1\n\n", "b has talked")
    wait_for(lambda: daemon.ctl("tail", "a").stdout.startswith("first\n"), "a has talked")
    return daemon


def terminal(daemon: Daemon, *words: str) -> Terminal:
    return Terminal(daemon, "-c", str(daemon.config), *words)


def say(daemon: Daemon, text: str) -> None:
    (daemon.place / "fifo_a").write_text(text)


def test_follow(daemon: Daemon) -> None:
    with terminal(daemon, "tail", "-f", "a") as it:
        it.expect(LEAVE + "first\n")
        say(daemon, "second\n")
        it.expect("second\n")
        daemon.ctl("rotate", "a")
        say(daemon, "after the rotation\n")
        it.expect("after the rotation\n")
        it.type("\x03")
        assert it.code() == 0


def test_follow_several(daemon: Daemon) -> None:
    with terminal(daemon, "tail", "-f", "a", "long-b", "nosuch") as it:
        seen = it.expect("b1\n")
        assert seen.startswith(LEAVE + "nosuch: ERROR (no such process name)\n")
        say(daemon, "third\n")
        assert "a      " in it.expect("third\n")
        it.type("\x03")
        assert it.code() == 1


def test_follow_from_lines(daemon: Daemon) -> None:
    with terminal(daemon, "tail", "-n", "1", "-f", "long-b", "stderr") as it:
        it.expect(LEAVE + "other\n")


def test_follow_the_main_log(daemon: Daemon) -> None:
    with terminal(daemon, "maintail", "-f") as it:
        it.expect(LEAVE)
        daemon.ctl("restart", "off")
        it.expect("spawned: 'off'")
        daemon.ctl("stop", "off")
        it.type("\x03")
        assert it.code() == 0


def test_fg(daemon: Daemon) -> None:
    with terminal(daemon, "fg", "cat") as it:
        it.expect(LEAVE)
        it.type("hello\n")
        it.expect("hello\n")  # the terminal's echo
        it.expect("hello\n")  # and cat's
        it.type("\x03")
        it.expect("Exiting foreground\n")
        assert it.code() == 0


def test_fg_until_the_process_ends(daemon: Daemon) -> None:
    with terminal(daemon, "fg", "long-b") as it:
        it.expect(LEAVE)
        it.expect("b1\n")
        daemon.ctl("stop", "long-b")
        it.expect("Process got killed\nExiting foreground\n")
        assert it.code() == 0
    daemon.ctl("start", "long-b")


def test_fg_until_the_input_ends(daemon: Daemon) -> None:
    run = daemon.ctl("fg", "cat", stdin="from a pipe\n")
    assert run.stdout.startswith(LEAVE)
    assert run.stdout.endswith("Exiting foreground\n")
    wait_for(lambda: "from a pipe\n" in daemon.ctl("tail", "cat").stdout, "cat has got it")


def test_status_again_and_again(daemon: Daemon) -> None:
    again = "\x1b[H\x1b[J"
    with terminal(daemon, "status", "--watch", "cat") as it:
        it.expect(again)
        it.expect(f"  {daemon.info('cat')['pid']}  ")
        it.expect(again)
        daemon.rpc.supervisor.stopProcess("cat")
        it.expect("STOPPED")
        daemon.rpc.supervisor.startProcess("cat")
        it.expect(f"  {daemon.info('cat')['pid']}  ")
        it.type("\x03")
        assert it.code() == 0
