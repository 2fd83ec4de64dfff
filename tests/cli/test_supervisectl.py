"""The command line as a whole: options, errors, exit codes, imports; and its users: Ansible, TAB keys, pipes."""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from supervise import __version__
from tests.cli.pairs import Pair, normal, start_pair
from tests.daemons import KINDS, Daemon, Kind, Supervisors, client_command, environment
from tests.tools import ROOT, free_ports, wait_for

pytestmark = pytest.mark.xdist_group("supervisectl")


@pytest.fixture(scope="module")
def pair(shared_supervisors: Supervisors) -> Pair:
    return start_pair(shared_supervisors)


def run(kind: Kind, place: Path, *words: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    """A client without `-c`, in an empty directory."""
    argv = [*client_command(kind), *words]
    whole = environment(place, **env)
    return subprocess.run(argv, input=stdin, capture_output=True, text=True, env=whole, cwd=place, timeout=60)


NOBODY, MISSING = "http://localhost:1", "unix:///nonexistent"
USAGE = [
    *("-z", "-c", "--serverurl", "--nope", "-s foo status", "-c /nonexistent status", "-c a -c b", "-u a -u b pid"),
    *("-c bare.conf status", "-s unix: pid", f"-s {NOBODY} status", f"-s {NOBODY} pid", f"-s {NOBODY} shutdown"),
    *(f"-s {MISSING} status", f"-s {MISSING} pid", f"-s {MISSING} shutdown", f"-s {NOBODY} open {MISSING}"),
    f"-s {NOBODY} maintail -f",
]


@pytest.mark.parametrize("line", USAGE)
def test_usage(tmp_path: Path, line: str) -> None:
    (tmp_path / "bare.conf").write_text("[supervisord]\n")
    ours, theirs = (run(kind, tmp_path, *line.split()) for kind in KINDS)
    assert normal(ours.stdout, tmp_path) == normal(theirs.stdout, tmp_path)
    assert normal(ours.stderr, tmp_path) == normal(theirs.stderr, tmp_path)
    assert ours.returncode == theirs.returncode


@pytest.mark.parametrize(
    ("line", "says"),
    [("tail -n x web", "'x' is not a valid number of lines"), ("wait web --timeout soon", "of seconds")],
)
def test_complaints_say_what_is_meant(tmp_path: Path, line: str, says: str) -> None:
    done = run("supervise", tmp_path, "-s", MISSING, *line.split())
    assert says in done.stdout
    assert done.returncode == 1


@pytest.mark.parametrize("action", ["status", "start web", "start", "explain web", "reread", "update", "version x"])
def test_json_or_nothing_on_stdout(tmp_path: Path, action: str) -> None:
    """A program that reads stdout must not find a sentence there."""
    plain, json = (run("supervise", tmp_path, "-s", MISSING, *action.split(), *more) for more in ((), ("--json",)))
    assert plain.stderr == json.stdout == ""
    assert json.stderr == plain.stdout != ""
    assert json.returncode == plain.returncode != 0


def test_a_url_is_enough(tmp_path: Path) -> None:
    """supervisorctl refuses when the file has no section, though it has been told the URL."""
    (tmp_path / "bare.conf").write_text("[supervisord]\n")
    assert run("supervise", tmp_path, "-c", "bare.conf", "-s", "unix:///nonexistent", "pid").returncode == 7


@pytest.mark.parametrize("word", ["-h", "--help", "-?"])
def test_help(tmp_path: Path, word: str) -> None:
    ours = run("supervise", tmp_path, word)
    assert (ours.returncode, ours.stderr) == (0, "")
    assert "--configuration" in ours.stdout
    assert "_SUPERVISECTL_COMPLETE=bash_source" in ours.stdout
    assert run("supervise", tmp_path, "--version").stdout == f"{__version__}\n"
    assert "--wide" in run("supervise", tmp_path, "status", "-h").stdout


def test_words_are_one_line(pair: Pair) -> None:
    for words in (
        ["status cat"],
        ["status", "cat two:*"],
        [""],
        [" status ", "cat"],
        ["?", "nosuch"],
        ["foo", "  bar"],
    ):
        ours = pair.ours.ctl(*words)
        theirs = pair.theirs.ctl(*words)
        assert normal(ours.stdout, pair.ours.place) == normal(theirs.stdout, pair.theirs.place), words
        assert ours.returncode == theirs.returncode, words


def test_bad_options_of_actions(pair: Pair) -> None:
    ours = pair.ours.ctl("status", "--nope")
    assert (ours.stdout, ours.stderr, ours.returncode) == ("Error: No such option '--nope'.\n", "", 1)
    assert pair.ours.ctl("wait", "cat", "--timeout", "soon").stdout.startswith("Error: Invalid value for '--timeout'")


def test_environment(pair: Pair, tmp_path: Path) -> None:
    url = f"unix://{pair.ours.socket}"
    assert run("supervise", tmp_path, "pid", SUPERVISOR_SERVER_URL=url).stdout == f"{pair.ours.pid}\n"
    other = run("supervise", tmp_path, "-s", "unix:///nonexistent", "pid", SUPERVISOR_SERVER_URL=url)
    assert other.stdout == "unix:///nonexistent no such file\n"


def test_a_child_knows_its_daemon(pair: Pair) -> None:
    env = dict(
        entry.partition("=")[::2]
        for entry in Path(f"/proc/{pair.ours.info('cat')['pid']}/environ").read_text().split("\0")
        if entry
    )
    assert run(
        "supervise", pair.ours.place, "pid", **{"SUPERVISOR_SERVER_URL": env["SUPERVISOR_SERVER_URL"]}
    ).stdout == (f"{pair.ours.pid}\n")


def test_credentials(supervisors: Supervisors) -> None:
    place, [port] = supervisors.place(), free_ports(1)
    config = place / "s.conf"
    config.write_text(
        f"[inet_http_server]\nport=127.0.0.1:{port}\nusername=chris\npassword=a:b%%c\n"
        f"[unix_http_server]\nfile={place}/s.sock\n"
        f"[supervisord]\nlogfile={place}/main.log\npidfile={place}/main.pid\nchildlogdir={place}\n"
        "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
        f"[supervisorctl]\nserverurl=http://127.0.0.1:{port}\n"
    )
    daemon = supervisors.run("supervise", config, place)
    ours = daemon.ctl("pid")
    assert (ours.stdout, ours.stderr, ours.returncode) == ("Server requires authentication\n", "", 1)
    assert daemon.ctl("-u", "chris", "-p", "wrong", "reread").stdout == "Server requires authentication\n"
    assert daemon.ctl("-u", "chris", "-p", "a:b%c", "pid").stdout == f"{daemon.pid}\n"
    given = {"SUPERVISOR_USERNAME": "chris", "SUPERVISOR_PASSWORD": "a:b%c"}
    assert run("supervise", place, "-c", str(config), "pid", **given).stdout == f"{daemon.pid}\n"


def test_another_kind_of_server(pair: Pair, tmp_path: Path) -> None:
    url = f"unix://{pair.theirs.socket}"
    ours = run("supervise", tmp_path, "-s", url, "version")
    assert ours.stdout == f"error: {url} is no supervise daemon (HTTP status 404)\n"
    assert ours.returncode == 3
    assert run("supervise", tmp_path, "-s", url, "status").returncode == 4


def test_nobody_reads(pair: Pair) -> None:
    argv = [*client_command("supervise"), "-c", str(pair.ours.config), "help"]
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(argv, stdout=writer, stderr=subprocess.PIPE, env=pair.ours.env, timeout=60)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_interrupted(pair: Pair) -> None:
    argv = [*client_command("supervise"), "-c", str(pair.ours.config), "wait", "off", "--timeout", "1000"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=pair.ours.env) as client:
        try:
            # SIGINT finds it waiting for the answer: its request is on the socket.
            wait_for(
                lambda: Path(f"/proc/{client.pid}/wchan").read_text() != "0" and _connected(client.pid), "the request"
            )
            client.send_signal(signal.SIGINT)
            out, err = client.communicate(timeout=60)
        finally:
            client.kill()
    assert (client.returncode, out, err) == (130, b"", b"")


def test_a_full_disk(pair: Pair) -> None:
    argv = [*client_command("supervise"), "-c", str(pair.ours.config), "help"]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(argv, stdout=full, stderr=subprocess.PIPE, env=pair.ours.env, timeout=60)
    assert (done.returncode, done.stderr) == (1, b"error: OSError: [Errno 28] No space left on device\n")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams(pair: Pair, closed: str) -> None:
    command = shlex.join([*client_command("supervise"), "-c", str(pair.ours.config)])
    for words, code in (("pid", 0), ("pid nobody", 1)):
        script = f"{command} {words} {closed}"
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, env=pair.ours.env, timeout=60)
        assert (done.returncode, done.stderr) == (code, "")


