"""`python -m tests.e2e.soak [--restarts N] [--rotations N] [--updates N]`: one daemon, a long day.

Descriptors, threads and memory of the daemon after the first tenth of the work, and after all of it: status 0 if they
are flat.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from typing import Any

import psutil

from tests.daemons import Daemon, Supervisors
from tests.tools import wait_for

MEMBERS = 20
GROWTH = 6 << 20  # bytes of resident memory that ten times the work may add: caches of the interpreter, no leak


@dataclass(frozen=True)
class Footprint:
    """What the daemon takes."""

    descriptors: int
    threads: int
    memory: int


def programs(version: int) -> str:
    """Twenty that do nothing, one that writes, one that changes with every version."""
    return f"""
        [program:many]
        command = /bin/sleep 100000
        process_name = m%(process_num)d
        numprocs = {MEMBERS}
        startsecs = 0
        stdout_logfile = {{place}}/%(process_num)d.out
        stderr_logfile = {{place}}/%(process_num)d.err

        [program:writer]
        command = sh -c 'while echo some words; do sleep 0.01; done'
        startsecs = 0
        stdout_logfile = {{place}}/writer.out
        stdout_logfile_backups = 3

        [program:changing]
        command = /bin/sleep 100000
        startsecs = 0
        environment = VERSION={version}
        stdout_logfile = {{place}}/changing.out
    """


def call(daemon: Daemon, path: str, body: dict[str, Any]) -> Any:
    """One request that must succeed."""
    headers = {"Content-Type": "application/json"}
    status, _, answer = daemon.request("POST", "/api/v1" + path, json.dumps(body).encode(), headers)
    assert status == 200, answer
    return json.loads(answer)


def work(daemon: Daemon, restarts: int, rotations: int, updates: int, version: int) -> int:
    """Do so much; returns the last version."""
    for _ in range(restarts // MEMBERS):
        results = call(daemon, "/actions", {"action": "restart", "names": ["many:*"], "wait": True})["results"]
        assert all(result["fault"] == "SUCCESS" for result in results), results
    for _ in range(rotations):
        call(daemon, "/actions", {"action": "rotate", "names": ["writer"], "wait": True})
    for new in range(version + 1, version + updates + 1):
        daemon.configure(programs(new))
        steps = call(daemon, "/config/update", {})["steps"]
        assert [step["process"] for step in steps if step["process"]] == ["changing"], steps
    return version + updates


def footprint(daemon: Daemon) -> Footprint:
    """Measured when nothing is on its way any more."""
    daemon.wait_state("changing", "RUNNING")
    process = psutil.Process(daemon.pid)
    found = []

    def steady() -> bool:
        found.append(process.num_fds())
        return len(found) > 5 and len(set(found[-5:])) == 1

    wait_for(steady)
    return Footprint(found[-1], process.num_threads(), process.memory_info().rss)


def soak(restarts: int, rotations: int, updates: int) -> tuple[Footprint, Footprint]:
    """A tenth of the work, a look, the rest, another look."""
    supervisors = Supervisors()
    try:
        daemon = supervisors.start("supervise", programs(0))
        amounts = restarts, rotations, updates
        version = work(daemon, *(max(MEMBERS, amount // 10) for amount in amounts), version=0)
        early = footprint(daemon)
        work(daemon, *(amount - amount // 10 for amount in amounts), version=version)
        return early, footprint(daemon)
    finally:
        supervisors.close()


def main(words: list[str]) -> int:
    """Run, print both footprints, and judge them."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.soak")
    parser.add_argument("--restarts", type=int, default=10_000)
    parser.add_argument("--rotations", type=int, default=1_000)
    parser.add_argument("--updates", type=int, default=1_000)
    given = parser.parse_args(words)
    early, late = soak(given.restarts, given.rotations, given.updates)
    print(early, late, sep="\n")
    flat = late.descriptors <= early.descriptors + 2 and late.threads <= early.threads + 1
    return not (flat and late.memory <= early.memory + GROWTH)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
