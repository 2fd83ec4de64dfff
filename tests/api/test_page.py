"""The pages for browsers: read-only, escaped, and with a policy that lets nothing else run."""

import base64
import hashlib
import re

import pytest

from tests.daemons import Daemon, Supervisors
from tests.tools import wait_for

pytestmark = pytest.mark.xdist_group("api-page")


@pytest.fixture(scope="module")
def daemon(shared_supervisors: Supervisors) -> Daemon:
    return shared_supervisors.start(
        "supervise",
        "[program:<b>&amp;\"']\ncommand=sleep 100\nstartsecs=0\n[program:bad]\ncommand=/does/<not>/exist\n",
        "identifier = <script>alert(1)</script>",
    )


@pytest.mark.parametrize("path", ["/", "/index.html", "/?message=<script>", "/index.html?action=stopall"])
def test_the_status_page(daemon: Daemon, path: str) -> None:
    status, headers, body = daemon.request("GET", path)
    assert status == 200
    page = body.decode()
    assert "&lt;b&gt;&amp;amp;&quot;&#x27;" in page
    assert "RUNNING" in page
    assert "<b>" not in page
    assert "<script" not in page
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
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
        ("processname=nobody", 404),
        ("processname=all", 404),
        ("", 404),
        ("processname=p&limit=0", 400),
        ("processname=p&limit=x", 400),
        ("processname=p&limit=99999999999", 400),
    ]:
        assert daemon.request("GET", f"/tail.html?{query}")[0] == expected, query


def test_health(daemon: Daemon) -> None:
    assert daemon.request("GET", "/ok.html")[::2] == (200, b"OK")
    assert daemon.request("HEAD", "/ok.html")[::2] == (200, b"")


@pytest.mark.parametrize("path", ["/stylesheets/supervisor.css", "/favicon.ico"])
def test_what_is_not_there_is_not_there(daemon: Daemon, path: str) -> None:
    assert daemon.request("GET", path)[0] == 404


def test_nothing_is_posted_to_a_page(daemon: Daemon) -> None:
    status, headers, _ = daemon.request("POST", "/index.html", b"action=stopall")
    assert (status, headers["Allow"]) == (405, "GET, HEAD")
