"""The same command line for supervisorctl and supervisectl, each with its own daemon on the same configuration."""

import re
from dataclasses import dataclass
from pathlib import Path

from tests.daemons import Daemon, Supervisors

PROGRAMS = """
[program:cat]
command = cat
startsecs = 0
[program:two]
command = sleep 1000
process_name = %(program_name)s_%(process_num)02d
numprocs = 2
startsecs = 0
[program:off]
command = sleep 1000
autostart = false
startsecs = 0
[program:missing]
command = /nonexistent
autostart = false
[program:locked]
command = /etc/passwd
autostart = false
[program:nolog]
command = sleep 1000
stdout_logfile = NONE
startsecs = 0
[program:dies]
command = sh -c 'exit 3'
autostart = false
startretries = 0
startsecs = 60
[program:talks]
command = sh -c 'echo one; echo two >&2; exec sleep 1000'
startsecs = 0
[group:duo]
programs = left,right
priority = 5
[program:left]
command = sleep 1000
startsecs = 0
[program:right]
command = sleep 1000
autostart = false
startsecs = 0
"""


@dataclass(frozen=True)
class Answer:
    """What a control command printed, with everything replaced that two daemons cannot have in common."""

    out: str
    err: str
    code: int


@dataclass(frozen=True)
class Pair:
    """The daemon under test, and supervisord."""

    ours: Daemon
    theirs: Daemon

    def answers(self, line: str) -> tuple[Answer, Answer]:
        """Ours and theirs; the line is split at blanks."""
        return answer(self.ours, *line.split()), answer(self.theirs, *line.split())


def start_pair(supervisors: Supervisors, programs: str = PROGRAMS) -> Pair:
    """Both, at the same point."""
    pair = Pair(supervisors.start("supervise", programs), supervisors.start("supervisord", programs))
    for daemon in (pair.ours, pair.theirs):
        for name in ("cat", "two:two_00", "two:two_01", "nolog", "talks", "duo:left") if programs is PROGRAMS else ():
            daemon.wait_state(name, "RUNNING")
    return pair


def answer(daemon: Daemon, *words: str, stdin: str = "") -> Answer:
    """Run the daemon's own client."""
    run = daemon.ctl(*words, stdin=stdin)
    return Answer(normal(run.stdout, daemon.place), normal(run.stderr, daemon.place), run.returncode)


def normal(text: str, place: Path) -> str:
    """Without pids, times and places."""
    text = text.replace(str(place), "PLACE")
    text = re.sub(r"pid \d+, uptime (\d+ days?, )?\d+:\d\d:\d\d", "pid N, uptime T", text)
    text = re.sub(r"(?m)^[1-9]\d*$", "PID", text)
    text = re.sub(r"[A-Z][a-z][a-z] \d\d \d\d:\d\d [AP]M", "WHEN", text)
    return re.sub(r"(?m)^For help, use .* -h$", "For help, use PROG -h", text)
