"""B60 to B68: the defects that concern who may do what. A test is named after its row, and fails on the defect."""

import base64
import contextlib
import grp
import http.client
import importlib
import os
import pwd
import random
import re
import socket
import subprocess
import sys
import threading
import time
import xmlrpc.client
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from supervise.config import passwords
from supervise.config.passwords import hashed
from tests.daemons import Daemon, Kind, Supervisors, client_command, configuration, daemon_command, environment
from tests.tools import ROOT, free_ports, need_package, need_root, wait_for

pytestmark = pytest.mark.timeout(300)

SHA = "{SHA}82ab876d1387bfafe46cc1c8a2ef074eae50cb1d"  # thepassword
SECRETS = ("hunter2-env", "hunter2-url", "hunter2-word", "hunter2-plain", "hunter2-user")
PROGRAMS = """
[program:web]
command = sh -c 'exec sleep 1000' --token hunter2-word --db=amqp://me:hunter2-url@host/
environment = DB_PASSWORD="hunter2-env",PLAIN="hunter2-plain",PATH="/usr/bin:/bin"
startsecs = 0

[program:html]
command = sh -c 'echo "<script>alert(1)</script>"; exec cat'
startsecs = 0

[group:new]
programs = fresh

[program:fresh]
command = sleep 1000
autostart = false
"""
USERS = f"""
[user:looker]
password = {SHA}
role = read
[user:operator]
password = thepassword
role = control
[user:boss]
password = {{scrypt}}
role = admin
[user:other]
password = hunter2-user
role = read
"""


@pytest.fixture(scope="module")
def ports() -> list[int]:
    return free_ports(3)


@pytest.fixture(scope="module")
def daemon(shared_supervisors: Supervisors, ports: list[int]) -> Daemon:
    servers = f"""
[inet_http_server]
port = 127.0.0.1:{ports[0]}
"""
    users = USERS.replace("{scrypt}", hashed("thepassword"))
    daemon = shared_supervisors.start("supervise", PROGRAMS + servers + users)
    daemon.wait_state("web", "RUNNING")
    return daemon


@pytest.fixture(scope="module")
def stock(shared_supervisors: Supervisors, ports: list[int]) -> Daemon:
    """The real supervisord, on a port and without a password."""
    return shared_supervisors.start("supervisord", PROGRAMS + f"[inet_http_server]\nport = 127.0.0.1:{ports[1]}\n")


