"""TLS for listeners: their certificates, and the hand-over of a connection once they are agreed on."""

import asyncio
import logging
import ssl
from collections.abc import Callable
from typing import Protocol

from supervise.config.model import ServerConfig

HANDSHAKE_SECONDS = 10.0

log = logging.getLogger("supervise")


class Connection(Protocol):
    """What a listener counts, and can end."""

    def force_close(self) -> None: ...


def context(config: ServerConfig) -> ssl.SSLContext | None:
    """What the server speaks: TLS 1.2 or later; None for plain text. Raises OSError (ssl.SSLError is one)."""
    if not config.certfile:
        return None
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    found.minimum_version = ssl.TLSVersion.TLSv1_2
    found.options |= ssl.OP_NO_RENEGOTIATION
    found.load_cert_chain(config.certfile, config.keyfile, password="")
    if config.client_ca:
        found.verify_mode = ssl.CERT_REQUIRED
        found.load_verify_locations(config.client_ca)
    found.set_alpn_protocols(["http/1.1"])
    return found


class Greeter(asyncio.Protocol):
    """A connection before TLS: counted like any other, and bounded in time, while the handshake lasts.

    asyncio's own TLS servers show a connection only after the handshake: nobody could bound those that never end it.
    `protocol` makes what takes over then.
    """

    def __init__(
        self,
        made: Callable[["Greeter"], None],
        lost: Callable[["Greeter"], None],
        protocol: Callable[[], asyncio.Protocol],
        with_: ssl.SSLContext,
    ) -> None:
        self._made, self._lost, self._protocol, self._context = made, lost, protocol, with_
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._early, self._ended = list[bytes](), False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()
        self._transport = transport
        self._made(self)
        if not transport.is_closing():
            self._task = asyncio.get_running_loop().create_task(self._upgrade(transport))

    def data_received(self, data: bytes) -> None:
        self._early.append(data)  # a request that came together with the end of the handshake

    def eof_received(self) -> None:
        self._ended = True

    def connection_lost(self, exc: BaseException | None) -> None:
        self._ended = True
        self._lost(self)

    def force_close(self) -> None:
        """End it at once."""
        if self._transport is not None:
            self._transport.abort()

    async def _upgrade(self, plain: asyncio.Transport) -> None:
        loop = asyncio.get_running_loop()
        try:
            secure = await loop.start_tls(
                plain, self, self._context, server_side=True, ssl_handshake_timeout=HANDSHAKE_SECONDS
            )
        except (OSError, asyncio.CancelledError) as error:  # ssl.SSLError, a timeout: strangers' business
            log.debug("no TLS with %s: %s", plain.get_extra_info("peername"), error)
            plain.abort()
            return
        finally:
            self._lost(self)
        if secure is None or secure.is_closing() or self._ended:
            plain.abort()
            return
        protocol = self._protocol()
        secure.set_protocol(protocol)
        protocol.connection_made(secure)
        if self._early:
            protocol.data_received(b"".join(self._early))
