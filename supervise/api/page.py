"""What a browser gets: the state of everything with buttons to change it, the end of a log, /ok.html for health checks;
and, for who has asked supervisord for them, files at the addresses of its style and pictures.

The page has no scripts; everything on it is escaped, and its Content-Security-Policy allows nothing but its own style
and forms. Who may only look sees no buttons. Addresses in it are relative, so that it also works below a proxy's path.
"""

import asyncio
import base64
import hashlib
import html
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from urllib.parse import parse_qsl, quote

from aiohttp.web import BaseRequest, Response, StreamResponse

from supervise.api import audit, body, large
from supervise.api.actions import REFRESH, Actions
from supervise.api.auth import Caller, check_origin
from supervise.api.problem import Problem
from supervise.api.text import skip_partial, slices
from supervise.config.model import Role, ServerConfig
from supervise.core.events import RUNNING_STATES, State
from supervise.daemon.commands import Commands
from supervise.daemon.info import ProcessInfo
from supervise.daemon.namespec import literal
from supervise.errors import CommandError, Fault

MOST = 1 << 20  # bytes of a log on a page
USUAL = 1024
MAX_FORM = 64 << 10
MAX_FIELDS = 10
MAX_MESSAGE = 1000  # characters

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2em;color:#222}table{border-collapse:collapse}"
    "td,th{padding:.2em .8em;text-align:left;border-bottom:1px solid #ddd}.RUNNING{color:#176f2c}"
    ".FATAL,.BACKOFF,.UNKNOWN{color:#b3261e}.STOPPED,.EXITED{color:#666}.message{padding:.4em .8em;background:#eef}"
    "form{display:inline}button{font:inherit;margin-right:.3em}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

# Our pages need no other files: these are there for pages and checks that were made for supervisord's. The pictures are
# a transparent pixel each.
_GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAAAAACH5BAEAAAAALAAAAAABAAEAAAICRAEAOw==")
_PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR4nGNgYAAAAAMAAbitOmMAAAAASUVORK5CYII=")
_GIFS = ("rule", "state0", "state1", "state2", "state3", "supervisor")
_FILES = {
    "/stylesheets/supervisor.css": ("text/css; charset=utf-8", _STYLE.encode()),
    "/images/icon.png": ("image/png", _PNG),
} | {f"/images/{name}.gif": ("image/gif", _GIF) for name in _GIFS}

_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with no-referrer, browsers say "Origin: null" for our own forms, too
    "Cache-Control": "no-store",
}
_LINKS_DO_NOTHING = (
    "Nothing was done: links change nothing here, since any page could contain them. Use the buttons, or see the option"
    " get_actions."
)