def ask(
    port: int, method: str, path: str, user: str = "", body: bytes | None = None, **headers: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """One request, as `name:password`; each from an address of its own, since failures are counted by address."""
    source = f"127.0.{random.randint(1, 254)}.{random.randint(1, 254)}", 0
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60, source_address=source)
    known = {"Authorization": "Basic " + base64.b64encode(user.encode()).decode()} if user else {}
    try:
        connection.request(method, path, body, known | {n.replace("_", "-"): v for n, v in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def call(port: int, user: str, name: str, *params: Any) -> Any:
    """An XML-RPC call: its result, or the fault's text."""
    status, _, data = ask(port, "POST", "/RPC2", f"{user}:thepassword", xmlrpc.client.dumps(params, name).encode())
    assert status == 200
    try:
        return xmlrpc.client.loads(data)[0][0]
    except xmlrpc.client.Fault as fault:
        return f"{fault.faultCode} {fault.faultString}"


# B60


@pytest.mark.parametrize(
    "name",
    [
        *("supervisor.supervisord.options.execve", "supervisor.supervisord.options.warnings.linecache.os.system"),
        *("supervisor._update", "supervisor.__init__", "supervisor.__class__", "supervisor.getState.__globals__"),
        *("supervisor", "supervisor.", ".getState", "supervisor..getState", "getState", "__class__.getState"),
        *("supervisor.get_state", "supervisor.getstate", "supervisor.getState ", "system._commands", "os.system"),
        "supervisor.ge\u0442State",
    ],
)
def test_b60_only_names_of_the_registry_are_methods(daemon: Daemon, stock: Daemon, ports: list[int], name: str) -> None:
    """Nor are they in supervisord since 3.3.3."""
    assert call(ports[1], "", name) == "1 UNKNOWN_METHOD"
    for params in ((), ("touch /tmp/pwned",)):
        assert call(ports[0], "boss", name, *params) == "1 UNKNOWN_METHOD"
        (answer,) = call(ports[0], "boss", "system.multicall", [{"methodName": name, "params": list(params)}])
        assert answer["faultCode"] == 1


def test_b60_no_attribute_is_looked_up_by_a_name_from_outside() -> None:
    """In the adapters, getattr takes constants or names of our own declarations."""
    allowed = {
        "getattr(program, option)",
        "getattr(active, option)",
        "getattr(info, name) for name in DAEMON",
        "getattr(item, field.name)",
        "getattr(found, name)",
    }
    allowed |= {'getattr(plugin, "roles", {})', 'getattr(error, "code", None)', 'getattr(error, "text", "")'}
    for path in sorted((ROOT / "supervise" / "api").glob("*.py")):
        for line in path.read_text().splitlines():
            if re.search(r"\b(getattr|eval|exec|__import__|globals|vars)\(", line):
                assert any(one in line for one in allowed) or "def " in line, f"{path.name}: {line.strip()}"


# B61


def test_b61_a_port_for_everybody_is_loud_and_a_socket_is_private(
    daemon: Daemon, supervisors: Supervisors, ports: list[int]
) -> None:
    assert (daemon.socket.stat().st_mode & 0o777) == 0o700
    assert "running without any HTTP authentication checking" not in daemon.log
    open_to_all = supervisors.start("supervise", f"[inet_http_server]\nport = *:{ports[2]}\n")
    line = "CRIT Server 'inet_http_server' running without any HTTP authentication checking"
    open_to_all.wait_log(line)
    checked = subprocess.run(
        [*daemon_command("supervise"), "check", "-c", str(open_to_all.config)], capture_output=True, text=True
    )
    assert "anybody who can reach this port controls the daemon" in checked.stdout


def test_b61_the_loopback_is_what_we_give_and_everything_else_is_asked_for(tmp_path: Path) -> None:
    """Without [inet_http_server] there is no port, and the one of our sample is the loopback's. A bare number is every
    interface, as supervisord has it, and existing files rely on it: that is warned of, and told at each start."""
    sample = subprocess.run([*daemon_command("supervise"), "sample"], capture_output=True, text=True, check=True).stdout
    assert re.findall(r"\[inet_http_server\](?:\n;.*)*?\n;port = (.*)", sample) == ["127.0.0.1:9001"]
    config = tmp_path / "s.conf"
    for address, warned in (("9001", True), (":9001", True), ("0.0.0.0:9001", True), ("127.0.0.1:9001", False)):
        config.write_text(f"[supervisord]\n[inet_http_server]\nport = {address}\n")
        command = [*daemon_command("supervise"), "check", "-c", str(config)]
        said = subprocess.run(command, capture_output=True, text=True).stdout
        assert ("anybody who can reach this port controls the daemon" in said) is warned, address


def test_b61_nothing_without_a_password_where_there_are_users(daemon: Daemon, ports: list[int]) -> None:
    for method, path in (
        *(("GET", "/"), ("GET", "/ok.html"), ("GET", "/logtail/web"), ("GET", "/mainlogtail"), ("POST", "/RPC2")),
        *(("GET", "/api/v1/processes"), ("GET", "/api/v1/openapi.json"), ("POST", "/api/v1/daemon/shutdown")),
    ):
        for user in ("", "looker:wrong", "nobody:thepassword", "boss:", "boss:Thepassword"):
            assert ask(ports[0], method, path, user)[0] == 401, (method, path, user)


# B62


def test_b62_reading_changes_nothing(daemon: Daemon, stock: Daemon, ports: list[int]) -> None:
    link = "/index.html?processname=html&action=stop"
    ask(ports[1], "GET", link)
    stock.wait_state("html", "STOPPED")  # a picture in any web page could do that
    status, headers, page = ask(ports[0], "GET", link, "boss:thepassword")
    assert (status, headers["Allow"]) == (405, "POST")
    assert not re.findall(rb'href="[^"]*action=(?!refresh)', page)
    for path in ("/api/v1/processes/html/stop", "/api/v1/daemon/shutdown", "/api/v1/groups/new"):
        assert ask(ports[0], "GET", path, "boss:thepassword")[0] in (404, 405)
    assert daemon.info("html")["statename"] == "RUNNING"


def test_b62_no_cookie_is_set_that_a_browser_could_send_along(daemon: Daemon, ports: list[int]) -> None:
    for method, path in (("GET", "/"), ("GET", "/index.html"), ("GET", "/api/v1/daemon"), ("POST", "/RPC2")):
        body = xmlrpc.client.dumps((), "supervisor.getState").encode() if method == "POST" else None
        status, headers, _ = ask(ports[0], method, path, "boss:thepassword", body)
        assert status == 200
        assert "set-cookie" not in {name.lower() for name in headers}


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Origin": "http://localhost:1"},
    ],
)
def test_b62_other_sites_change_nothing(daemon: Daemon, ports: list[int], headers: dict[str, str]) -> None:
    stop = xmlrpc.client.dumps(("html",), "supervisor.stopProcess").encode()
    assert ask(ports[0], "POST", "/RPC2", "boss:thepassword", stop, **headers)[0] == 403
    assert ask(ports[0], "POST", "/api/v1/processes/html/stop", "boss:thepassword", None, **headers)[0] == 403
    form = b"action=stop&processname=html&token=" + token_of(ports[0], "boss:thepassword")
    kind = {"Content_Type": "application/x-www-form-urlencoded"}
    assert ask(ports[0], "POST", "/index.html", "boss:thepassword", form, **kind, **headers)[0] == 403
    assert daemon.info("html")["statename"] == "RUNNING"


