"""Event listeners for tests: a script that writes down what it is sent, and answers as it is told."""

import json
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from supervise.config.model import GroupConfig, ProgramConfig
from supervise.core.events import Start
from supervise.daemon.listeners import Listener
from supervise.daemon.pools import Pools
from supervise.daemon.supervisor import Supervisor
from tests.daemon.running import eventually, process, program, supervising

# Reads bytes, writes every event as a line of JSON to the file argv[1], then does what is put in place of {act}, which
# may use `n`, the number of the event in this run, and `first`, whether this is the first run.
SCRIPT = """\
import json, os, sys, time
first = not os.path.exists(sys.argv[1])
out = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
stdin, n = sys.stdin.buffer, 0
def say(text):
    data = text if isinstance(text, bytes) else text.encode()
    while data:
        data = data[os.write(1, data):]
def result(body="OK"):
    say("RESULT %d\\n%s" % (len(body), body))
while True:
    say("READY\\n")
    line = stdin.readline()
    if not line:
        break
    header = dict(word.split(":", 1) for word in line.decode().split())
    event = stdin.read(int(header["len"]))
    n += 1
    os.write(out, json.dumps([header, event.decode(), os.getpid()]).encode() + b"\\n")
{act}
"""


def script(place: Path, act: str = "result()") -> Path:
    """The script, doing `act` after each event."""
    path = place / f"listener-{abs(hash(act))}.py"
    path.write_text(SCRIPT.replace("{act}", textwrap.indent(textwrap.dedent(act), "    ")))
    return path


def listener(place: Path, act: str = "result()", name: str = "l", **options: Any) -> ProgramConfig:
    """A listener process that writes to `{name}.events`; startsecs 0, so that it is sent events when it is READY."""
    command = f"{sys.executable} -I -S {script(place, act)} {place / name}.events"
    facts: dict[str, Any] = {"kind": "eventlistener", "startsecs": 0, "group_name": "l"}
    return program(name, str(options.pop("command", command)), **(facts | options))


def pool(*members: ProgramConfig, **options: Any) -> GroupConfig:
    """A pool of these, hearing everything unless told otherwise."""
    facts: dict[str, Any] = {"kind": "pool", "events": ("EVENT",), "priority": -1}
    return GroupConfig(name="l", processes=members, **(facts | options))


@asynccontextmanager
async def listening(place: Path, *groups: GroupConfig, start: bool = True) -> AsyncIterator[Supervisor]:
    """A supervisor with pools, these groups added and started."""
    async with supervising(place) as supervisor:
        pools = Pools(supervisor)
        for group in groups:
            supervisor.add_group(group)
        if start:
            supervisor.autostart(supervisor.processes())
        yield supervisor
        pools.close()


def events(place: Path, name: str = "l") -> list[tuple[dict[str, str], str, int]]:
    """What a listener has written down: header, payload, its pid."""
    path = place / f"{name}.events"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []  # a line may be half written
    return [(header, payload, pid) for header, payload, pid in map(json.loads, lines)]


def types(place: Path, name: str = "l") -> list[str]:
    """The types of the events that it has been sent."""
    return [header["eventname"] for header, _, _ in events(place, name)]


def wiring(supervisor: Supervisor, name: str = "l:l") -> Listener:
    """A process's side of the protocol."""
    found = process(supervisor, name).wiring
    assert isinstance(found, Listener)
    return found


async def begin(supervisor: Supervisor, name: str) -> None:
    """Start one process and wait until it has been spawned."""
    one = process(supervisor, name)
    supervisor.tell(one, Start())
    await eventually(lambda: one.machine.pid is not None)