def _connected(pid: int) -> bool:
    return any("socket:" in os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir())


def test_characters_that_the_terminal_lacks(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", "[program:gr\u00fcn]\ncommand = sleep 1000\nstartsecs = 0\n")
    daemon.env |= {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    ours = daemon.ctl("status")
    assert (ours.returncode, ours.stderr) == (0, "")
    assert ours.stdout.startswith("gr?n ")


def test_what_is_imported(pair: Pair) -> None:
    """Starting is most of what a control command does."""
    code = (
        "import sys; sys.argv[1:] = sys.argv[1:]\n"
        "from supervise.cli.supervisectl import run\n"
        "run(sys.argv[1:]); print('MODULES', *sys.modules)"
    )
    argv = [sys.executable, "-c", code, "-c", str(pair.ours.config), "status"]
    done = subprocess.run(argv, capture_output=True, text=True, env=pair.ours.env, cwd=ROOT, timeout=60)
    bare = subprocess.run([sys.executable, "-c", "import sys; print(*sys.modules)"], capture_output=True, text=True)
    modules = set(done.stdout.partition("MODULES")[2].split()) - set(
        bare.stdout.split()
    )  # an editable install has some
    assert "supervise.client" in modules
    assert not modules & {"aiohttp", "asyncio", "http.client", "email", "ssl", "urllib.parse", "pathlib", "logging"}
    assert not modules & {"tomli", "psutil", "readline", "xmlrpc.client", "supervise.config.model"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(tmp_path: Path, shell: str) -> None:
    done = run("supervise", tmp_path, _SUPERVISECTL_COMPLETE=f"{shell}_source")
    assert done.returncode == 0
    assert f"_SUPERVISECTL_COMPLETE={shell}_complete" in done.stdout
    assert done.stderr == ""


def completions(daemon: Daemon, line: str) -> list[str]:
    """What bash is told for the last word."""
    env = {"_SUPERVISECTL_COMPLETE": "bash_complete", "COMP_LINE": line, "COMP_WORDBREAKS": " =:"}
    done = run("supervise", daemon.place, **env)
    assert done.stderr == ""
    return [entry.partition(",")[2] for entry in done.stdout.split()]


def test_completion(pair: Pair) -> None:
    daemon = pair.ours
    prefix = f"supervisectl -c {daemon.config}"
    assert completions(daemon, f"{prefix} sta") == ["start", "status"]
    assert completions(daemon, f"{prefix} restart c") == ["cat"]
    assert completions(daemon, f"{prefix} stop cat two") == ["two:two_00", "two:*", "two:two_01"]
    assert completions(daemon, f"{prefix} stop cat two:") == ["two_00", "*", "two_01"]
    assert completions(daemon, f"{prefix} wait --for=st") == ["stopped"]
    assert completions(daemon, f"{prefix} update du") == ["duo"]
    assert completions(daemon, f"{prefix} status --w") == ["--wide", "--watch"]
    assert completions(daemon, f"{prefix} nosuch x") == []
    assert completions(daemon, "supervisectl -s unix:///nonexistent start x") == []
    assert completions(daemon, "supervisectl -c /nonexistent start x") == []


class Ansible:
    """What community.general.supervisorctl does (its documentation and output): runs the client, reads words."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon

    def control(self, *words: str) -> tuple[int, str]:
        done = self.daemon.ctl(*words)
        return done.returncode, done.stdout

    def processes(self, name: str) -> list[tuple[str, str]]:
        _, out = self.control("status")
        rows = [re.split(r"\s+", line)[:2] for line in out.splitlines()]
        if name.endswith(":"):
            return [(row[0], row[1]) for row in rows if row[0].startswith(name)]
        return [(row[0], row[1]) for row in rows if row[0] == name]

    def do(self, action: str, name: str, expected: str) -> bool:
        code, out = self.control(action, name)
        return code == 0 and f"{name}: {expected}" in out


def test_ansible(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", "[program:web]\ncommand = sleep 1000\nstartsecs = 0\n")
    module = Ansible(daemon)
    assert module.processes("web") == [("web", "RUNNING")]
    assert module.do("stop", "web", "stopped")
    assert module.processes("web") == [("web", "STOPPED")]
    assert module.do("start", "web", "started")
    assert module.do("restart", "web", "started")
    code, out = module.control("signal", "CONT", "web")
    assert (code, "web: signalled" in out) == (0, True)
    daemon.configure(
        "[program:web]\ncommand = sleep 1000\nstartsecs = 0\n"
        "[program:new]\ncommand = sleep 1000\nstartsecs = 0\nprocess_name = n%(process_num)d\nnumprocs = 2\n"
    )
    assert module.control("reread") == (0, "new: available\n")
    assert module.do("add", "new", "added process group")
    assert [state for _, state in module.processes("new:")] == ["RUNNING", "RUNNING"]
    code, _ = module.control("stop", "new:*")
    assert code == 0
    assert module.do("remove", "new", "removed process group")
    assert module.control("update")[0] == 0