def token_of(port: int, user: str) -> bytes:
    found = re.search(rb'name=token value="(\w+)"', ask(port, "GET", "/", user)[2])
    assert found
    return found[1]


def test_b62_a_form_needs_the_token_of_its_user(daemon: Daemon, stock: Daemon, ports: list[int]) -> None:
    """What a browser sends that tells nothing of where a form is from."""
    kind = {"Content_Type": "application/x-www-form-urlencoded"}
    form = b"action=restart&processname=web"
    pids = [one.info("web")["pid"] for one in (daemon, stock)]
    assert ask(ports[1], "POST", "/index.html", body=form, **kind)[0] == 301
    stock.wait_state("web", "RUNNING")
    for token in (b"", b"x", token_of(ports[0], "operator:thepassword")):
        whole = form + b"&token=" + token
        assert ask(ports[0], "POST", "/index.html", "boss:thepassword", whole, **kind)[0] == 403
    assert [one.info("web")["pid"] == pid for one, pid in zip((daemon, stock), pids, strict=True)] == [True, False]
    whole = form + b"&token=" + token_of(ports[0], "boss:thepassword")
    assert ask(ports[0], "POST", "/index.html", "boss:thepassword", whole, **kind)[0] == 303
    assert daemon.info("web")["pid"] != pids[0]


# B63


def test_b63_passwords_may_be_hashed_well(daemon: Daemon, ports: list[int]) -> None:
    made = subprocess.run(
        [*daemon_command("supervise"), "passwd"], input="thepassword\n", capture_output=True, text=True, check=True
    ).stdout
    assert re.fullmatch(r"\{SCRYPT\}\d+\$\d+\$\d+\$[\w+/=]+\$[\w+/=]+\n", made)
    for user in ("looker", "operator", "boss"):  # {SHA}, clear, {SCRYPT}
        assert ask(ports[0], "GET", "/ok.html", f"{user}:thepassword")[0] == 200
        assert ask(ports[0], "GET", "/ok.html", f"{user}:thepasswor")[0] == 401


def looked_at(given: str | bytes, compare: Callable[[], object]) -> float:
    """How much of a long text a comparison has read: the pages that the kernel has seen used meanwhile (proc(5))."""
    clear = Path("/proc/self/clear_refs")
    compare()  # what is used for the first time is not part of it
    clear.write_text("1")
    compare()
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            begin, end = (int(word, 16) for word in words[0].split("-"))
            inside = begin <= id(given) < end
        elif inside and words[0] == "Referenced:":
            return int(words[1]) * 1024 / len(given)
    raise AssertionError("it is nowhere in memory")


def test_b63_no_guess_tells_how_much_of_it_is_right() -> None:
    """`==` stops at the first difference, so that the time of an answer tells where that is: too little time to be
    measured, but what has not been read tells the same. These are wrong at their very beginning."""
    need_package("supervisor")
    theirs = importlib.import_module("supervisor.http")

    size = 32 << 20
    stored, guess = "x" * size, "y" + "x" * (size - 1)
    raw = guess.encode()
    real = theirs.encrypted_dictionary_authorizer({"u": stored})
    assert looked_at(guess, lambda: real.authorize(("u", guess))) < 0.1
    assert looked_at(raw, lambda: passwords.matches(stored, raw)) > 0.9
    assert looked_at(raw, lambda: passwords.same(stored[:40].encode(), raw)) > 0.9, "nor how long the right one is"
    assert not passwords.matches(stored, raw)


