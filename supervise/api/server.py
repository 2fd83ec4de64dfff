"""One listening socket: aiohttp's HTTP server on it, and bounds on its connections.

The limits belong to a listener, not to the daemon. When a listener is full, the connection makes room that has waited
longest for its client: idle, in the middle of a request, or of an answer that is not read. Streams are fewer than
connections. So neither silence, nor slow requests, nor streams keep anybody out; only when all are busy is a new one
refused, and never that of an administrator of this machine on a unix socket.
"""

import asyncio
import logging
import os
import resource
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import web

from supervise.api import tls
from supervise.api.auth import peer
from supervise.api.problem import Problem
from supervise.api.tls import Connection, Greeter
from supervise.config.model import ServerConfig

BACKLOG = 1024  # connections that the kernel holds before we accept them
ACCEPTED_AT_ONCE = 32
MAX_CONNECTIONS = 256  # and at most a quarter of the descriptors that the daemon may open (B36)
FIRST_REQUEST_SECONDS = 30.0  # from the connection to the end of the first request's head
IDLE_SECONDS = 600.0  # between requests; long: supervisord never closes, and some of its clients cannot reconnect
LINGER_SECONDS = 2.0  # for the rest of a body that was refused
TOLD_SECONDS = 60.0  # refused connections are told of once in so long
# Our own name and nothing more: supervisord's "Medusa/1.12" would be a lie that no client asks for, and aiohttp's
# default tells strangers which versions to look up.
SERVER = "supervise"
MAX_LINE = 8190
MAX_FIELD = 16 << 10  # a header; Authorization with a long password, cookies of other services on the same host

log = logging.getLogger("supervise")


class Listener(Protocol):
    """A bound, listening stream socket and the section it comes from. `url`: unix:///path or http://host:port."""

    @property
    def sock(self) -> Any: ...
    @property
    def config(self) -> ServerConfig: ...
    @property
    def url(self) -> str: ...


Handler = Callable[[web.BaseRequest, ServerConfig], Awaitable[web.StreamResponse]]


@dataclass(eq=False, slots=True)
class _Visit:
    """What a connection is about."""

    server: "Server"
    timer: asyncio.TimerHandle | None = None
    request: web.BaseRequest | None = None
    task: asyncio.Task[object] | None = None
    is_stream: bool = False
    is_sending: bool = False

    @property
    def waits_for_client(self) -> bool:
        return self.request is None or self.is_sending or not self.request.content.is_eof()


_present: ContextVar[_Visit] = ContextVar("visit")


def begin_stream() -> None:
    """Let the request that is being answered be a stream: it is cut off at once when its client goes or the server
    closes. Raises Problem 503 where there are as many as a listener may have."""
    visit = _present.get()
    if not visit.server.has_room_for_a_stream:
        raise Problem(503, "as many streams as there may be at once are open; close one, or try again later")
    visit.is_stream = True


def begin_sending() -> None:
    """From now on the request that is being answered waits for nothing but its client to take the answer."""
    _present.get().is_sending = True


