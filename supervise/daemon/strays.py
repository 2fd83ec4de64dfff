"""Programs that a dead daemon with another pidfile, or of another user, has left running.

What is remembered goes by the pidfile: one pidfile is one daemon, as with supervisord. Where that was edited, or stands
in the directory that the daemon was started in, the journal is another one, and programs would run twice in silence.
They are not ours to take: there may be two daemons on purpose, and the other one is about to be started again. So it is
said.
"""

import logging
import os

from supervise.config.model import Config
from supervise.daemon.memory import fingerprint
from supervise.system.journal import Record, forsaken, start_time
from supervise.system.pidfd import zombie_status

log = logging.getLogger("supervise")

LEFT = (
    "%s: left running by a daemon of user %d that has died, whose pidfile was %s; this daemon is another one, and "
    "starts what it has been told to beside them (one that this user starts with -j %s takes them up)"
)


def warn(config: Config, pidfile: str | None) -> None:
    """Log what daemons of our user have left of the programs that are configured, just as they are configured.

    All but what is remembered by this `pidfile`, which is ours.
    """
    ours = {(group.name, one.name): fingerprint(one) for group in config.groups for one in group.processes}
    for header, records in forsaken():
        if (theirs := header.get("pidfile")) == pidfile:
            continue
        found = [
            f"{record['name']} (pid {record['pid']})"
            for record in records
            if _runs(record)
            and record.get("made_from", 0) == ours.get((record.get("group", ""), record.get("name", "")))
        ]
        if found:
            log.critical(LEFT, ", ".join(found), os.geteuid(), theirs, theirs)


def _runs(record: Record) -> bool:
    pid, start = record.get("pid") or 0, record.get("start_time")
    return start is not None and start_time(pid) == start and zombie_status(pid, start) is None
