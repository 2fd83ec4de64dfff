"""What a browser gets: the state of everything, the end of a log, and /ok.html for health checks; all read-only.

supervisord's links that change something (`?action=stop`) show the page and do nothing: whoever makes a browser fetch
a link must not stop programs (B62). POST to the JSON API instead.

The page has no scripts, no forms and no links that change anything; everything on it is escaped, and its
Content-Security-Policy allows nothing but its own style.
"""

import base64
import hashlib
import html

from aiohttp.web import BaseRequest, Response

from supervise.api.problem import Problem
from supervise.api.text import decode, skip_partial
from supervise.daemon.commands import Commands
from supervise.daemon.namespec import literal
from supervise.errors import CommandError

MOST = 1 << 20  # bytes of a log on a page

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2em;color:#222}table{border-collapse:collapse}"
    "td,th{padding:.2em .8em;text-align:left;border-bottom:1px solid #ddd}.RUNNING{color:#176f2c}"
    ".FATAL,.BACKOFF,.UNKNOWN{color:#b3261e}.STOPPED,.EXITED{color:#666}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


async def serve(commands: Commands, request: BaseRequest, path: str) -> Response:
    """Answer for every path that is no interface. Raises Problem 404 and 405."""
    if path not in ("/", "/index.html", "/tail.html", "/ok.html"):
        raise Problem(404, "there is nothing here")
    if request.method not in ("GET", "HEAD"):
        raise Problem(405, "this page is only for reading", headers={"Allow": "GET, HEAD"})
    if path == "/ok.html":
        return Response(text="OK")
    if path == "/tail.html":
        return await _tail(commands, request)
    return Response(body=render(commands).encode("utf-8", "replace"), headers=_HEADERS)


async def _tail(commands: Commands, request: BaseRequest) -> Response:
    """The end of a program's stdout: `processname`, and `limit` bytes (1024). Raises Problem 400, 404."""
    name, limit = request.query.get("processname", ""), request.query.get("limit", "1024")
    if not limit.isdecimal() or not 1 <= int(limit) <= MOST:
        raise Problem(400, f"limit is a number of bytes, 1 to {MOST}")
    try:
        data, _, _ = await commands.tail_log(literal(name), "stdout", 0, int(limit))
    except CommandError as error:
        raise Problem(404, str(error)) from None
    shown = html.escape(decode(skip_partial(data)))
    return Response(body=frame(f"{name}: stdout", f"<pre>{shown}</pre>\n").encode("utf-8", "replace"), headers=_HEADERS)


def render(commands: Commands) -> str:
    """The status page."""
    rows = "".join(
        f"<tr><td>{html.escape(p.namespec)}<td class={p.statename}>{p.statename}<td>{html.escape(p.description)}\n"
        for p in commands.processes()
    )
    title = f"{commands.identifier}: {commands.state[1].lower()}"
    return frame(title, f"<table><thead><tr><th>Name<th>State<th>Description<tbody>\n{rows}</table>\n")


def frame(title: str, content: str) -> str:
    """A page around content that is HTML already; the title is not."""
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title><style>{_STYLE}</style>\n"
        f"<h1>{html.escape(title)}</h1>\n{content}"
    )
