"""The same question to our daemon and to the real supervisord, and how their answers are made comparable."""

import json
import re
import xmlrpc.client
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.daemons import KINDS, Daemon, Kind, Supervisors

# What differs from run to run, and what it becomes. Times and process ids in structs: see `plain`.
VARIABLE = [
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"), "TIME"),
    (re.compile(r"\b[A-Z][a-z]{2} \d\d \d\d:\d\d [AP]M\b"), "DATE"),
    (re.compile(r"\bpid \d+"), "pid N"),
    (re.compile(r"\(\d+\) with SIGKILL"), "(N) with SIGKILL"),
    (re.compile(r"uptime \d+:\d\d:\d\d"), "uptime T"),
    (re.compile(r"(---supervisor-)\w{8}(\.log)"), r"\1X\2"),
]
WHEN = {"start", "stop", "now", "pid"}


class Pair:
    """Two daemons on the same configuration."""

    def __init__(
        self,
        supervisors: Supervisors,
        programs: str,
        supervisord: str = "",
        *,
        prepare: Callable[[Path], None] = lambda place: None,
        env: dict[str, str] | None = None,
    ) -> None:
        def start(kind: Kind) -> Daemon:
            place = supervisors.place()
            prepare(place)
            return supervisors.start(kind, programs, supervisord, place=place, env=env)

        self.ours, self.theirs = map(start, KINDS)

    def ask(self, question: Callable[[Daemon], Any]) -> tuple[str, str]:
        """Both answers as comparable text, ours first."""
        mine, real = (plain(question(daemon), daemon.place) for daemon in (self.ours, self.theirs))
        return text(trim(mine, real)), text(real)

    def agree(self, question: Callable[[Daemon], Any]) -> None:
        """Both answers are the same; on a difference the test shows both."""
        ours, theirs = self.ask(question)
        assert ours == theirs

    def configure(self, programs: str) -> None:
        """Rewrite both configurations."""
        for daemon in (self.ours, self.theirs):
            daemon.configure(programs)


def plain(value: Any, place: Path) -> Any:
    """The answer without what differs from run to run."""
    match value:
        case dict():
            return {name: bool(one) if name in WHEN else plain(one, place) for name, one in value.items()}
        case list() | tuple():
            rows = [plain(one, place) for one in value]
            if rows and all(isinstance(row, dict) and "status" in row for row in rows):
                rows.sort(key=lambda row: (row["group"], row["name"]))  # they come in the order in which they ended
            return rows
        case str():
            value = value.replace(str(place), "PLACE")
            for pattern, name in VARIABLE:
                value = pattern.sub(name, value)
            return value
        case _:
            return value


def trim(mine: Any, real: Any) -> Any:
    """Our answer without the struct members that supervisord does not have: more is allowed, less is not."""
    if isinstance(mine, dict) and isinstance(real, dict):
        return {name: trim(one, real[name]) for name, one in mine.items() if name in real}
    if isinstance(mine, list) and isinstance(real, list) and len(mine) == len(real):
        return [trim(one, other) for one, other in zip(mine, real, strict=True)]
    return mine


def text(value: Any) -> str:
    """Comparable to the type of every number: 1, 1.0 and true are three things."""
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, default=str)


def call(method: str, *arguments: Any) -> Callable[[Daemon], Any]:
    """An XML-RPC call as a question: its answer, its fault, or the HTTP status."""
    body = xmlrpc.client.dumps(arguments, method).encode()

    def question(daemon: Daemon) -> Any:
        status, _, answer = daemon.request("POST", "/RPC2", body, {"Content-Type": "text/xml"})
        if status != 200:
            return {"http": status}
        try:
            return xmlrpc.client.loads(answer)[0][0]
        except xmlrpc.client.Fault as fault:
            return {"faultCode": fault.faultCode, "faultString": fault.faultString}

    return question
