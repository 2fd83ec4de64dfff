"""The daemon's JSON API as a class, for supervisectl and for scripts.

    client = Client("unix:///run/supervise.sock")
    for process in client.processes():
        print(process["namespec"], process["statename"])

Blocking, one connection a call, no state between calls; a Client may be used by several threads.
"""

import binascii
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final, NamedTuple

from supervise.http1 import (
    BODY_LIMIT,
    SYSTEM_TRUST,
    Json,
    Pairs,
    ServerError,
    Stream,
    Trust,
    connect,
    parse_url,
    peer,
    quote,
    request,
)

BASE = "/api/v1"
PATIENCE = 30.0  # seconds for a connection, and for an answer that does not depend on a program
USUAL: Final = -1.0  # for a call: the client's own timeout
Timeout = float | None


class ServerEvent(NamedTuple):
    """One event of the daemon's stream; types are supervisord's event names, and "gap" where some were missed."""

    type: str
    data: Json
    id: str = ""


class Client:
    """One daemon. `url` is unix:///path, http://host:port, http://[v6]:port, or https; ValueError for anything else.

    SPEC in the methods: "name", "group:name", "group:*", "all", and wildcards such as "web-*".
    Every method raises ServerError.
    """

    def __init__(
        self,
        url: str,
        username: str | None = None,
        password: str | None = None,
        *,
        timeout: float = PATIENCE,
        trust: Trust = SYSTEM_TRUST,
    ) -> None:
        self.url, self.timeout, self.trust = url, timeout, trust
        local = isinstance(parse_url(url), str)
        self.headers = [("Host", "localhost" if local else url.partition("://")[2].partition("/")[0])]
        if username is not None and password is not None:
            token = binascii.b2a_base64(f"{username}:{password}".encode(), newline=False).decode()
            self.headers.append(("Authorization", f"Basic {token}"))

    # Processes.

    def processes(self, *specs: str) -> list[Json]:
        """ProcessInfo of all, or of the given ones, sorted by group and name."""
        found: list[Json] = self._get("/processes", [("name", spec) for spec in specs])["processes"]
        return found

    def process(self, name: str) -> Json:
        return self._get(f"/processes/{quote(name)}")

    def explain(self, name: str) -> Json:
        return self._get(f"/processes/{quote(name)}/explain")

    def act(self, action: str, specs: Sequence[str], **options: object) -> list[Json]:
        """One action on many processes, in parallel: start stop restart signal clear rotate.

        Options: wait=True, signal=, only_running=, now=. Returns a result for each process, refusals included,
        and lasts as long as the programs take.
        """
        body = {"action": action, "names": list(specs)} | options
        results: list[Json] = self._post("/actions", body, timeout=None)["results"]
        return results

    def wait(self, name: str, goal: str, timeout: float) -> Json:
        """Until one process is "running" or "stopped"; fault FAILED after `timeout` seconds."""
        query = [("for", goal), ("timeout", f"{timeout:g}")]
        return self._get(f"/processes/{quote(name)}/wait", query, timeout=timeout + self.timeout)

    def send_stdin(self, name: str, data: bytes) -> None:
        self._call("POST", f"/processes/{quote(name)}/stdin", data, "application/octet-stream")

    # Logs. The name "" is the daemon's own log.

    def read_log(self, name: str, channel: str = "stdout", **query: object) -> bytes:
        """bytes=N or lines=N from the end, or offset= and length= as in supervisord's readLog. The bytes as written."""
        with self._open("GET", _log_path(name, channel), query=[*query.items(), ("raw", 1)]) as answer:
            return answer.body()

    def follow(self, name: str, channel: str = "stdout", start: int = 1024) -> Stream:
        """What is written from now on, after the last `start` bytes. Errors are raised here, not by the iterator."""
        return self._open(
            "GET", _log_path(name, channel), query=[("follow", 1), ("start", start), ("raw", 1)], timeout=None
        )

    def clear_main_log(self) -> None:
        self._call("DELETE", "/daemon/log")

    # Groups and configuration.

    def available(self) -> list[Json]:
        """Every configured process: name, inuse, autostart, group_priority, process_priority."""
        found: list[Json] = self._get("/groups/available")["processes"]
        return found

    def add_group(self, name: str) -> None:
        self._call("POST", f"/groups/{quote(name)}")

    def remove_group(self, name: str) -> None:
        self._call("DELETE", f"/groups/{quote(name)}")

    def config(self) -> Json:
        return self._get("/config")

    def reread(self) -> Json:
        """Names of the groups that are added, changed, removed in the files; nothing is done about it."""
        return self._post("/config/reread", {})

    def update(self, groups: Sequence[str] = (), *, dry_run: bool = False) -> list[Json]:
        """Make it so. Returns the steps done (or to be done); lasts as long as programs take to stop."""
        steps: list[Json] = self._post("/config/update", {"groups": list(groups), "dry_run": dry_run}, timeout=None)[
            "steps"
        ]
        return steps

    # The daemon.

    def daemon(self) -> Json:
        return self._get("/daemon")

    def shutdown(self) -> None:
        self._post("/daemon/shutdown", {})

    def reload(self, *, wait: bool = False) -> None:
        self._post("/daemon/reload", {"wait": wait}, timeout=None if wait else USUAL)

    def upgrade(self) -> None:
        """Have the daemon execute the code that is installed now in its own place. Returns when that has been tried
        out; the next call is answered by the new code."""
        self._post("/daemon/upgrade", {}, timeout=None)

    def reopen_logs(self) -> None:
        self._post("/daemon/reopen-logs", {})

    def events(self) -> Iterator[ServerEvent]:
        """State changes as they happen, without end."""
        return read_events(self._open("GET", "/events", timeout=None))

    def end_of_daemon(self) -> Callable[[float | None], bool]:
        """A function that waits until the process that serves us now is gone: call it with seconds, or None.

        Over a unix socket the kernel says which process that is, and a pidfd when it ends. Over TCP, or from another
        pid namespace, connections are tried until none is accepted.
        """
        with connect(self.url, self.timeout, self.trust) as link:
            pid = peer(link)
        try:
            # The listening process may be a service manager that passed the socket on: believe the daemon.
            descriptor = os.pidfd_open(pid) if pid > 1 and self.daemon()["pid"] == pid else -1
        except OSError:
            descriptor = -1
        return lambda timeout: self._wait_end(descriptor, timeout)

    def _wait_end(self, descriptor: int, timeout: float | None) -> bool:
        if descriptor >= 0:
            import select  # noqa: PLC0415  # only `shutdown --wait` needs it

            try:
                return bool(select.select([descriptor], [], [], timeout)[0])
            finally:
                os.close(descriptor)
        deadline = time.monotonic() + (float("inf") if timeout is None else timeout)
        while time.monotonic() < deadline:
            try:
                connect(self.url, self.timeout, self.trust).close()
            except ServerError:
                return True
            time.sleep(0.05)
        return False

    # HTTP.

    def _get(self, path: str, query: Pairs = (), timeout: Timeout = USUAL) -> Json:
        with self._open("GET", path, query=query, timeout=timeout) as answer:
            return answer.json()

    def _post(self, path: str, body: Json, timeout: Timeout = USUAL) -> Json:
        return self._call("POST", path, json.dumps(body).encode(), "application/json", timeout)

    def _call(self, method: str, path: str, body: bytes = b"", kind: str = "", timeout: Timeout = USUAL) -> Json:
        with self._open(method, path, body=body, kind=kind, timeout=timeout) as answer:
            return answer.json()

    def _open(
        self,
        method: str,
        path: str,
        *,
        query: Pairs = (),
        body: bytes = b"",
        kind: str = "",
        timeout: Timeout = USUAL,
    ) -> Stream:
        asked = "&".join(f"{quote(name)}={quote(str(value))}" for name, value in query)
        headers = [*self.headers, ("Content-Type", kind)] if kind else self.headers
        seconds = self.timeout if timeout == USUAL else timeout
        target = f"{BASE}{path}?{asked}" if asked else BASE + path
        ask = partial(request, self.url, method, target, headers, body, trust=self.trust)
        try:
            return ask(patience=self.timeout, timeout=seconds)
        except ServerError as error:
            if method != "GET" or error.reason != "cut":
                raise
        return ask(patience=self.timeout, timeout=seconds)  # of the next daemon: a question may be asked twice


def _log_path(name: str, channel: str) -> str:
    return f"/processes/{quote(name)}/logs/{channel}" if name else "/daemon/log"


def read_events(stream: Stream) -> Iterator[ServerEvent]:
    """Server-sent events (HTML standard, 9.2.6) out of a stream of bytes; closes it at the end."""
    rest, fields = b"", dict[str, str]()
    with stream:
        for data in stream:
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                name, _, value = line.rstrip(b"\r").decode("utf-8", "replace").partition(":")
                if name:
                    fields[name] = value.removeprefix(" ")
                elif fields.get("data"):
                    yield ServerEvent(fields.get("event", "message"), json.loads(fields["data"]), fields.get("id", ""))
                    fields = {}
            if len(rest) > BODY_LIMIT:
                raise ServerError("protocol", f"{stream.url} sent an endless event")
