"""The control server: which listeners there are, and what answers which path."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from aiohttp.web import BaseRequest, Response, StreamResponse

from supervise.api import audit, body, logtail, openapi, shapes
from supervise.api.auth import Caller, check_origin
from supervise.api.gate import AskLocals, Gate, is_private
from supervise.api.large import ROOM, Large, Room
from supervise.api.listing import Lists
from supervise.api.page import Page
from supervise.api.plugins import Plugins
from supervise.api.problem import Problem
from supervise.api.rest import MAX_STDIN, ROUTES
from supervise.api.routes import BASE, Call, Route, Router
from supervise.api.server import SERVER, Listener, Server
from supervise.api.xmlrpc import Rpc
from supervise.config.model import Config, Role, ServerConfig
from supervise.daemon.commands import Commands
from supervise.errors import CommandError

log = logging.getLogger("supervise")

MAX_JSON = 1 << 20
GRACE = 5.0


class Api:
    """Serves the commands on any number of listeners. Loop thread only."""

    def __init__(self, commands: Commands, ask_locals: AskLocals) -> None:
        self._commands, self._lists = commands, Lists(commands)
        self._gate, self._plugins = Gate(ask_locals), Plugins(commands)
        self._rpc, self._page = Rpc(commands, {}), Page(commands)
        own = Route(
            method="GET", path="/openapi.json", handler=self._openapi, summary="This document.", answer=shapes.DOCUMENT
        )
        self.routes = (*ROUTES, own)
        self._router = Router(self.routes)
        self._document = shapes.dumps(openapi.document(self.routes))
        self._servers: dict[int, Server] = {}
        self._room = Room(ROOM)

    @property
    def addresses(self) -> list[str]:
        """URLs of the listeners that are served."""
        return [server.listener.url for server in self._servers.values()]

    async def serve(self, listeners: Iterable[Listener], config: Config) -> None:
        """Serve exactly these listeners, with the users and the XML-RPC namespaces of `config`.

        May be called again: the same Listener object keeps its socket and its connections, those not named any more
        are closed (their sockets with them), new ones are opened. Certificates are read again.
        """
        self._gate.use(config.users)
        self._rpc = Rpc(self._commands, await self._plugins.use(config.rpcinterfaces))
        wanted = {id(listener): listener for listener in listeners}
        gone = [self._servers.pop(key) for key in list(self._servers) if key not in wanted]
        for key, listener in wanted.items():
            if known := self._servers.get(key):
                known.renew()
                continue
            try:
                server = Server(listener, self._answer)
            except OSError as error:  # its certificate was there when the configuration was read
                log.critical("Server %r is not served: %s", listener.config.section, error)
                continue
            self._servers[key] = server
            await server.open()
            if self._gate.is_open(listener.config) and not listener.config.client_ca:
                level = logging.INFO if is_private(listener.config) else logging.CRITICAL
                log.log(level, "Server %r running without any HTTP authentication checking", listener.config.section)
        await asyncio.gather(*(server.close(GRACE) for server in gone))

    async def stop(self, grace: float = GRACE) -> None:
        """Close all listeners; requests under way get `grace` seconds."""
        servers = list(self._servers.values())
        self._servers.clear()
        await asyncio.gather(*(server.close(grace) for server in servers))
        self._gate.close()
        self._plugins.close()

    # Requests

    async def _answer(self, request: BaseRequest, config: ServerConfig) -> StreamResponse:
        json_wanted = request.raw_path.startswith(BASE)
        try:
            caller = await self._admit(request, config)
            if request.method in ("GET", "HEAD"):
                await self._gate.check_host(config, request.headers)
            else:
                check_origin(config, request.headers, is_open=self._gate.is_open(config))
            with self._room.share():
                response = await self._dispatch(request, caller, config)
                if not response.prepared:
                    response.headers["Server"] = SERVER
                if isinstance(response, Large):
                    await response.send(request)
            return response
        except CommandError as error:
            return _refuse(Problem.of(error), json_wanted)
        except Problem as problem:
            return _refuse(problem, json_wanted)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:
            log.critical("internal error while answering %s %r", request.method, request.raw_path[:200], exc_info=True)
            return _refuse(Problem(500, "internal error; the daemon's log has more"), json_wanted)

    async def _admit(self, request: BaseRequest, config: ServerConfig) -> Caller:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client is gone")
        sock, address = transport.get_extra_info("socket"), transport.get_extra_info("peername")
        return await self._gate.admit(config, request.headers, sock, address)

    async def _dispatch(self, request: BaseRequest, caller: Caller, server: ServerConfig) -> StreamResponse:
        path, _, query = request.raw_path.partition("?")
        if path.startswith("/RPC2"):
            return await self._rpc.serve(request, caller)
        if path.startswith(f"{BASE}/"):
            return await self._json(request, path.removeprefix(BASE), query, caller)
        if path.startswith(("/logtail", "/mainlogtail")):
            return await logtail.classic(self._commands, request, path)
        return await self._page.serve(request, path, caller, server)

    async def _json(self, request: BaseRequest, path: str, query: str, caller: Caller) -> StreamResponse:
        route, variables = self._router.find(request.method, path)
        if refusal := caller.lacks(route.role):
            audit.refused(caller, f"{route.method} {path}", str(refusal))
            raise Problem(403, refusal.detail, fault=refusal.fault)
        arguments = route.arguments(query)
        content = await _body(route, request)
        call = Call(self._commands, self._lists, request, caller, variables, arguments, content)
        result = await (route.handler(call) if route.role is Role.READ else _recorded(route, call))
        if isinstance(result, StreamResponse):
            return result
        return _json_response(shapes.dumps(result), route.status)

    async def _openapi(self, _: Call) -> Response:
        return _json_response(self._document)


async def _body(route: Route, request: BaseRequest) -> Any:
    """The body as the route wants it: a checked JSON value, bytes, or None. Raises Problem."""
    if route.method == "GET":
        return None
    data = await body.read(request, MAX_STDIN if route.raw_body else MAX_JSON)
    if route.body is None:
        return None
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if route.raw_body and kind == "application/octet-stream":
        return data
    if kind not in ("application/json", "") and data:
        raise Problem(415, f"the body must be application/json, not {kind[:60]!a}")
    return route.check_body(body.parse_json(data) if data else {})


async def _recorded(route: Route, call: Call) -> Any:
    arguments = [*call.path.values(), *_shown(call.body)]
    outcome = "interrupted"
    try:
        result = await route.handler(call)
        outcome = _summary(result)
    except (CommandError, Problem) as error:
        outcome = str(error)
        raise
    except Exception as error:
        outcome = f"internal error: {error!r}"
        raise
    else:
        return result
    finally:
        audit.record(call.caller, f"{route.method} {route.path}", arguments, outcome)


def _shown(content: Any) -> list[object]:
    # Of what is written to a program's stdin only the length: it may be a password.
    if isinstance(content, bytes):
        return [f"{len(content)} bytes"]
    if isinstance(content, dict) and content:
        return [f"{len(content['data'])} characters"] if "data" in content else [content]
    return []


def _summary(result: Any) -> str:
    results = result.get("results") if isinstance(result, dict) else None
    if results is None:
        return "OK"
    failed = [item["description"] for item in results if item["fault"] != "SUCCESS"]
    return "; ".join([f"{len(results) - len(failed)} of {len(results)} OK", *failed]) if failed else "OK"


def _json_response(data: bytes, status: int = 200) -> Response:
    return Response(body=data, status=status, headers=shapes.HEADERS)


def _refuse(problem: Problem, json_wanted: bool) -> Response:
    if json_wanted:
        headers = {"Content-Type": "application/problem+json", "Cache-Control": "no-store", **problem.headers}
        data = shapes.dumps(problem.document())
    else:
        headers = {"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff", **problem.headers}
        data = f"{problem.status}: {problem.detail}\n".encode("utf-8", "replace")
    headers["Server"] = SERVER
    response = Response(body=data, status=problem.status, headers=headers)
    if headers.get("Connection") == "close":
        response.force_close()
    return response
