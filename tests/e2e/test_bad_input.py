"""Every kind of bad configuration, argument, request and child: a clear message, a refusal, and nothing changed."""

import json
import os
import re
import signal
import socket
import subprocess
import xmlrpc.client
from pathlib import Path
from typing import Any

import pytest

from tests.daemons import Daemon, Supervisors, client_command, configuration, daemon_command, environment
from tests.tools import alive, belonging_to, wait_for

pytestmark = pytest.mark.timeout(300)

PROGRAM = "[program:a]\ncommand = sleep 1000\n"
CONFIGURATIONS: dict[str, tuple[str | bytes, str]] = {
    "nothing in it": ("", "does not include supervisord section"),
    "no [supervisord]": ("!\n[program:a]\ncommand = a\n", "does not include supervisord section"),
    "text before a section": ("!nonsense\n[supervisord]\n", r"s\.conf"),
    "a line that is no option": ("[program:a]\ncommand = a\nnonsense\n", r"s\.conf"),
    "no command": ("[program:a]\nautostart = true\n", "does not specify a command"),
    "a boolean that is none": (PROGRAM + "autostart = maybe\n", r"s\.conf:\d+: \[program:a\] autostart: .*maybe"),
    "a number that is none": (PROGRAM + "startsecs = soon\n", r"\[program:a\] startsecs: .*soon"),
    "many processes of one name": (PROGRAM + "numprocs = 2\n", r"process_name.*process_num"),
    "an unknown signal": (PROGRAM + "stopsignal = NOSUCH\n", r"\[program:a\] stopsignal: .*NOSUCH"),
    "an exit code that is none": (PROGRAM + "exitcodes = 0,300\n", r"\[program:a\] exitcodes: .*300"),
    "an umask that is none": (PROGRAM + "umask = 9\n", r"\[program:a\] umask: .*9"),
    "a size that is none": (PROGRAM + "stdout_logfile_maxbytes = 5 miles\n", r"\[program:a\] stdout_logfile_maxbytes"),
    "an unknown user": (PROGRAM + "user = nosuchuser\n", r"\[program:a\] user: .*nosuchuser"),
    "a log in no directory": (
        PROGRAM + "stdout_logfile = /no/such/dir/a.log\n",
        r"\[program:a\] stdout_logfile: .*/no/such/dir",
    ),
    "an unknown name": (PROGRAM.replace("sleep", "%(nosuch)s"), r"names \('nosuch'\) which cannot be expanded"),
    "a lone percent": (PROGRAM.replace("1000", "100% of it"), r"\[program:a\] command: .*%"),
    "an unknown variable": (PROGRAM + "directory = %(ENV_NO_SUCH)s\n", "ENV_NO_SUCH"),
    "an environment without end": (PROGRAM + "environment = A=\n", r"\[program:a\] environment"),
    "a quote without end": (PROGRAM + 'environment = A="b\n', r"\[program:a\] environment"),
    "stopasgroup without killasgroup": (PROGRAM + "stopasgroup = true\nkillasgroup = false\n", "killasgroup"),
    "a name with a colon": ("[program:a:b]\ncommand = a\n", "Invalid name: 'a:b' because of character: ':'"),
    "a name with a slash": ("[program:a/b]\ncommand = a\n", "Invalid name: 'a/b' because of character: '/'"),
    "a group of strangers": (
        "[group:g]\nprograms = nobody\n",
        r"\[group:g\] names unknown program or fcgi-program nobody",
    ),
    "a listener without events": ("[eventlistener:l]\ncommand = a\n", "eventlistener:l.*events"),
    "a listener of unknown events": ("[eventlistener:l]\ncommand = a\nevents = NOSUCH\n", "Unknown event type NOSUCH"),
    "a socket without a path": ("[fcgi-program:f]\ncommand = a\n", "fcgi-program:f.*socket"),
    "a socket of no kind": ("[fcgi-program:f]\ncommand = a\nsocket = http://x\n", r"\[fcgi-program:f\] socket"),
    "a log level that is none": ("[supervisord]\nloglevel = loud\n", r"\[supervisord\] loglevel: .*loud"),
    "a directory that is none": (
        "[supervisord]\nchildlogdir = /no/such/dir\n",
        r"\[supervisord\] childlogdir: .*/no/such/dir",
    ),
    "a server without a port": ("[inet_http_server]\nport = nowhere:x\n", r"\[inet_http_server\] port: .*'x'"),
    "a user without a password": (
        "[inet_http_server]\nport = 127.0.0.1:0\nusername = a\n",
        r"inet_http_server.*password",
    ),
    "a mode that is none": ("[unix_http_server]\nchmod = rwx\n", r"\[unix_http_server\] chmod: .*rwx"),
    "an owner who is none": ("[unix_http_server]\nchown = nosuchuser\n", r"\[unix_http_server\] chown: .*nosuchuser"),
    "an include without files": ("[include]\nnothing = 1\n", "no files setting"),
    "a plugin without a factory": ("[rpcinterface:x]\na = b\n", "rpcinterface:x"),
    "bytes that are no UTF-8": (b"[program:a]\ncommand = \xff\xfe\n", r"s\.conf.*UTF-8|s\.conf.*utf-8"),
    "several at once": (PROGRAM + "startsecs = x\nnumprocs = y\n", r"(?s)startsecs: .*x.*\n.*numprocs: .*y"),
}
# What works, though hardly as meant: `check` warns, `check --strict` refuses, the daemon says it in its log.
DOUBTFUL = {
    "a mistyped option": (PROGRAM + "autorestrat = true\n", r"autorestrat: unknown option; did you mean autorestart\?"),
    "a mistyped section": ("[progam:x]\ncommand = a\n", r"unknown section; did you mean \[program:x\]\?"),
    "a header that does not end": (PROGRAM + "[program:b\ncommand = b\n", r"\[program: unknown option"),
    "a group without programs": ("[group:g]\npriority = 1\n", r"\[group:g\]: has no programs"),
    "a quoted semicolon": ("[program:a]\ncommand = sh -c 'true ; sleep 9'\n", "value looks cut"),
    "a command for a shell": (PROGRAM.replace("1000", "1 && true"), "'&&' means nothing without a shell"),
    "a missing program": (PROGRAM.replace("sleep", "/no/such"), "can't find command '/no/such'"),
    "a missing directory": (PROGRAM + "directory = /no/such\n", "/no/such is not an existing directory"),
    "a log that is ignored": (PROGRAM + "redirect_stderr = true\nstderr_logfile = /tmp/x\n", "has been ignored"),
    "an include of nothing": ("[include]\nfiles = nothing/*\n", "No file matches via include"),
}


