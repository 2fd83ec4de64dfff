"""A client of the control socket that costs next to nothing: one connection, bytes in, bytes out."""

import http.client
import socket
from pathlib import Path
from types import TracebackType

CALL = b"<?xml version='1.0'?><methodCall><methodName>supervisor.%s</methodName><params></params></methodCall>"
POST = b"POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n%s"
GET = b"GET /api/v1%s HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Caller:
    """A connection that is kept; use it as a context manager. Raises OSError when nobody answers."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(60)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> "Caller":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()
        self._socket.close()

    def rpc(self, method: str) -> bytes:
        """The XML that a method without arguments answers."""
        body = CALL % method.encode()
        return self.ask(POST % (len(body), body))

    def get(self, path: str) -> bytes:
        """What the JSON API answers."""
        return self.ask(GET % path.encode())

    def ask(self, request: bytes) -> bytes:
        """Send a whole request; the body of its answer. Raises OSError unless that is a 200."""
        self._socket.sendall(request)
        status = self._file.readline().split()
        if len(status) < 2 or status[1] != b"200":
            raise ConnectionError(f"answered {status}")
        length = int(http.client.parse_headers(self._file)["Content-Length"])
        return self._file.read(length)