class Server:
    """Serves one listener until closed."""

    def __init__(self, listener: Listener, handler: Handler) -> None:
        self.listener = listener
        self._handler = handler
        self._loop = asyncio.get_running_loop()
        self._room = min(MAX_CONNECTIONS, max(4, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4))
        self._visits: dict[Connection, _Visit] = {}  # the one first whose client has done nothing for longest
        self._refused, self._may_tell_at = 0, 0.0
        self._http = _Http(
            self,
            self._handle,
            keepalive_timeout=IDLE_SECONDS,
            max_line_size=MAX_LINE,
            max_field_size=MAX_FIELD,
            lingering_time=LINGER_SECONDS,
            auto_decompress=False,
            access_log=None,
            logger=_quiet_logger(),
        )
        self._accepting: asyncio.Server | None = None
        self._tls = tls.context(listener.config)

    async def open(self) -> None:
        """Begin to accept connections."""
        factory = self._http if self._tls is None else self._greeter
        # asyncio accepts as many as the backlog at once, before any of them is seen here and can be refused (B36).
        batch = max(1, min(ACCEPTED_AT_ONCE, self._room // 4))
        # Not create_unix_server: that would remove the socket's path at the end (Python 3.13), which is not ours to do.
        self._accepting = await self._loop.create_server(factory, sock=self.listener.sock, backlog=batch)
        self.listener.sock.listen(BACKLOG)

    def renew(self) -> None:
        """Read certificates again; connections that are open keep the old ones. What cannot be read is logged."""
        try:
            self._tls = tls.context(self.listener.config)
        except OSError as error:
            log.error("%s keeps its old certificate: %s", self.listener.url, error)

    def _greeter(self) -> Greeter:
        assert self._tls is not None
        return Greeter(self.connected, self.disconnected, self._http, self._tls)

    async def close(self, grace: float) -> None:
        """Stop accepting, end streams and idle connections, give running requests `grace` seconds."""
        if self._accepting is not None:
            self._accepting.close()
        self._http.pre_shutdown()
        for visit in self._visits.values():
            if visit.is_stream and visit.task is not None:
                visit.task.cancel()
        await self._http.shutdown(grace)

    # Connections

    @property
    def has_room_for_a_stream(self) -> bool:
        """Whether one more leaves half of the connections to others."""
        return sum(visit.is_stream for visit in self._visits.values()) < self._room // 2

    def connected(self, connection: Connection, sock: Any = None) -> None:
        """A connection was accepted: arm its first deadline, and make room if there are too many."""
        if len(self._visits) >= self._room:
            waiting = next((one for one, visit in self._visits.items() if visit.waits_for_client), None)
            if waiting is not None:
                self._drop(waiting)
            elif not (_is_admin(sock) and len(self._visits) < 2 * self._room):
                self._tell_refused()
                self._loop.call_soon(connection.force_close)  # not before aiohttp has taken it over
                return
        self._visits[connection] = _Visit(self, self._loop.call_later(FIRST_REQUEST_SECONDS, self._drop, connection))

    def disconnected(self, connection: Connection) -> None:
        """A connection is gone. What it had begun goes on, but for a stream, which nobody reads any more."""
        visit = self._visits.pop(connection, None)
        if visit is None:
            return
        if visit.timer is not None:
            visit.timer.cancel()
        if visit.is_stream and visit.task is not None:
            visit.task.cancel()

    def _drop(self, connection: Connection) -> None:
        self.disconnected(connection)
        connection.force_close()

    def _tell_refused(self) -> None:
        self._refused += 1
        now = self._loop.time()
        if now >= self._may_tell_at:
            told = "Server %r has %d busy connections; refused %d more"
            log.warning(told, self.listener.url, len(self._visits), self._refused)
            self._refused, self._may_tell_at = 0, now + TOLD_SECONDS

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        visit = self._visits.pop(connection, None)
        if visit is None:
            raise ConnectionResetError("the connection has been dropped")
        if visit.timer is not None:
            visit.timer.cancel()
        self._visits[connection] = visit = _Visit(self, request=request, task=asyncio.current_task())
        _present.set(visit)
        try:
            return await self._handler(request, self.listener.config)
        finally:
            if self._visits.pop(connection, None) is not None:  # else it has been lost meanwhile
                self._visits[connection] = _Visit(self)


def _is_admin(sock: Any) -> bool:
    return sock is not None and peer(sock, None).uid in (0, os.geteuid())


class _Http(web.Server):
    """aiohttp's low-level server: no router, no middlewares, no signals; we have one table and one handler."""

    def __init__(self, owner: Server, handler: Any, **options: Any) -> None:
        super().__init__(handler, **options)
        self._owner = owner

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self._owner.connected(handler, transport.get_extra_info("socket"))

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self._owner.disconnected(handler)


class _OneLine(logging.Handler):
    """aiohttp reports every malformed request with a traceback; a stranger must not fill our log with them.

    Nor does it get what the request said, which may be a header with a password.
    """

    def emit(self, record: logging.LogRecord) -> None:
        reason = f": {record.exc_info[1]}" if record.exc_info and record.exc_info[1] else ""
        log.debug("http: %s%s", record.getMessage(), " ".join(reason.partition("\n\n")[0].split())[:300])


def _quiet_logger() -> logging.Logger:
    quiet = logging.Logger("supervise.http")
    quiet.addHandler(_OneLine())
    return quiet
