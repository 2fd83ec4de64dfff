"""One HTTP/1.1 request over a socket, and its answer as it comes.

Why not http.client: a control command lives some 50 ms, and importing that (with the email package behind it) would
add 20 to 30 ms to each. What is needed of HTTP is small, because we know the server: one request a connection,
answers with Content-Length, chunked, or ended by closing. Every size but that of a stream is bounded.
"""

import contextlib
import json
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from io import BufferedReader
from typing import Any, Literal, NamedTuple, cast

from supervise.errors import Fault

LINE_LIMIT = 64 << 10  # bytes of a status line, a header or a chunk's size
HEADER_LIMIT = 100
BODY_LIMIT = 1 << 30  # bytes of a whole answer (a log read at once); streams have no bound
BLOCK = 64 << 10

Reason = Literal["missing", "refused", "unreachable", "timeout", "cut", "credentials", "protocol", "fault"]
Json = dict[str, Any]
Pairs = Sequence[tuple[str, object]]
Address = str | tuple[str, int]

# LSB exit codes, as supervisorctl gives them (there: "upcheck"); anything else is 1.
EXIT_CODES: Mapping[Reason, int] = {"missing": 7, "refused": 4}


class ServerError(Exception):
    """A call that was not answered, or answered with an error. `str()` is one line for people.

    `reason` says which; `fault` is the daemon's own (0 unless reason is "fault"), `status` the HTTP status (0 if none),
    `problem` the problem+json document, `code` the exit code that supervisorctl would give.
    """

    def __init__(self, reason: Reason, text: str, *, fault: int = 0, status: int = 0, problem: Json | None = None):
        super().__init__(" ".join(text.split()))
        self.reason, self.fault, self.status = reason, fault, status
        self.problem: Json = problem or {}
        self.code = EXIT_CODES.get(reason, 1)


class Trust(NamedTuple):
    """For https: the authorities that the daemon's certificate must be signed by (None: the system's), and our own
    certificate and key, where it wants one. Paths of PEM files."""

    ca: str | None = None
    certfile: str | None = None
    keyfile: str | None = None


SYSTEM_TRUST = Trust()


def request(
    url: str,
    method: str,
    target: str,
    headers: Pairs,
    body: bytes,
    *,
    patience: float,
    timeout: float | None,
    trust: Trust = SYSTEM_TRUST,
) -> "Stream":
    """Send one request, and read the head of its answer. An error status is raised, as is everything else.

    `patience`: seconds for the connection; `timeout`: seconds without a byte of the answer, None without bound.
    """
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "Connection: close"]
    if method != "GET":
        lines.append(f"Content-Length: {len(body)}")
    link = connect(url, patience, trust)
    try:
        link.settimeout(timeout)
        link.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)  # Python ignores SIGPIPE
        answer = Stream(link, url)
    except OSError as error:
        link.close()
        raise unanswered(url, error, timeout) from None
    except BaseException:
        link.close()
        raise
    answer.check()
    return answer


def connect(url: str, patience: float, trust: Trust = SYSTEM_TRUST) -> socket.socket:
    """A connected, blocking socket; for https, one that has checked who is at the other end."""
    address = parse_url(url)
    try:
        if not isinstance(address, str):
            link = socket.create_connection(address, patience)
            return secured(link, url, address[0], trust) if url[:6].lower() == "https:" else link
        link = socket.socket(socket.AF_UNIX)
        try:
            # Not settimeout(): a full backlog would then refuse at once (EAGAIN) instead of waiting a moment.
            link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(patience), 0))
            link.connect(address)
        except OSError:
            link.close()
            raise
        return link
    except OSError as error:
        raise unanswered(url, error, patience) from None


