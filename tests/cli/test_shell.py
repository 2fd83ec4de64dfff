"""The interactive shell, in a terminal and through a pipe."""

import re
from pathlib import Path

import pytest

from tests.cli.pairs import Pair, answer, start_pair
from tests.cli.terminal import Terminal
from tests.daemons import Daemon, Supervisors
from tests.tools import free_ports

pytestmark = pytest.mark.xdist_group("shell")
PROMPT = "supervisor> "


@pytest.fixture(scope="module")
def pair(shared_supervisors: Supervisors) -> Pair:
    return start_pair(shared_supervisors)


def shell(daemon: Daemon, *words: str) -> Terminal:
    return Terminal(daemon, "-c", str(daemon.config), *words)


INPUTS = [
    "",
    "\n\n",
    "status cat\nfoo bar\n\npid nosuch\nquit\nstatus",
    "exit\n",
    "shutdown\nn\nreload\n\nversion\n",
    "open unix:///nonexistent\nstatus\nstop x\nopen foo\n",
    "start cat\nstart nosuch\n",
    "?nosuch\nhelp nosuch\n!ls\n",
    "shutdown\n",
]


@pytest.mark.parametrize("text", INPUTS)
def test_through_a_pipe(pair: Pair, text: str) -> None:
    """Prompts and all, as supervisorctl; the exit code is 0."""
    ours, theirs = answer(pair.ours, stdin=text), answer(pair.theirs, stdin=text)
    if text != "shutdown\n":  # supervisorctl shows the EOFError that its own question met
        assert ours.out == theirs.out
    assert (ours.err, ours.code) == (theirs.err, theirs.code) == ("", 0)


def test_an_action_with_i_only_asks(pair: Pair) -> None:
    ours, theirs = answer(pair.ours, "-i", "shutdown", stdin="n\n"), answer(pair.theirs, "-i", "shutdown", stdin="n\n")
    assert ours == theirs
    assert ours.out == "Really shut the remote supervisord process down y/N? "
    assert answer(pair.ours, "-i", "status", "nosuch") == answer(pair.theirs, "-i", "status", "nosuch")


def test_a_session(pair: Pair) -> None:
    with shell(pair.ours) as terminal:
        first = terminal.expect(PROMPT)
        assert re.search(r"NAME +STATE +PID", first)
        assert "\x1b[32mRUNNING" in first
        terminal.type("stop cat\n")
        assert "cat: stopped" in terminal.expect(PROMPT)
        terminal.type("start cat\n")
        assert "cat: started" in terminal.expect(PROMPT)
        terminal.type("reload\n")
        terminal.expect("Really restart the remote supervisord process y/N? ")
        terminal.type("n\n")
        terminal.expect(PROMPT)
        terminal.type("status --nope\n")
        terminal.expect("No such option")
        terminal.expect(PROMPT)
        terminal.type("\x04")
        assert terminal.code() == 0


def test_no_color(pair: Pair) -> None:
    with Terminal(pair.ours, "-c", str(pair.ours.config), "status", NO_COLOR="1") as terminal:
        assert terminal.code() == 3
        assert "RUNNING" in terminal.text
        assert "\x1b" not in terminal.text


def test_control_c_leaves(pair: Pair) -> None:
    with shell(pair.ours) as terminal:
        terminal.expect(PROMPT)
        while not terminal.ended(1):  # Python sees what comes between the prompt and readline's wait at the next key
            terminal.type("\x03")
        assert terminal.code() == 0


def test_tab(pair: Pair) -> None:
    with shell(pair.ours) as terminal:
        terminal.expect(PROMPT)
        terminal.type("stat\t")
        terminal.expect("status ")
        terminal.type("two:two_01\t")
        terminal.expect("two_01 ")
        terminal.type("\n")
        assert "two:two_01" in terminal.expect(PROMPT)
        terminal.type("update ca\t")
        terminal.expect("update cat ")
        terminal.type("\x15help exp\t")
        terminal.expect("explain ")
        terminal.type("\n")
        terminal.expect("Tell why")


def test_history(pair: Pair, tmp_path: Path) -> None:
    path = tmp_path / "history"
    for _ in range(2):
        with shell(pair.ours, "-r", str(path)) as terminal:
            terminal.expect(PROMPT)
            terminal.type("pid cat\n")
            terminal.expect(PROMPT)
            terminal.type("quit\n")
            assert terminal.code() == 0
    assert path.read_text().splitlines().count("pid cat") >= 1
    with shell(pair.ours, "-r", str(path)) as terminal:
        terminal.expect(PROMPT)
        terminal.type("\x1b[A\x1b[A")
        terminal.expect("pid cat")


def test_who_are_you(supervisors: Supervisors) -> None:
    place, [port] = supervisors.place(), free_ports(1)
    config = place / "s.conf"
    config.write_text(
        f"[inet_http_server]\nport=127.0.0.1:{port}\nusername=chris\npassword=123\n"
        f"[unix_http_server]\nfile={place}/s.sock\n"
        f"[supervisord]\nlogfile={place}/main.log\npidfile={place}/main.pid\nchildlogdir={place}\n"
        "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
        f"[supervisorctl]\nserverurl=http://127.0.0.1:{port}\nprompt=mine\n"
    )
    daemon = supervisors.run("supervise", config, place)
    with shell(daemon) as terminal:
        terminal.expect("Server requires authentication\n")
        terminal.expect("Username:")
        terminal.type("chris\n")
        terminal.expect("Password:")
        terminal.type("123\n")
        terminal.expect("mine> ")
        terminal.type("pid\n")
        assert f"\n{daemon.pid}\n" in terminal.expect("mine> ")
        assert "123" not in terminal.text