def everything(place: Path) -> dict[str, object]:
    """Names, sizes and contents in a directory, to see that nothing changed."""
    return {str(path): (path.read_bytes() if path.is_file() else path.lstat().st_mode) for path in place.rglob("*")}


def supervise(place: Path, *words: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    command = [*daemon_command("supervise"), *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=place, env=environment(place), timeout=timeout)


def supervisectl(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [*client_command("supervise"), *words]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=place, env=environment(place), stdin=subprocess.DEVNULL, timeout=60
    )


def refused(done: subprocess.CompletedProcess[str], says: str, code: int = 2) -> None:
    """The exit code, the message on stderr, and no trace of Python."""
    shown = done.stdout + done.stderr
    assert "Traceback" not in shown, shown
    assert re.search(says, shown), shown
    assert done.returncode == code, shown


@pytest.mark.parametrize("case", CONFIGURATIONS)
def test_configuration(place: Path, case: str) -> None:
    text, says = CONFIGURATIONS[case]
    write(place / "s.conf", place, text)
    before = everything(place)
    refused(supervise(place, "-n", "-c", "s.conf"), says)
    assert everything(place) == before
    assert not list(belonging_to(place))


def write(path: Path, place: Path, text: str | bytes) -> None:
    """A whole configuration with the text in it; text that begins with "!" is the whole, and so is no text."""
    if isinstance(text, bytes):
        path.write_bytes(configuration(place, "").encode() + text)
    else:
        path.write_text(text.removeprefix("!") if text[:1] in ("", "!") else configuration(place, text))


@pytest.mark.parametrize("case", [case for case in CONFIGURATIONS if case not in ("bytes that are no UTF-8",)])
def test_check_says_the_same(place: Path, case: str) -> None:
    text, says = CONFIGURATIONS[case]
    write(place / "s.conf", place, text)
    done = supervise(place, "check", "-c", "s.conf")
    assert "Traceback" not in done.stdout + done.stderr
    assert re.search(says, done.stdout), done.stdout


@pytest.mark.parametrize("case", DOUBTFUL)
def test_doubtful_configuration(place: Path, case: str) -> None:
    text, says = DOUBTFUL[case]
    write(place / "s.conf", place, text)
    refused(supervise(place, "check", "-c", "s.conf"), says + r".*\(warning\)", code=0)
    refused(supervise(place, "check", "--strict", "-c", "s.conf"), says)


DAEMON_ARGUMENTS = [
    ("-x", "option -x not recognized"),
    ("--no-such-option", "option --no-such-option not recognized"),
    ("-n -n", "conflicting command line option '-n'"),
    ("positional", "positional arguments are not supported"),
    ("-c s.conf -l", "-l"),
    ("-c /no/such", "could not find config file /no/such"),
    ("-c empty", r"no configuration in \S+/empty: "),
    ("-n -c s.conf -e loud", "loud"),
    ("-n -c s.conf -u nosuchuser", "nosuchuser"),
    ("-n -c s.conf -a many", "many"),
    ("-n -c s.conf -m 9", "9"),
    ("-n -c s.conf -q /no/such", "/no/such"),
    ("-n -c s.conf -j /no/such/pid", "/no/such"),
    ("-n -c s.conf -l /no/such/log", "/no/such"),
    ("-n -c s.conf -y much", "much"),
    ("check -c /no/such", "could not find config file /no/such"),
    ("check --no-such-option", "--no-such-option"),
]


@pytest.mark.parametrize(("words", "says"), DAEMON_ARGUMENTS)
def test_arguments_of_supervise(place: Path, words: str, says: str) -> None:
    (place / "empty").mkdir()
    write(place / "s.conf", place, PROGRAM)
    before = everything(place)
    refused(supervise(place, *words.split()), says)
    assert everything(place) == before


def test_a_file_that_may_not_be_read_is_no_configuration(place: Path) -> None:
    (place / "s.conf").mkdir()
    refused(supervise(place, "-n", "-c", "s.conf/."), r"no configuration in \S+/s\.conf/\.: ")
    refused(supervise(place, "-n", "-c", "/dev/null"), "does not include supervisord section")


CLIENT_ARGUMENTS = [
    ("--no-such-option", "--no-such-option", 2),
    ("-c /no/such status", "could not find config file /no/such", 2),
    ("-c s.conf status", "no such file", 4),
    ("-c s.conf start a", "no such file", 7),
    ("-s ftp://x status", "ftp://x", 1),
    ("-s http://127.0.0.1:1 status", "http://127.0.0.1:1 refused connection", 4),
    ("-s unix:///no/such status", "unix:///no/such no such file", 4),
    ("-c s.conf nonsense", r"\*\*\* Unknown syntax: nonsense", 1),
    ("-c s.conf start", "start requires a process name", 2),
    ("-c s.conf stop", "stop requires a process name", 1),
    ("-c s.conf shutdown now", "shutdown accepts no arguments", 1),
]


@pytest.mark.parametrize(("words", "says", "code"), CLIENT_ARGUMENTS)
def test_arguments_of_supervisectl(place: Path, words: str, says: str, code: int) -> None:
    write(place / "s.conf", place, PROGRAM)
    before = everything(place)
    refused(supervisectl(place, *words.split()), says, code)
    assert everything(place) == before


@pytest.fixture(scope="module")
def served(shared_supervisors: Supervisors) -> Daemon:
    """A daemon that is asked nonsense."""
    daemon = shared_supervisors.start("supervise", PROGRAM + "startsecs = 0\n")
    daemon.wait_state("a", "RUNNING")
    return daemon


API = "/api/v1"
JSON, TEXT = {"Content-Type": "application/json"}, {"Content-Type": "text/plain"}
ENTITIES = (
    b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b"><!ENTITY c "&a;&a;">]>'
    b"<methodCall><methodName>&c;</methodName></methodCall>"
)
REQUESTS = {
    "no such page": ("GET", API + "/nothing", None, {}, 404, "there is nothing"),
    "no such program": ("GET", API + "/processes/nobody", None, {}, 404, "BAD_NAME"),
    "no such log": ("GET", API + "/processes/a/logs/stdlog", None, {}, (400, 404), "stdlog"),
    "a log of nobody": ("GET", API + "/processes/nobody/logs/stdout", None, {}, 404, "BAD_NAME"),
    "reading by POST": ("POST", API + "/daemon", b"", {}, 405, "GET"),
    "acting by GET": ("GET", API + "/actions", None, {}, 405, "POST"),
    "stopping by GET": ("GET", API + "/processes/a/stop", None, {}, 405, "POST"),
    "an unknown parameter": ("GET", API + "/processes?nmae=a", None, {}, 400, "nmae"),
    "a number that is none": ("GET", API + "/processes/a/wait?for=running&timeout=long", None, {}, 400, "timeout"),
    "a goal that is none": ("GET", API + "/processes/a/wait?for=ever&timeout=1", None, {}, 400, "ever"),
    "bytes for JSON": ("POST", API + "/actions", b"\xff\xfe", JSON, 400, "JSON"),
    "half of an object": ("POST", API + "/actions", b'{"action": ', JSON, 400, "JSON"),
    "a list for an object": ("POST", API + "/actions", b"[]", JSON, 400, "object"),
    "no action": ("POST", API + "/actions", b'{"names": ["a"]}', JSON, 400, "action"),
    "an unknown action": ("POST", API + "/actions", b'{"action": "burn", "names": ["a"]}', JSON, 400, "burn"),
    "an unknown field": ("POST", API + "/actions", b'{"action": "stop", "name": "a"}', JSON, 400, "name"),
    "names that are no names": ("POST", API + "/actions", b'{"action": "stop", "names": [1]}', JSON, 400, "names"),
    "no such signal": ("POST", API + "/processes/a/signal", b'{"signal": "NO"}', JSON, 400, "BAD_SIGNAL"),
    "another kind of body": ("POST", API + "/actions", b"action=stop", TEXT, (400, 415), "application/json"),
    "deep nesting": ("POST", API + "/actions", b"[" * 100000, JSON, (400, 413), "JSON|deep|nest"),
    "a large body": ("POST", API + "/actions", b" " * (20 << 20), JSON, 413, ""),
    "a name of bytes": ("GET", API + "/processes/%ff", None, {}, 400, "UTF-8"),
    "a group of nobody": ("POST", API + "/groups/nobody", b"", {}, 404, "BAD_NAME"),
    "removing who runs": ("DELETE", API + "/groups/a", None, {}, 409, "STILL_RUNNING"),
    "adding who is there": ("POST", API + "/groups/a", b"", {}, 409, "ALREADY_ADDED"),
    "starting who runs": ("POST", API + "/processes/a/start", b"", {}, 409, "ALREADY_STARTED"),
    "RPC by GET": ("GET", "/RPC2", None, {}, 400, ""),
    "RPC of garbage": ("POST", "/RPC2", b"<methodCall><methodName>", {"Content-Type": "text/xml"}, 400, ""),
    "RPC of nothing": ("POST", "/RPC2", b"", {"Content-Type": "text/xml"}, 400, ""),
    "RPC of entities": ("POST", "/RPC2", ENTITIES, {"Content-Type": "text/xml"}, 400, ""),
    "a tail of nobody": ("GET", "/logtail/nobody", None, {}, 404, ""),
}


@pytest.mark.parametrize("case", REQUESTS)
def test_request(served: Daemon, case: str) -> None:
    method, path, body, headers, wanted, says = REQUESTS[case]
    before = served.info("a")["pid"]
    try:
        status, answered, shown = served.request(method, path, body, headers)
    except (BrokenPipeError, ConnectionResetError):
        assert wanted == 413, "only what is too large is cut off"
    else:
        assert status in (wanted if isinstance(wanted, tuple) else (wanted,)), shown
        assert re.search(says, shown.decode()), shown
        if path.startswith(API) and status >= 400:
            assert answered["Content-Type"].startswith("application/problem+json")
            problem = json.loads(shown)
            assert problem["status"] == status
            assert problem["detail"]
    served.disconnect()
    assert served.info("a")["pid"] == before, "nothing has happened to the program"


FAULTS = [
    ("supervisor.stopProcess", ("nobody",), 10, "BAD_NAME"),
    ("supervisor.stopProcess", (), 2, "INCORRECT_PARAMETERS"),
    ("supervisor.stopProcess", (["a"],), 2, "INCORRECT_PARAMETERS"),
    ("supervisor.stopProcess", ({"name": "a"},), 2, "INCORRECT_PARAMETERS"),
    ("supervisor.stopProcess", (1,), (2, 10), ""),
    ("supervisor.signalProcess", ("a", "NOSUCH"), 11, "BAD_SIGNAL: NOSUCH"),
    ("supervisor.signalProcess", ("a", []), (2, 11), ""),
    ("supervisor.readLog", ("a", 1), 2, "INCORRECT_PARAMETERS"),
    ("supervisor.readProcessStdoutLog", ("a", -1, 1), 3, "BAD_ARGUMENTS"),
    ("supervisor.sendProcessStdin", ("a", 5), 2, "INCORRECT_PARAMETERS"),
    ("supervisor.addProcessGroup", ("nobody",), 10, "BAD_NAME"),
    ("supervisor.removeProcessGroup", ("a",), 91, "STILL_RUNNING"),
    ("supervisor.__init__", (), 1, "UNKNOWN_METHOD"),
    ("supervisor.commands.stop", (), 1, "UNKNOWN_METHOD"),
    ("os.system", ("true",), 1, "UNKNOWN_METHOD"),
    ("", (), None, ""),
    ("system.multicall", ([1],), (2, 30), ""),
    ("system.multicall", ("x",), 2, ""),
]


@pytest.mark.parametrize(("method", "arguments", "code", "says"), FAULTS)
def test_call(
    served: Daemon, method: str, arguments: tuple[Any, ...], code: int | tuple[int, ...] | None, says: str
) -> None:
    before = served.info("a")["pid"]
    body = xmlrpc.client.dumps(arguments, method).encode()
    status, _, answer = served.request("POST", "/RPC2", body, {"Content-Type": "text/xml"})
    if code is None:
        assert status == 400
    else:
        assert status == 200
        try:
            found: Any = xmlrpc.client.loads(answer)[0][0]
            fault, text = found[0]["faultCode"], found[0]["faultString"]
        except xmlrpc.client.Fault as error:
            fault, text = error.faultCode, error.faultString
        assert fault in (code if isinstance(code, tuple) else (code,)), text
        assert text.startswith(says)
    assert served.info("a")["pid"] == before


RAW = {
    "nothing": b"",
    "garbage": os.urandom(2000),
    "half a request": b"POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nshort",
    "no length": b"POST /RPC2 HTTP/1.1\r\nHost: x\r\n\r\n",
    "two lengths": b"POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    "a negative length": b"POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "an endless header": b"GET / HTTP/1.1\r\nX: " + b"x" * (1 << 20),
    "another protocol": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a method that is none": b"EXPLODE /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    "a path upwards": b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("case", RAW)
def test_bytes_that_are_no_request(served: Daemon, case: str) -> None:
    """An error or a cut connection; never a success, and the next client is served."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(str(served.socket))
        try:
            client.sendall(RAW[case])
            client.shutdown(socket.SHUT_WR)
            answer = client.recv(100)
        except (BrokenPipeError, ConnectionResetError):
            answer = b""
    assert not answer.startswith(b"HTTP/1.1 2"), answer
    assert served.rpc.supervisor.getState()["statename"] == "RUNNING"
    assert "Traceback" not in served.output


CHILDREN = {
    "no such file": ("/no/such/file", "", "FATAL", "can't find command '/no/such/file'"),
    "no such word": ("no-such-command", "", "FATAL", "can't find command 'no-such-command'"),
    "a directory": ("/tmp", "", "FATAL", "command at '/tmp' is a directory"),
    "a plain file": ("/etc/passwd", "", "FATAL", "command at '/etc/passwd' is not executable"),
    "a quote without end": ('sh -c "x', "", "FATAL", "can't parse command"),
    "no directory": ("sleep 1000", "directory = /no/such", "FATAL", "chdir to /no/such: ENOENT"),
    "no interpreter": ("{place}/noshebang", "", "FATAL", "exec .*noshebang: ENOENT"),
    "no program at all": ("{place}/garbage", "", "FATAL", "exec .*garbage: ENOEXEC"),
    "too many words": ("sh " + "x" * 200000, "", "FATAL", "exec sh: E2BIG|sh: E2BIG"),
    "dies of a signal": ("sh -c 'kill -SEGV $$'", "startsecs = 1", "FATAL", "Exited too quickly"),
    "says nothing and dies": ("false", "startsecs = 1", "FATAL", "Exited too quickly"),
}


@pytest.fixture(scope="module")
def family(shared_supervisors: Supervisors) -> Daemon:
    """A daemon with all the bad children, and a good one."""
    place = shared_supervisors.place()
    (place / "noshebang").write_text("#!/no/such/interpreter\n")
    (place / "garbage").write_bytes(b"\x7fELFgarbage")
    for name in ("noshebang", "garbage"):
        (place / name).chmod(0o755)
    sections = [
        f"[program:{number}]\ncommand = {command}\nstartretries = 0\n{more}\n"
        for number, (command, more, _, _) in enumerate(CHILDREN.values())
    ]
    daemon = shared_supervisors.start(
        "supervise", "".join(sections) + "[program:good]\ncommand = sleep 1000\n", place=place
    )
    daemon.wait_state("good", "RUNNING")
    return daemon


@pytest.mark.parametrize("case", CHILDREN)
def test_child(family: Daemon, case: str) -> None:
    _, _, state, says = CHILDREN[case]
    name = str(list(CHILDREN).index(case))
    info = family.wait_state(name, state)
    assert re.search(says, info["spawnerr"]), info["spawnerr"]
    assert info["pid"] == 0
    family.wait_log(f"gave up: {name} entered FATAL state")
    assert family.info("good")["statename"] == "RUNNING"


UNRULY = """
[program:full]
command = sh -c 'while :; do echo line; sleep 0.01; done'
stdout_logfile = /dev/full
startsecs = 0

[program:deaf]
command = sh -c 'trap "" TERM INT HUP; echo deaf; while :; do sleep 0.1; done'
stopwaitsecs = 1
startsecs = 0

[program:frozen]
command = sh -c 'kill -STOP $$; sleep 1000'
stopwaitsecs = 1
startsecs = 0

[program:closed]
command = sh -c 'exec >&- 2>&- <&-; exec sleep 1000'
startsecs = 0

[program:flood]
command = sh -c 'yes >&2 & exec yes'
stdout_logfile_maxbytes = 1MB
stdout_logfile_backups = 1
stderr_logfile_maxbytes = 1MB
stderr_logfile_backups = 1
startsecs = 0
stopasgroup = true
killasgroup = true

[program:endless]
command = sh -c 'head -c 30000000 /dev/zero | tr "\\0" x; exec sleep 1000'
startsecs = 0
stdout_logfile_maxbytes = 1MB
stdout_logfile_backups = 1

[program:away]
command = sh -c 'setsid sleep 1000 & exit 0'
startsecs = 0
autorestart = false
"""


def test_unruly_children_disturb_nobody(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", UNRULY)
    for name in ("full", "deaf", "frozen", "closed", "flood", "endless"):
        daemon.wait_state(name, "RUNNING")
    daemon.wait_state("away", "EXITED")
    wait_for(lambda: daemon.rpc.supervisor.readProcessStdoutLog("deaf", 0, 0), "deaf no longer listens")
    wait_for(lambda: "/dev/full" in daemon.log, "the full disk is in the main log")
    wait_for(lambda: list(daemon.place.glob("flood-stdout*.log.1")), "the flood rotates")
    pids = [daemon.info(name)["pid"] for name in ("full", "deaf", "frozen", "closed", "flood", "endless")]
    assert daemon.ctl("status", "closed").returncode == 0
    assert daemon.info("full")["pid"] == pids[0], "a full disk stops nobody"
    results = daemon.rpc.supervisor.stopAllProcesses()
    assert {row["status"] for row in results} == {80}
    assert not [pid for pid in pids if alive(pid)]
    daemon.wait_log("killing 'deaf'")
    assert daemon.log.count("/dev/full") < 20, "said now and then, not for every line"
    assert daemon.stop(signal.SIGINT) == 0