def secured(link: socket.socket, url: str, host: str, trust: Trust) -> socket.socket:
    """The connection under TLS. Raises ServerError: a certificate that is not trusted, or no TLS at all."""
    import ssl  # noqa: PLC0415  # 20 ms that only https is worth

    try:
        context = ssl.create_default_context(cafile=trust.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if trust.certfile:
            context.load_cert_chain(trust.certfile, trust.keyfile)
        return context.wrap_socket(link, server_hostname=host)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        link.close()
        if isinstance(error, TimeoutError):
            raise
        reason = getattr(error, "verify_message", "") or getattr(error, "reason", "") or str(error)
        raise ServerError("unreachable", f"{url} cannot be trusted: {reason}") from None


class Stream:
    """An answer whose head has been read. Iterating gives its bytes as they come, without waiting for full blocks."""

    def __init__(self, link: socket.socket, url: str) -> None:
        self.link, self.url = link, url
        self.file = cast("BufferedReader", link.makefile("rb", BLOCK))
        try:
            self._read_head()
        except BaseException:
            self.close()
            raise

    def _read_head(self) -> None:
        version, _, rest = self._line().partition(" ")
        code = rest[:3]
        if not version.startswith("HTTP/1.") or not code.isdigit():
            raise self._garbage()
        self.status = int(code)
        self.headers: dict[str, str] = {}
        while line := self._line():
            name, _, value = line.partition(":")
            self.headers[name.strip().lower()] = value.strip()
            if len(self.headers) > HEADER_LIMIT:
                raise self._garbage()

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the stream; also from another thread, which makes a blocked iterator end."""
        with contextlib.suppress(OSError):
            self.link.shutdown(socket.SHUT_RDWR)
        self.link.close()
        self.file.close()

    def check(self) -> None:
        """Raise what an error status means, and close."""
        if self.status >= 400:
            with self:
                self._raise_status()

    def _raise_status(self) -> None:
        if self.status == 401:
            raise ServerError("credentials", "Server requires authentication", status=401)
        if self.headers.get("content-type", "").startswith("application/problem+json"):
            problem = self.json()
            text = str(problem.get("detail") or problem.get("title") or f"HTTP status {self.status}")
            raise ServerError(
                "fault", text, fault=int(problem.get("fault") or Fault.FAILED), status=self.status, problem=problem
            )
        raise ServerError(
            "protocol", f"{self.url} is no supervise daemon (HTTP status {self.status})", status=self.status
        )

    def __iter__(self) -> Iterator[bytes]:
        try:
            if self.headers.get("transfer-encoding", "").lower() == "chunked":
                yield from self._chunks()
            else:
                yield from self._plain(int(self.headers.get("content-length", BODY_LIMIT)))
        except ValueError:
            raise self._garbage() from None
        except TimeoutError as error:
            raise unanswered(self.url, error, self.link.gettimeout()) from None
        except OSError:
            raise cut_off(self.url) from None

    def body(self) -> bytes:
        """All of it."""
        parts, size = [], 0
        for part in self:
            parts.append(part)
            size += len(part)
            if size > BODY_LIMIT:
                raise self._garbage()
        return b"".join(parts)

    def json(self) -> Json:
        """All of it, as an object; nothing at all counts as {}."""
        try:
            value = json.loads(self.body() or b"{}")
        except ValueError:
            raise self._garbage() from None
        if not isinstance(value, dict):
            raise self._garbage()
        return value

    def _plain(self, length: int) -> Iterator[bytes]:
        while length > 0 and (data := self.file.read1(min(length, BLOCK))):
            yield data
            length -= len(data)
        if length > 0 and "content-length" in self.headers:
            raise OSError("cut short")

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self._line().partition(";")[0], 16):
            if size < 0:
                raise ValueError("negative chunk")
            while size > 0:
                data = self.file.read1(min(size, BLOCK))
                if not data:
                    raise OSError("cut short")
                yield data
                size -= len(data)
            self._line()

    def _line(self) -> str:
        line = self.file.readline(LINE_LIMIT)
        if not line.endswith(b"\n"):
            raise self._garbage() if line else cut_off(self.url)
        return line.rstrip(b"\r\n").decode("latin-1")

    def _garbage(self) -> ServerError:
        return ServerError("protocol", f"{self.url} does not speak the protocol of a supervise daemon")


def parse_url(url: str) -> Address:
    """The path of a unix socket, or (host, port). The port is 80 (https: 443) if none is given."""
    scheme, _, rest = url.partition("://")
    if scheme.lower() == "unix" and rest:
        return rest
    host, separator, port = rest.partition("/")[0].rpartition(":")
    if not separator or port.endswith("]"):
        host, port = rest.partition("/")[0], "443" if scheme.lower() == "https" else "80"
    known = scheme.lower() in ("http", "https") and bool(host)
    if not (known and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError("url must be http:// or unix://")
    return host.removeprefix("[").removesuffix("]"), int(port)


def quote(text: str) -> str:
    """Percent-encoding for one path segment or query value (urllib.parse would cost 4 ms to import)."""
    return "".join(chr(c) if (c < 128 and chr(c).isalnum()) or c in b"-._~:*" else f"%{c:02X}" for c in text.encode())


def peer(link: socket.socket) -> int:
    """Pid of the process that listens on the other end of a unix socket (unix(7), SO_PEERCRED); 0 for TCP."""
    if link.family != socket.AF_UNIX:
        return 0
    pid: int = struct.unpack("iII", link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    return pid


def unanswered(url: str, error: OSError, timeout: float | None) -> ServerError:
    """The words for what became of a connection."""
    if isinstance(error, FileNotFoundError):
        return ServerError("missing", f"{url} no such file")
    if isinstance(error, ConnectionRefusedError):
        return ServerError("refused", f"{url} refused connection")
    if isinstance(error, (ConnectionResetError, BrokenPipeError)):
        return cut_off(url)
    if isinstance(error, (TimeoutError, BlockingIOError)):
        return ServerError("timeout", f"{url} did not answer within {timeout or 0:g} seconds")
    return ServerError("unreachable", f"{url} {error.strerror or error}")


def cut_off(url: str) -> ServerError:
    """Somebody took the call, and has gone."""
    return ServerError("cut", f"{url} closed the connection: the daemon has died, or is ending; see what status says")