class Page:
    """The pages. Loop thread only."""

    def __init__(self, commands: Commands) -> None:
        self._commands, self._actions = commands, Actions(commands)

    async def serve(self, request: BaseRequest, path: str, caller: Caller, server: ServerConfig) -> StreamResponse:
        """Answer for every path that is no interface. Raises Problem 400, 403, 404, 405, 413, 415."""
        if path not in ("/", "/index.html", "/tail.html", "/ok.html", *_FILES):
            raise Problem(404, "there is nothing here")
        form = path in ("/", "/index.html")
        if request.method == "POST" and form:
            return await self._post(request, caller)
        if request.method not in ("GET", "HEAD"):
            raise Problem(405, "not possible here", headers={"Allow": "GET, HEAD, POST" if form else "GET, HEAD"})
        if path == "/ok.html":
            return Response(text="OK")
        if path in _FILES:
            kind, data = _FILES[path]
            return Response(body=data, headers={"Content-Type": kind, "X-Content-Type-Options": "nosniff"})
        if path == "/tail.html":
            return await self._tail(request)
        if request.method == "GET" and (action := request.query.get("action", "")):
            return await self._link(request, action, caller, server)
        return _html(self._status(caller, request.query.get("message", "")))

    async def _post(self, request: BaseRequest, caller: Caller) -> Response:
        """A form of ours, and no other."""
        if request.headers.get("Content-Type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
            raise Problem(415, "the body must be application/x-www-form-urlencoded")
        fields = _fields(await body.read(request, MAX_FORM))
        self._check_role(fields.get("action", ""), caller)
        if not self._actions.accepts(fields.get("token", ""), caller):
            raise Problem(403, "refused: this form is not from the present page; load that again")
        return await self._done(fields.get("action", ""), fields.get("processname", ""), caller, HTTPStatus.SEE_OTHER)

    async def _link(self, request: BaseRequest, action: str, caller: Caller, server: ServerConfig) -> Response:
        """supervisord's links, where they are wanted and no other site is behind them."""
        if action != REFRESH:
            if not server.get_actions:
                return _html(self._status(caller, _LINKS_DO_NOTHING), 405, Allow="POST")
            check_origin(server, request.headers, is_open=False)  # what browsers say of themselves; others say nothing
            self._check_role(action, caller)
        name = request.query.get("processname", "")
        return await self._done(action, name, caller, HTTPStatus.MOVED_PERMANENTLY)  # what supervisord says

    async def _done(self, action: str, name: str, caller: Caller, status: int) -> Response:
        message = await self._actions.act(action, name, caller)
        return _html("", status, Location=f"./?message={quote(message, errors='replace')}")

    def _check_role(self, action: str, caller: Caller) -> None:
        if action != REFRESH and caller.role < Role.CONTROL:
            refusal = caller.lacks(Role.CONTROL)
            assert refusal
            audit.refused(caller, f"{action} on the status page", str(refusal))
            raise Problem(403, refusal.detail)

    async def _tail(self, request: BaseRequest) -> StreamResponse:
        """The end of a program's stdout: `processname`, and `limit` bytes. What is wrong is said in its place, and bad
        limits are replaced, as by supervisord."""
        name, asked = request.query.get("processname", ""), request.query.get("limit", "")
        limit = min(int(asked), MOST) if asked.isdecimal() and len(asked) < 20 else 0
        async with large.making(limit) as made:
            text = await self._end_of(name, limit or USUAL) if name else ["No process name found"]
            made.keep(page := await asyncio.to_thread(_tail_page, name, text))
        return large.answer(page, _HEADERS)

    async def _end_of(self, name: str, limit: int) -> Iterable[str]:
        try:
            return slices(skip_partial(await self._commands.read_log(literal(name), "stdout", -limit, 0)))
        except CommandError as error:
            if error.fault is Fault.NO_FILE:
                return [f"No file for {name}"]
            said = f"BAD_NAME: {name}" if error.fault is Fault.BAD_NAME else str(error)
            return [f"ERROR: unexpected rpc fault [{error.code}] {said}"]

    def _status(self, caller: Caller, message: str) -> str:
        """The status page."""
        token = self._actions.token(caller) if caller.role >= Role.CONTROL else ""
        said = f"<p class=message>{html.escape(message[:MAX_MESSAGE])}</p>\n" if message else ""
        buttons = _form(token, {}, {"restartall": "Restart all", "stopall": "Stop all"}) if token else ""
        rows = "".join(
            f"<tr><td>{_link_to('tail.html?processname=', p.namespec, p.namespec)}<td class={p.statename}>{p.statename}"
            f"<td>{html.escape(p.description)}<td>{_buttons(p, token)}"
            f"{_link_to('logtail/', p.namespec, 'stdout')} {_link_to('logtail/', p.namespec, 'stderr', '/stderr')}\n"
            for p in self._commands.processes()
        )
        title = f"{self._commands.identifier}: {self._commands.state[1].lower()}"
        head = f'<p><a href="index.html?action={REFRESH}">Refresh</a> {buttons}</p>\n'
        table = f"<table><thead><tr><th>Name<th>State<th>Description<th>Action<tbody>\n{rows}</table>\n"
        return frame(title, said + head + table)


def frame(title: str, content: str) -> str:
    """A page around content that is HTML already; the title is not."""
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title><style>{_STYLE}</style>\n"
        f"<h1>{html.escape(title)}</h1>\n{content}"
    )


def _tail_page(name: str, text: Iterable[str]) -> list[bytes]:
    pieces = (frame(f"{name}: stdout", "<pre>"), *map(html.escape, text), "</pre>\n")
    return [piece.encode("utf-8", "replace") for piece in pieces]


def _buttons(process: ProcessInfo, token: str) -> str:
    """What may be done with a process in its state; for who may only look: nothing."""
    if not token:
        return ""
    shown = {"restart": "Restart", "stop": "Stop"} if process.state in RUNNING_STATES else {"start": "Start"}
    shown = {} if process.state == State.STOPPING else shown
    return _form(token, {"processname": process.namespec}, {**shown, "clearlog": "Clear log"})


def _form(token: str, fields: Mapping[str, str], actions: Mapping[str, str]) -> str:
    hidden = "".join(
        f'<input type=hidden name={name} value="{html.escape(value)}">'
        for name, value in {"token": token, **fields}.items()
    )
    buttons = "".join(f"<button name=action value={action}>{text}</button>" for action, text in actions.items())
    return f'<form method=post action="index.html">{hidden}{buttons}</form>'


def _link_to(before: str, name: str, text: str, after: str = "") -> str:
    return f'<a href="{before}{quote(name, safe=":", errors="replace")}{after}">{html.escape(text)}</a>'


def _fields(data: bytes) -> dict[str, str]:
    """A form's fields; of one that is there twice the last. Raises Problem 400."""
    try:
        return dict(parse_qsl(data.decode("ascii"), True, errors="strict", max_num_fields=MAX_FIELDS))
    except ValueError:  # not ASCII, not UTF-8 behind the percent signs, too many fields
        raise Problem(400, "the body is no form") from None


def _html(text: str, status: int = 200, **headers: str) -> Response:
    return Response(body=text.encode("utf-8", "replace"), status=status, headers=_HEADERS | headers)
