"""supervisord's links and forms to its web page, asked of both (ours lets links act): same messages, same effects."""

import re
from typing import Any
from urllib.parse import quote, unquote, urlencode

import pytest

from tests.compat.pair import Pair
from tests.daemons import UNSTARTABLE, Daemon, Supervisors, sleepers

PROGRAMS = f"""
[unix_http_server]
get_actions = true
{UNSTARTABLE}
[group:shop]
programs = a,b
{sleepers("web", "a", "b")}
autostart = false
"""
CLOCK = re.compile(r"[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}")
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
STEPS = [
    *[("refresh", ""), ("start", "web"), ("stop", "web"), ("stop", "web"), ("start", "web"), ("restart", "web")],
    *[("clearlog", "web"), ("clearlog", "quick"), ("start", "bad"), ("start", "plain"), ("start", "quick")],
    *[("start", "nobody"), ("start", "shop"), ("start", "shop:*"), ("start", "shop:c"), ("start", "shop:b")],
    *[("stop", "shop:a"), ("restart", "shop:a"), ("stopall", ""), ("start", "web")],
]


@pytest.fixture(scope="module")
def pair(shared_supervisors: Supervisors) -> Pair:
    pair = Pair(shared_supervisors, PROGRAMS)
    for daemon in (pair.ours, pair.theirs):
        daemon.wait_state("web", "RUNNING")
        daemon.wait_state("shop:a", "RUNNING")
    return pair


def outcome(daemon: Daemon, status: int, headers: dict[str, str]) -> Any:
    """Where the answer leads, and what is up then."""
    before, _, message = headers.get("Location", "").partition("?message=")
    shown = daemon.request("GET", f"/?message={message}")[2].decode()
    said = CLOCK.sub("CLOCK", unquote(message))
    up = {name: state in ("RUNNING", "STARTING") for name, state in daemon.states().items()}
    return {"status": status, "root": before[-1:], "said": said, "up": up, "shown": unquote(message) in shown}


@pytest.mark.parametrize("action, name", STEPS)
def test_a_link(pair: Pair, action: str, name: str) -> None:
    def follow(daemon: Daemon) -> Any:
        status, headers, _ = daemon.request("GET", f"/index.html?processname={quote(name)}&action={action}")
        return outcome(daemon, status, headers)

    pair.agree(follow)


@pytest.mark.parametrize("action, name", STEPS)
def test_a_form(pair: Pair, action: str, name: str) -> None:
    """supervisord takes one from anybody; ours must be from the page, and is answered so that browsers ask no more."""

    def send(daemon: Daemon) -> Any:
        found = re.search(r'name=token value="(\w+)"', daemon.request("GET", "/")[2].decode())
        form = {"processname": name, "action": action, "token": found[1] if found else ""}
        status, headers, _ = daemon.request("POST", "/index.html", urlencode(form).encode(), FORM)
        assert status == (303 if daemon is pair.ours else 301)
        return outcome(daemon, 0, headers)

    pair.agree(send)


def test_restarting_what_cannot_start(pair: Pair) -> None:
    """supervisord says "restarted" without having looked."""

    def follow(daemon: Daemon) -> str:
        return unquote(daemon.request("GET", "/index.html?processname=bad&action=restart")[1]["Location"])

    assert pair.ask(follow) == (
        '"./?message=ERROR: Process bad: no such file"',
        '"http://localhost/?message=Process bad restarted"',
    )


@pytest.mark.parametrize("query", ["action=nonsense", "action=start", "action=nonsense&processname=web"])
def test_what_is_no_action(pair: Pair, query: str) -> None:
    statuses = pair.ask(lambda daemon: daemon.request("GET", f"/index.html?{query}")[0])
    assert statuses == ("400", "500")
