"""One configuration for the tests of the API, and raw HTTP for those who do not behave."""

import json
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.daemons import Daemon
from tests.tools import PATIENCE

PROGRAMS = """
[program:web]
command = sh -c 'echo hello; echo oops >&2; exec sleep 1000'
startsecs = 0

[program:cat]
command = cat
startsecs = 0

[program:odd]
command = sh -c 'printf "a\\001b\\377c<&>\\r\\nsch\\303\\266n\\n"; exec sleep 1000'
startsecs = 0

[program:many]
command = sleep 1000
process_name = %(program_name)s_%(process_num)d
numprocs = 2
startsecs = 0

[program:idle]
command = sleep 1000
autostart = false
startsecs = 0

[program:slow]
command = sleep 1000
autostart = false
startsecs = 2

[program:starting]
command = sleep 1000
autostart = false
startsecs = 3600

[program:bad]
command = /does/not/exist
autostart = false
"""

THEPASSWORD = "{SHA}82ab876d1387bfafe46cc1c8a2ef074eae50cb1d"


def ask(daemon: Daemon, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    """One request to the JSON API: the status, and the JSON value of the answer (bytes if it is none)."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    kind = {"Content-Type": "application/json"} if data is not None else {}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    status, answered, content = daemon.request(method, f"/api/v1{path}", data, kind | named)
    kind_answered = answered.get("Content-Type", "")
    return status, json.loads(content) if "json" in kind_answered else content


@contextmanager
def connected(daemon: Daemon) -> Iterator[socket.socket]:
    """A raw connection to the control socket."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(str(daemon.socket))
        yield sock


def exchange(daemon: Daemon, sent: bytes, *, end: bool = True) -> bytes:
    """Send bytes, and read until the daemon closes; a cut connection is an answer too."""
    with connected(daemon) as sock:
        try:
            sock.sendall(sent)
            if end:
                sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has stopped listening to us
        received = bytearray()
        try:
            while data := sock.recv(65536):
                received += data
        except OSError:
            pass
        return bytes(received)


def statuses(received: bytes) -> list[int]:
    """The status codes of all answers in a stream."""
    return list(map(int, re.findall(rb"HTTP/1\.[01] (\d{3}) ", received)))
