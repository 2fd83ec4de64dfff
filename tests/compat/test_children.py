"""What a child finds when it starts, compared between the real supervisord and our daemon."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.compat.pair import Pair
from tests.daemons import Daemon, Supervisors
from tests.tools import need_root, wait_for

pytestmark = pytest.mark.timeout(300)

# Writes all that a process can know of itself into the file named by REPORT, then sleeps.
REPORT = """\
import json, os, re, resource, signal, stat, sys, time
mask = os.umask(0)
fds = {}
for name in os.listdir("/proc/self/fd"):
    try:
        fds[name] = stat.filemode(os.fstat(int(name)).st_mode)[0]
    except OSError:
        pass  # the listing itself
facts = {
    "argv": sys.argv[1:], "environment": dict(os.environ), "directory": os.getcwd(), "umask": oct(mask),
    "uids": os.getresuid(), "gids": os.getresgid(), "groups": sorted(os.getgroups()), "fds": fds,
    "leads its process group": os.getpgrp() == os.getpid(), "nice": os.nice(0),
    "nofile": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    "signals": re.findall(r"^Sig(?:Blk|Ign):\\s*(\\w+)", open("/proc/self/status").read(), re.M),
}
path = os.environ["REPORT"]
with open(path + ".new", "w") as file:
    json.dump(facts, file)
os.rename(path + ".new", path)
time.sleep(1000)
"""

OUT = 'REPORT="{place}/out/%(program_name)s"'
CASES = {
    "plain": "",
    "words": "command = {report} a\\ b \"c 'd'\" '' %% x;y z#w $HOME ~ *",
    "user": "user = www-data",
    "user-by-number": "user = 33",
    "directory": "directory = /usr/share",
    "umask": "umask = 077",
    "environment": f'environment = {OUT},A="1",B=\'two, words\',C=x/y.z-w,D="%%(not)s",PATH="/usr/bin:/bin"',
    "server-url": "serverurl = http://example.org:1",
    "no-server-url": "serverurl =",
    "merged-streams": "redirect_stderr = true",
    "no-logs": "stdout_logfile = NONE\nstderr_logfile = NONE",
    "numbered": "process_name = x-%(process_num)03d\nnumprocs = 1\nnumprocs_start = 7",
    "expanded": "command = {report} %(program_name)s %(group_name)s %(host_node_name)s %(here)s %(ENV_A)s %(numprocs)s",
    "grouped": "priority = 3",
    "path-lookup": f'command = tool x\nenvironment = {OUT},PATH="{{place}}/bin:/usr/bin:/bin"',
    "continued": "command = {report}\n    one\n    two ; a comment\n    three",
    "own-over-global": f'environment = {OUT},G="own"',
    "own-over-built-in": f'environment = {OUT},SUPERVISOR_GROUP_NAME="mine"',
}


def program(name: str, body: str) -> str:
    """One case as a section; what the case does not say is the same for all. In INI the last one wins."""
    return f"[program:{name}]\ncommand = {{report}} one 'two words'\nstartsecs = 0\nenvironment = {OUT}\n{body}\n"


@pytest.fixture(scope="module")
def pair(shared_supervisors: Supervisors) -> Pair:
    """All cases under both daemons."""
    need_root()

    def prepare(place: Path) -> None:
        for name, mode in (("out", 0o777), ("bin", 0o755)):
            (place / name).mkdir()
            (place / name).chmod(mode)
        (place / "report.py").write_text(REPORT)
        (place / "bin/tool").write_text(f'#!/bin/sh\nexec {python()} -IS {place}/report.py tool "$@"\n')
        (place / "bin/tool").chmod(0o755)

    programs = "".join(program(name, body) for name, body in CASES.items()) + "[group:crowd]\nprograms = grouped\n"
    programs = programs.replace("{report}", f"{python()} -IS {{place}}/report.py")
    given = {"A": "of the daemon", "SUPERVISOR_LEFT": "over", "G": "daemon"}
    return Pair(shared_supervisors, programs, 'environment = G="global",H="100"', prepare=prepare, env=given)


def python() -> str:
    """An interpreter that every user may execute."""
    system = Path("/usr/bin/python3")
    return str(system) if system.exists() else sys.executable


def report(daemon: Daemon, name: str) -> Any:
    """What the case's child reported."""
    return json.loads(wait_for(lambda: daemon.read(f"out/{name}"), f"{name} reports\n{daemon.log}"))


@pytest.mark.parametrize("case", CASES)
def test_a_child_finds_the_same_world(pair: Pair, case: str) -> None:
    pair.agree(lambda daemon: report(daemon, case))


def test_nothing_of_the_daemon_leaks_into_children(pair: Pair) -> None:
    assert set(report(pair.ours, "plain")["fds"]) <= {"0", "1", "2", "3"}, "3 is the listing's own"
