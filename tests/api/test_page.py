"""The pages for browsers: escaped, and with a policy that lets nothing else run. What buttons do: test_actions."""

import base64
import hashlib
import re

import pytest

from tests.compat.test_security import ask
from tests.daemons import Daemon, Supervisors
from tests.tools import free_ports, wait_for

pytestmark = pytest.mark.xdist_group("api-page")


@pytest.fixture(scope="module")
def daemon(shared_supervisors: Supervisors) -> Daemon:
    odd = "[program:<b>&amp;\"']\ncommand = sleep 100\nstartsecs = 0\n"
    bad = "[program:bad]\ncommand = /does/<not>/exist\nstartretries = 0\n"
    daemon = shared_supervisors.start("supervise", odd + bad, "identifier = <script>alert(1)</script>")
    daemon.wait_state("bad", "FATAL")
    wait_for(lambda: "RUNNING" in daemon.states().values())
    return daemon


@pytest.mark.parametrize("path", ["/", "/index.html", "/?message=<script>", "/index.html?action=stopall"])
def test_the_status_page(daemon: Daemon, path: str) -> None:
    status, headers, body = daemon.request("GET", path)
    assert status == (405 if "action" in path else 200)
    page = body.decode()
    assert ("links change nothing here" in page) is ("action" in path)
    assert ("<p class=message>&lt;script&gt;</p>" in page) is ("message" in path)
    assert "&lt;b&gt;&amp;amp;&quot;&#x27;" in page
    assert "RUNNING" in page
    assert "<b>" not in page
    assert "<script" not in page
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "form-action 'self'" in policy
    assert headers["Referrer-Policy"] == "same-origin"  # no-referrer would make "Origin: null" of our own forms
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style
    assert base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode() in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert daemon.states()["<b>&amp;\"':<b>&amp;\"'"] == "RUNNING"  # asking for it changes nothing


def test_the_end_of_a_log(shared_supervisors: Supervisors) -> None:
    program = "[program:p]\ncommand = sh -c 'echo one; echo \"<two>\"; exec sleep 1000'\nstartsecs = 0\n"
    daemon = shared_supervisors.start("supervise", program)
    wait_for(lambda: b"&lt;two&gt;" in daemon.request("GET", "/tail.html?processname=p")[2])
    status, headers, body = daemon.request("GET", "/tail.html?processname=p&limit=6")
    assert status == 200
    assert b"<pre>&lt;two&gt;\n</pre>" in body
    assert b"one" not in body
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    for query, expected in [
        ("processname=<b>", b"[10] BAD_NAME: &lt;b&gt;</pre>"),
        ("processname=all", b"[10] BAD_NAME: all</pre>"),
        ("", b"<pre>No process name found</pre>"),
        *((f"processname=p&limit={limit}", b"<pre>one\n&lt;two&gt;\n</pre>") for limit in ("0", "x", "99999999999")),
    ]:
        status, _, body = daemon.request("GET", f"/tail.html?{query}")
        assert status == 200
        assert expected in body


def test_health(daemon: Daemon) -> None:
    assert daemon.request("GET", "/ok.html")[::2] == (200, b"OK")
    assert daemon.request("HEAD", "/ok.html")[::2] == (200, b"")


@pytest.mark.parametrize(
    "path, kind, begin",
    [
        ("/stylesheets/supervisor.css", "text/css; charset=utf-8", b"body{"),
        ("/images/icon.png", "image/png", b"\x89PNG\r\n\x1a\n"),
        ("/images/state1.gif", "image/gif", b"GIF89a"),
    ],
)
def test_files_that_supervisord_has(daemon: Daemon, path: str, kind: str, begin: bytes) -> None:
    status, headers, body = daemon.request("GET", path)
    assert (status, headers["Content-Type"], body[: len(begin)]) == (200, kind, begin)
    assert daemon.request("POST", path, b"x")[0] == 405


@pytest.mark.parametrize("path", ["/stylesheets/other.css", "/images/", "/favicon.ico"])
def test_what_is_not_there_is_not_there(daemon: Daemon, path: str) -> None:
    assert daemon.request("GET", path)[0] == 404


FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    "method, path, kind, body, expected",
    [
        ("POST", "/index.html", "", b"action=stopall", 415),
        ("POST", "/index.html", "application/json", b'{"action": "stopall"}', 415),
        ("POST", "/index.html", FORM, b"action=stopall", 403),
        ("POST", "/", FORM, b"", 403),
        ("POST", "/", FORM, b"\xff", 400),
        ("POST", "/", FORM, b"token=%ff", 400),
        ("POST", "/", FORM, b"a=b&" * 1000, 400),
        ("POST", "/", FORM, b"a" * 100_000, 413),
        ("POST", "/tail.html", FORM, b"action=stopall", 405),
        ("PUT", "/index.html", FORM, b"action=stopall", 405),
        ("HEAD", "/index.html?action=stopall", "", b"", 200),
    ],
)
def test_what_is_no_form_of_ours(daemon: Daemon, method: str, path: str, kind: str, body: bytes, expected: int) -> None:
    before = daemon.states()
    assert daemon.request(method, path, body, {"Content-Type": kind} if kind else {})[0] == expected
    assert daemon.states() == before


def buttons(page: bytes, row: str) -> list[str]:
    """What can be pressed in the rows that contain a text."""
    return re.findall(r"<button name=action value=(\w+)>", "".join(x for x in page.decode().split("\n") if row in x))


def test_buttons_fit_the_state(shared_supervisors: Supervisors) -> None:
    programs = """
        [program:up]
        command = sleep 1000
        startsecs = 0
        [program:down]
        command = sleep 1000
        autostart = false
        [program:ending]
        command = sh -c 'trap "" TERM; echo deaf; while :; do sleep 1; done'
        startsecs = 0
        stopwaitsecs = 1000
    """
    daemon = shared_supervisors.start("supervise", programs, "shutdown_timeout = 1")
    daemon.wait_state("up", "RUNNING")
    wait_for(lambda: daemon.rpc.supervisor.readProcessStdoutLog("ending", 0, 0))
    daemon.wait_state("ending", "RUNNING")
    daemon.rpc.supervisor.stopProcess("ending", False)
    page = daemon.request("GET", "/")[2]
    assert buttons(page, "?processname=up") == ["restart", "stop", "clearlog"]
    assert buttons(page, "?processname=down") == ["start", "clearlog"]
    assert buttons(page, "?processname=ending") == ["clearlog"]
    assert buttons(page, "action=refresh") == ["restartall", "stopall"]


@pytest.mark.parametrize("server", ["", "get_actions = true\n"])
def test_who_may_only_look_sees_no_buttons(supervisors: Supervisors, server: str) -> None:
    (port,) = free_ports(1)
    users = "".join(f"[user:{role}]\npassword = x\nrole = {role}\n" for role in ("read", "control"))
    programs = f"[program:web]\ncommand = sleep 1000\n[inet_http_server]\nport = 127.0.0.1:{port}\n{server}{users}"
    daemon = supervisors.start("supervise", programs)
    page = ask(port, "GET", "/", "control:x")[2]
    assert buttons(page, "?processname=web") == ["restart", "stop", "clearlog"]
    token = re.search(rb'name=token value="(\w+)"', page)
    assert token
    form = b"action=stop&processname=web&token=" + token[1]
    seen = ask(port, "GET", "/", "read:x")[2]
    assert b"<form" not in seen
    assert b"token" not in seen
    assert ask(port, "POST", "/", "read:x", form, Content_Type=FORM)[0] == 403
    assert ask(port, "GET", "/index.html?action=stop&processname=web", "read:x")[0] == (403 if server else 405)
    assert ask(port, "POST", "/", "control:x", form, Content_Type=FORM, Origin="http://evil.example")[0] == 403
    assert daemon.info("web")["statename"] in ("STARTING", "RUNNING")
    daemon.wait_log("WARN stop on the status page by user 'read' at 127.0.")
    own = {"Origin": f"http://127.0.0.1:{port}", "Sec_Fetch_Site": "same-origin"}
    assert ask(port, "POST", "/", "control:x", form, Content_Type=FORM, **own)[0] == 303
    assert daemon.info("web")["statename"] == "STOPPED"


def test_links_act_where_they_are_allowed_to(supervisors: Supervisors) -> None:
    (port,) = free_ports(1)
    programs = f"[program:web]\ncommand = sleep 1000\n[inet_http_server]\nport = 127.0.0.1:{port}\nget_actions = 1\n"
    daemon = supervisors.start("supervise", programs)
    daemon.wait_state("web", "RUNNING")
    link = "/index.html?processname=web&action=stop"
    assert ask(port, "GET", link, Sec_Fetch_Site="cross-site")[0] == 403
    assert daemon.request("GET", link)[0] == 405  # another server
    assert ask(port, "HEAD", link)[0] == 200
    assert daemon.info("web")["statename"] == "RUNNING"
    status, headers, _ = ask(port, "GET", link)
    assert (status, headers["Location"]) == (301, "./?message=Process%20web%20stopped")
    assert daemon.info("web")["statename"] == "STOPPED"
    assert ask(port, "GET", "/index.html?action=nonsense")[0] == 400