@pytest.mark.parametrize("stored", [SHA, hashed("thepassword"), "thepassword"], ids=["sha", "scrypt", "clear"])
def test_b63_what_is_compared_in_constant_time_decides(stored: str) -> None:
    """Of hashes there is nothing long to look at; here the functions of C that are called are the witnesses."""

    def called(guess: bytes) -> list[str]:
        names = list[str]()

        def see(_frame: object, event: str, what: object) -> None:
            if event == "c_call":
                names.append(getattr(what, "__name__", ""))

        sys.setprofile(see)
        try:
            passwords.matches(stored, guess)
        finally:
            sys.setprofile(None)
        return names

    for guess in (b"thepassword", b"thepasswore", b"", b"x" * 1000):
        assert called(guess).count("compare_digest") + called(guess).count("_compare_digest") == 1
        assert passwords.matches(stored, guess) is (guess == b"thepassword")


def test_b63_guessing_is_slowed_and_stalls_nobody(daemon: Daemon, ports: list[int]) -> None:
    statuses: list[int] = []
    stop = threading.Event()

    def guess(number: int) -> None:
        for attempt in range(30):
            if stop.is_set():
                return
            connection = http.client.HTTPConnection("127.0.0.1", ports[0], timeout=60, source_address=("127.9.9.9", 0))
            token = base64.b64encode(f"boss:guess{number}-{attempt}".encode()).decode()
            try:
                connection.request("GET", "/ok.html", headers={"Authorization": f"Basic {token}"})
                statuses.append(connection.getresponse().status)
            except OSError:
                statuses.append(0)
            finally:
                connection.close()

    threads = [threading.Thread(target=guess, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    slowest = 0.0
    while any(thread.is_alive() for thread in threads):
        begun = time.monotonic()
        assert daemon.rpc.supervisor.getState()["statecode"] == 1
        slowest = max(slowest, time.monotonic() - begun)
        time.sleep(0.01)
    stop.set()
    assert slowest < 10  # two hundred comparisons would have taken a minute of the loop's time
    assert statuses.count(401) <= 10
    assert statuses.count(429) >= 200
    assert 200 not in statuses
    daemon.wait_log("WARN 10 failed logins from 127.9.9.9: refused for 30 seconds")
    daemon.wait_log("WARN login failed: user 'boss' at 127.9.9.9")
    assert ask(ports[0], "GET", "/ok.html", "boss:thepassword")[0] == 200  # from elsewhere


def test_b63_supervisord_lets_everybody_guess(supervisors: Supervisors) -> None:
    (port,) = free_ports(1)
    daemon = supervisors.start(
        "supervisord", f"[inet_http_server]\nport = 127.0.0.1:{port}\nusername = u\npassword = p\n"
    )
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60, source_address=("127.9.9.8", 0))
    statuses = []
    for number in range(50):
        token = base64.b64encode(f"u:guess{number}".encode()).decode()
        connection.request("GET", "/ok.html", headers={"Authorization": f"Basic {token}"})
        answer = connection.getresponse()
        answer.read()
        statuses.append(answer.status)
    connection.close()
    assert statuses == [401] * 50
    assert "guess" not in daemon.log.replace("running without any", "")
    assert "login" not in daemon.log


def test_b63_passwords_are_nowhere_to_be_read(daemon: Daemon, ports: list[int]) -> None:
    ask(ports[0], "GET", "/ok.html", "boss:mistyped-secret")
    call(ports[0], "operator", "supervisor.sendProcessStdin", "html", "typed-secret\n")
    config = ask(ports[0], "GET", "/api/v1/config", "boss:thepassword")[2].decode()
    checked = subprocess.run(
        [*daemon_command("supervise"), "check", "--json", "-c", str(daemon.config)], capture_output=True, text=True
    )
    for text in (daemon.log, config, checked.stdout):
        for secret in ("thepassword", "mistyped-secret", SHA, "{SCRYPT}", "hunter2-user"):
            assert secret not in text
    assert "typed-secret" not in daemon.log


# B64

LOOK: list[tuple[Any, ...]] = [
    *(("supervisor.getState",), ("supervisor.getAllProcessInfo",), ("supervisor.getProcessInfo", "web")),
    *(("supervisor.getAllConfigInfo",), ("supervisor.readLog", 0, 10), ("supervisor.tailProcessLog", "html", 0, 10)),
    *(("system.listMethods",), ("supervisor.getPID",)),
]
CONTROL: list[tuple[Any, ...]] = [
    *(("supervisor.signalProcess", "web", "CONT"), ("supervisor.clearProcessLogs", "web")),
    *(("supervisor.sendProcessStdin", "html", "x\n"), ("supervisor.startProcess", "new:fresh")),
    *(("supervisor.stopProcess", "new:fresh"), ("supervisor.sendRemoteCommEvent", "a", "b")),
]
ADMIN: list[tuple[Any, ...]] = [
    *(("supervisor.reloadConfig",), ("supervisor.removeProcessGroup", "nosuch"), ("supervisor.clearLog",)),
    *(("supervisor.addProcessGroup", "nosuch"), ("supervisor.restart",), ("supervisor.shutdown",)),
]


def refusal(needed: str, user: str, has: str) -> str:
    return rf"30 FAILED: refused: this needs the role {needed}, and user '{user}' at 127\.0\.\d+\.\d+ has {has}"


def test_b64_a_role_is_needed_for_every_method(daemon: Daemon, ports: list[int]) -> None:
    port = ports[0]
    for name, *params in LOOK:
        assert not str(call(port, "looker", name, *params)).startswith("30 "), name
    for needed, calls in (("control", CONTROL), ("admin", ADMIN)):
        for name, *params in calls:
            assert re.fullmatch(refusal(needed, "looker", "read"), call(port, "looker", name, *params)), name
            (inner,) = call(port, "looker", "system.multicall", [{"methodName": name, "params": list(params)}])
            assert inner["faultCode"] == 30
    for name, *params in CONTROL:
        assert call(port, "operator", name, *params) is True, name
    for name, *params in ADMIN:
        assert re.fullmatch(refusal("admin", "operator", "control"), call(port, "operator", name, *params)), name
    assert call(port, "boss", "supervisor.reloadConfig") == [[[], [], []]]
    assert daemon.rpc.supervisor.getState()["statecode"] == 1


def test_b64_a_refusal_does_not_tell_what_exists(daemon: Daemon, ports: list[int]) -> None:
    said = [call(ports[0], "looker", "supervisor.stopProcess", name) for name in ("web", "nosuch", 7)]
    assert len({re.sub(r"127[\d.]+", "", text) for text in said}) == 1


def test_b64_a_role_is_needed_for_every_route(daemon: Daemon, ports: list[int]) -> None:
    port = ports[0]
    for path in ("/processes", "/daemon", "/config", "/processes/html/logs/stdout", "/groups/available"):
        assert ask(port, "GET", f"/api/v1{path}", "looker:thepassword")[0] == 200, path
    control = ("/processes/html/stop", "/processes/html/stdin", "/processes/nosuch/start", "/actions")
    admin = ("/daemon/shutdown", "/daemon/reload", "/config/reread", "/config/update", "/groups/new")
    for path in control + admin:
        status, headers, data = ask(port, "POST", f"/api/v1{path}", "looker:thepassword")
        assert (status, headers["Content-Type"]) == (403, "application/problem+json"), path
        assert b"refused: this needs the role" in data
    for path in admin:
        assert ask(port, "POST", f"/api/v1{path}", "operator:thepassword")[0] == 403, path
    assert ask(port, "DELETE", "/api/v1/daemon/log", "operator:thepassword")[0] == 403
    assert ask(port, "POST", "/api/v1/processes/html/signal", "operator:thepassword", b'{"signal":"CONT"}')[0] == 200
    daemon.wait_log("WARN POST /daemon/shutdown by user 'looker' at 127.0.")


def test_b64_every_verb_has_its_role() -> None:
    """The whole table, so that a new verb is thought about."""
    from supervise.api.methods import supervisor_methods
    from supervise.api.rest import ROUTES

    roles: dict[str, set[str]] = {}
    for name, method in supervisor_methods().items():
        roles.setdefault(str(method.role), set()).add(name.removeprefix("supervisor."))
    assert roles["admin"] == {
        *("clearLog", "shutdown", "restart", "reloadConfig", "addProcessGroup", "removeProcessGroup"),
    }
    looking = ("get", "read", "tail")
    assert all(name.startswith(looking) for name in roles["read"])
    assert all(not name.startswith(looking) for name in roles["control"])
    for route in ROUTES:
        assert (route.method == "GET") is (str(route.role) == "read"), route.path
        if route.path.startswith(("/daemon", "/config", "/groups")) and route.method != "GET":
            assert str(route.role) == "admin", route.path


def as_nobody(daemon: Daemon, verb: str, *gids: int) -> str:
    """What the user nobody gets, with these groups: status and text."""
    script = (
        "import socket,sys,http.client;c=http.client.HTTPConnection('x');s=socket.socket(socket.AF_UNIX);"
        f"s.connect({str(daemon.socket)!r});c.sock=s;m,p=sys.argv[1].split();c.request(m,'/api/v1'+p);"
        "r=c.getresponse();print(r.status,r.read().decode()[:300])"
    )
    python = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
    nobody = pwd.getpwnam("nobody")
    done = subprocess.run(
        [python, "-c", script, verb],
        capture_output=True,
        text=True,
        cwd="/",
        user=nobody.pw_uid,
        group=nobody.pw_gid,
        extra_groups=gids,
    )
    return done.stdout


def test_b64_who_reaches_supervisords_socket_may_do_everything(supervisors: Supervisors) -> None:
    """What our roles are for: one request of a user who was only meant to look ends the real one."""
    need_root()
    open_to_all = "[unix_http_server]\nchmod = 0777\n"
    script = (
        "import socket,sys,http.client;c=http.client.HTTPConnection('x');s=socket.socket(socket.AF_UNIX);"
        "s.connect(sys.argv[1]);c.sock=s;"
        "c.request('POST','/RPC2','<methodCall><methodName>supervisor.shutdown</methodName></methodCall>',"
        "{'Content-Type':'text/xml'});print(c.getresponse().read().decode())"
    )
    python = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
    cases: dict[Kind, bool] = {"supervise": False, "supervisord": True}
    for kind, obeyed in cases.items():
        own = open_to_all + ("read_groups = nogroup\n" if kind == "supervise" else "")
        daemon = supervisors.start(kind, own)
        done = subprocess.run(
            [python, "-c", script, str(daemon.socket)],
            capture_output=True,
            text=True,
            cwd="/",
            user="nobody",
            group="nogroup",
            extra_groups=[],
        )
        assert ("<boolean>1</boolean>" in done.stdout) is obeyed, done
        assert ("needs the role admin" in done.stdout) is not obeyed, done
        if obeyed:
            assert daemon.process.wait(60) == 0
        else:
            assert daemon.rpc.supervisor.getState()["statename"] == "RUNNING"


def start_for(supervisors: Supervisors, own: str) -> Daemon:
    """Our daemon, with a socket that everybody may connect to, and these options of it."""
    place = supervisors.place()
    config = place / "s.conf"
    text = configuration(place, "[program:web]\ncommand = sleep 1000\nstartsecs = 0\n")
    config.write_text(text.replace("s.sock\n", f"s.sock\nchmod = 0777\n{own}\n", 1))
    daemon = supervisors.run("supervise", config, place)
    daemon.wait_state("web", "RUNNING")
    return daemon


VERBS = ("GET /processes", "POST /processes/web/clear", "POST /config/reread")  # what each role adds


def test_b64_groups_of_a_unix_socket_have_roles(supervisors: Supervisors) -> None:
    need_root()
    admin, control, read, also = [record.gr_gid for record in grp.getgrall()][-4:]
    own = f"admin_groups = {admin}\ncontrol_groups = {control},{also}\nread_groups = {read}"
    daemon = start_for(supervisors, own)
    assert as_nobody(daemon, VERBS[0]).startswith("403")
    assert "is not among the users and groups" in as_nobody(daemon, VERBS[0])
    for gids, allowed in (((read,), 1), ((control,), 2), ((also, read), 2), ((admin,), 3), ((admin, read), 3)):
        codes = [as_nobody(daemon, verb, *gids).split()[0] for verb in VERBS]
        assert codes == ["200"] * allowed + ["403"] * (3 - allowed), gids
    assert daemon.rpc.supervisor.reloadConfig() == [[[], [], []]]  # root needs no group
    daemon.wait_log("WARN POST /config/reread by uid")
    daemon.wait_log("is not among the users and groups of unix_http_server: refused")


@pytest.mark.parametrize(
    "own, allowed",
    [
        ("read_users = www-data", 0),
        ("read_users = nobody", 1),
        ("control_users = nobody", 2),
        ("admin_users = nobody", 3),
    ],
)
def test_b64_users_of_a_unix_socket_have_roles(supervisors: Supervisors, own: str, allowed: int) -> None:
    need_root()
    daemon = start_for(supervisors, own)
    codes = [as_nobody(daemon, verb).split()[0] for verb in VERBS]
    assert codes == ["200"] * allowed + ["403"] * (3 - allowed)


def test_b64_local_users_by_their_password(supervisors: Supervisors) -> None:
    """Members of one group control, members of another look: as Monit has it."""
    need_root()
    need_package("pamela")
    service = f"supervise-test-{os.getpid()}-e2e"
    path = Path("/etc/pam.d") / service
    place = supervisors.place()
    script = place / "check.sh"
    script.write_text('#!/bin/sh\nread -r password\n[ "$password" = "right-$PAM_USER" ]\n')
    script.chmod(0o755)
    path.write_text(f"auth required pam_exec.so quiet expose_authtok {script}\naccount required pam_permit.so\n")
    try:
        (port,) = free_ports(1)
        groups = {name: pwd.getpwnam(name).pw_gid for name in ("nobody", "daemon", "bin")}
        text = (
            f"[inet_http_server]\nport = 127.0.0.1:{port}\npam_service = {service}\n"
            f"control_groups = {groups['daemon']}\nread_groups = {groups['nobody']}\n"
            "[program:web]\ncommand = sleep 1000\nstartsecs = 0\n"
        )
        daemon = supervisors.start("supervise", text)
        daemon.wait_state("web", "RUNNING")
        rows = (("nobody", 200, 403), ("daemon", 200, 200), ("bin", 401, 401), ("root", 200, 200))
        for user, look, act in rows:
            known = f"{user}:right-{user}"
            assert ask(port, "GET", "/api/v1/processes", known)[0] == look, user
            assert ask(port, "POST", "/api/v1/processes/web/clear", known)[0] == act, user
            assert ask(port, "GET", "/api/v1/processes", f"{user}:wrong")[0] == 401
        assert ask(port, "GET", "/api/v1/processes")[0] == 401
    finally:
        path.unlink()


# B65


def test_b65_root_takes_no_configuration_from_strangers(supervisors: Supervisors) -> None:
    need_root()
    place = supervisors.place()
    config = place / "supervisord.conf"
    config.write_text(configuration(place, ""))
    os.chown(config, pwd.getpwnam("nobody").pw_uid, -1)

    def start(*options: str) -> subprocess.CompletedProcess[str]:
        code = "import sys; sys.argv[0] = sys.argv.pop(1); from supervise.cli.supervise import main; main()"
        argv = [sys.executable, "-c", code, str(place / "bin" / "x" / "supervise"), *options]
        env = environment(place)
        return subprocess.run(argv, cwd=place, env=env, capture_output=True, text=True, timeout=60)

    done = start("-n")
    assert done.returncode == 2
    assert "not to root; name it with -c if it is meant" in done.stderr
    assert not (place / "main.log").exists()
    command = [*daemon_command("supervisord"), "-n"]
    real = subprocess.Popen(
        command, cwd=place, env=environment(place), stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    )
    try:
        wait_for(lambda: "supervisord started with pid" in (place / "main.log").read_text(), "supervisord takes it")
    finally:
        real.kill()
        real.wait()
    os.chown(config, 0, -1)
    config.chmod(0o666)
    assert "everybody may write it" in start("-n").stderr
    client = subprocess.run(
        [*client_command("supervise"), "status"], cwd=place, env=environment(place), capture_output=True, text=True
    )
    assert client.returncode == 2


# B66


def test_b66_logs_follow_no_link_of_somebody_else(supervisors: Supervisors) -> None:
    need_root()
    place = supervisors.place()
    theirs = place / "theirs"
    theirs.mkdir()
    os.chown(theirs, pwd.getpwnam("nobody").pw_uid, -1)
    target = place / "precious"
    target.write_text("precious")
    (theirs / "out.log").symlink_to(target)
    text = (
        f"[program:web]\ncommand = sh -c 'echo overwritten; exec sleep 1000'\nstartsecs = 0\n"
        f"stdout_logfile = {theirs}/out.log\n"
    )
    daemon = supervisors.start("supervise", text)
    daemon.wait_state("web", "RUNNING")  # the program runs, its log does not
    wait_for(lambda: str(theirs / "out.log") in daemon.log, "the main log tells of the link")
    assert target.read_text() == "precious"
    daemon.rpc.supervisor.signalProcess("web", "CONT")
    with contextlib.suppress(xmlrpc.client.Fault):
        daemon.rpc.supervisor.clearProcessLogs("web")
    assert target.read_text() == "precious"
    supervisors.start("supervisord", text)
    wait_for(lambda: "overwritten" in target.read_text(), "supervisord follows it, as root")


def test_b66_but_who_wants_it_can_have_it(supervisors: Supervisors) -> None:
    need_root()
    place = supervisors.place()
    (place / "theirs").mkdir()
    (place / "theirs" / "out.log").symlink_to(place / "target")
    os.chown(place / "theirs", pwd.getpwnam("nobody").pw_uid, -1)
    text = f"[program:web]\ncommand = sh -c 'echo here; exec sleep 1000'\nstdout_logfile = {place}/theirs/out.log\n"
    daemon = supervisors.start("supervise", text, supervisord="follow_links = true\n", place=place)
    wait_for(lambda: daemon.read("target") == "here\n")
    daemon.config.write_text(daemon.config.read_text().replace("follow_links = true", ""))
    daemon.rpc.supervisor.restart()
    wait_for(lambda: f"{place}/theirs/out.log" in daemon.log, "until a reload takes it back")
    assert daemon.read("target") == "here\n"


def test_b66_nor_is_root_led_astray_on_the_way_there(supervisors: Supervisors) -> None:
    """Neither to write nor to read: the program's user has put a link in the place of his directory of logs."""
    need_root()
    cases: dict[Kind, bool] = {"supervise": False, "supervisord": True}
    for kind, led in cases.items():
        place = supervisors.place()
        for name in ("roots", "theirs"):
            (place / name).mkdir(mode=0o755)
        (place / "roots" / "web.err").write_text("precious")
        (place / "theirs" / "logs").symlink_to("../roots")
        for path in (place / "theirs", place / "theirs" / "logs"):
            os.chown(path, pwd.getpwnam("nobody").pw_uid, -1, follow_symlinks=False)
        text = (
            "[program:web]\ncommand = sh -c 'echo overwritten; exec sleep 1000'\nstartsecs = 0\n"
            f"stdout_logfile = {place}/theirs/logs/web.out\nstderr_logfile = {place}/theirs/logs/web.err\n"
        )
        daemon = supervisors.start(kind, text, place=place)
        daemon.wait_state("web", "RUNNING")
        if led:
            wait_for(lambda daemon=daemon: daemon.read("roots/web.out") == "overwritten\n", "supervisord is")
            assert daemon.rpc.supervisor.readProcessStderrLog("web", 0, 0) == "precious"
        else:
            wait_for(lambda daemon=daemon, place=place: f"{place}/theirs/logs/web.out" in daemon.log, "it is told")
            assert os.listdir(place / "roots") == ["web.err"]
            with pytest.raises(xmlrpc.client.Fault):
                daemon.rpc.supervisor.readProcessStderrLog("web", 0, 0)


# B67


def test_b67_log_text_is_no_page(daemon: Daemon, stock: Daemon, ports: list[int]) -> None:
    assert "Content-Security-Policy" not in ask(ports[1], "GET", "/")[1]
    status, headers, data = ask(ports[0], "GET", "/api/v1/processes/html/logs/stdout", "looker:thepassword")
    assert (status, b"<script>" in data) == (200, True)
    assert headers["Content-Type"].startswith("text/plain")
    assert headers["X-Content-Type-Options"] == "nosniff"
    _, headers, page = ask(ports[0], "GET", "/", "looker:thepassword")
    assert b"<script" not in page
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    connection = http.client.HTTPConnection("127.0.0.1", ports[0], timeout=60)
    token = base64.b64encode(b"looker:thepassword").decode()
    connection.request("GET", "/logtail/html", headers={"Authorization": f"Basic {token}"})
    answer = connection.getresponse()
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Type"].startswith("text/plain")
    connection.sock and connection.sock.shutdown(socket.SHUT_RDWR)
    connection.close()


def test_b67_names_are_escaped(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", '[program:<b>"x"&]\ncommand = sleep 1000\nautostart = false\n')
    page = daemon.request("GET", "/")[2]
    assert b"&lt;b&gt;&quot;x&quot;&amp;" in page
    assert b"<b>" not in page


# B68


def test_b68_secrets_of_programs_are_hidden(daemon: Daemon, stock: Daemon, ports: list[int]) -> None:
    (web,) = [one for one in call(ports[1], "", "supervisor.getAllConfigInfo") if one["name"] == "web"]
    assert [secret for secret in SECRETS if secret in web["command"]] == ["hunter2-url", "hunter2-word"]
    below = ask(ports[0], "GET", "/api/v1/config", "operator:thepassword")[2].decode()
    assert not [secret for secret in SECRETS if secret in below]
    assert '"PATH":"********"' in below
    above = ask(ports[0], "GET", "/api/v1/config", "boss:thepassword")[2].decode()
    assert [secret for secret in SECRETS if secret in above] == ["hunter2-plain"]
    assert '"PATH":"/usr/bin:/bin"' in above
    for user in ("looker", "operator"):
        (web,) = [one for one in call(ports[0], user, "supervisor.getAllConfigInfo") if one["name"] == "web"]
        assert web["command"] == "sh -c 'exec sleep 1000' --token ******** --db=amqp://me:********@host/"
    (web,) = [one for one in call(ports[0], "boss", "supervisor.getAllConfigInfo") if one["name"] == "web"]
    assert "hunter2-word" in web["command"]  # as supervisord: admins compare commands
    assert not [secret for secret in SECRETS if secret in daemon.log]
