"""One listening socket: aiohttp's HTTP server on it, and bounds on its connections.

The limits belong to a listener, not to the daemon. When a listener is full, the connection that has been idle longest
makes room; only when all are busy is a new one refused. So a thousand silent connections keep nobody out.
"""

import asyncio
import logging
import resource
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from aiohttp import web

from supervise.api import tls
from supervise.api.tls import Connection, Greeter
from supervise.config.model import ServerConfig

BACKLOG = 1024  # connections that the kernel holds before we accept them
ACCEPTED_AT_ONCE = 32
MAX_CONNECTIONS = 256  # and at most a quarter of the descriptors that the daemon may open (B36)
FIRST_REQUEST_SECONDS = 30.0  # from the connection to the end of the first request's head
IDLE_SECONDS = 600.0  # between requests; long: supervisord never closes, and some of its clients cannot reconnect
LINGER_SECONDS = 2.0  # for the rest of a body that was refused
# Our own name and nothing more: supervisord's "Medusa/1.12" would be a lie that no client asks for, and aiohttp's
# default tells strangers which versions to look up.
SERVER = "supervise"
ENDLESS = "endless"  # a request marked so is a stream: it is cut off at once when the server closes
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


class Server:
    """Serves one listener until closed."""

    def __init__(self, listener: Listener, handler: Handler) -> None:
        self.listener = listener
        self._handler = handler
        self._loop = asyncio.get_running_loop()
        self._room = min(MAX_CONNECTIONS, max(4, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4))
        self._idle: dict[Connection, asyncio.TimerHandle | None] = {}  # longest idle first
        self._busy: dict[Connection, tuple[web.BaseRequest, asyncio.Task[object] | None]] = {}
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
        for request, task in self._busy.values():
            if request.get(ENDLESS) and task is not None:
                task.cancel()
        await self._http.shutdown(grace)

    # Connections

    def connected(self, connection: Connection) -> None:
        """A connection was accepted: arm its first deadline, and make room if there are too many."""
        if len(self._idle) + len(self._busy) >= self._room:
            longest = next(iter(self._idle), connection)
            if longest is connection:
                log.warning("Server %r has %d busy connections; refused another", self.listener.url, len(self._busy))
            self.disconnected(longest)
            longest.force_close()
            if longest is connection:
                return
        self._idle[connection] = self._loop.call_later(FIRST_REQUEST_SECONDS, self._too_slow, connection)

    def disconnected(self, connection: Connection) -> None:
        """A connection is gone. What it had begun goes on, but for a stream, which nobody reads any more."""
        request, task = self._busy.pop(connection, (None, None))
        if request is not None and request.get(ENDLESS) and task is not None:
            task.cancel()
        timer = self._idle.pop(connection, None)
        if timer is not None:
            timer.cancel()

    def _too_slow(self, connection: Connection) -> None:
        self.disconnected(connection)
        connection.force_close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        timer = self._idle.pop(connection, None)
        if timer is not None:
            timer.cancel()
        self._busy[connection] = (request, asyncio.current_task())
        try:
            return await self._handler(request, self.listener.config)
        finally:
            if self._busy.pop(connection, None) is not None:  # else it has been lost meanwhile
                self._idle[connection] = None


class _Http(web.Server):
    """aiohttp's low-level server: no router, no middlewares, no signals; we have one table and one handler."""

    def __init__(self, owner: Server, handler: Any, **options: Any) -> None:
        super().__init__(handler, **options)
        self._owner = owner

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self._owner.connected(handler)

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self._owner.disconnected(handler)


class _OneLine(logging.Handler):
    """aiohttp reports every malformed request with a traceback; a stranger must not fill our log with them."""

    def emit(self, record: logging.LogRecord) -> None:
        reason = f": {record.exc_info[1]}" if record.exc_info and record.exc_info[1] else ""
        log.debug("http: %s%s", record.getMessage(), reason.replace("\n", " ")[:300])


def _quiet_logger() -> logging.Logger:
    quiet = logging.Logger("supervise.http")
    quiet.addHandler(_OneLine())
    return quiet
