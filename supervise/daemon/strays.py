"""Programs that a dead daemon with another pidfile, or of another user, has left running.

What is remembered goes by the pidfile: one pidfile is one daemon, as with supervisord. Where that was edited, or stands
in the directory that the daemon was started in, the journal is another one, and programs would run twice in silence.
They are not ours to take: there may be two daemons on purpose, and the other one is about to be started again. So it is
said.
"""

import os

from supervise.config.model import Config
from supervise.daemon.memory import fingerprint
from supervise.system.journal import Record, forsaken, start_time
from supervise.system.pidfd import zombie_status

LEFT = (
    "{0}: left running by a daemon of user {1} that has died, whose pidfile was {2}; this daemon is another one, and "
    "starts what it has been told to beside them (one that this user starts with -j {2} takes them up)"
)


def find(config: Config, pidfile: str | None) -> list[str]:
    """What daemons of our user have left of the programs that are configured, just as they are configured: a line for
    each daemon, but for the one whose `pidfile` is ours.

    Any thread. Looks at every journal of a dead daemon, about 2 ms each.
    """
    ours: dict[tuple[str, str], int] = {}
    lines = []
    for header, records in forsaken():
        if (theirs := header.get("pidfile")) == pidfile:
            continue
        running = [record for record in records if _runs(record)]
        if running and not ours:
            ours = {(group.name, one.name): fingerprint(one) for group in config.groups for one in group.processes}
        found = [
            f"{record['name']} (pid {record['pid']})"
            for record in running
            if record.get("made_from", 0) == ours.get((record.get("group", ""), record.get("name", "")))
        ]
        if found:
            lines.append(LEFT.format(", ".join(found), os.geteuid(), theirs))
    return lines


def _runs(record: Record) -> bool:
    pid, start = record.get("pid") or 0, record.get("start_time")
    return start is not None and start_time(pid) == start and zombie_status(pid, start) is None
