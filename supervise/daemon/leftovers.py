"""Ending what an earlier daemon left and nobody wants: programs that are no longer configured, or all of them."""

import asyncio
import logging
import signal
from collections.abc import Callable, Iterable

from supervise.config.model import GroupConfig, ProgramConfig
from supervise.daemon.process import namespec
from supervise.daemon.trees import Trees
from supervise.system.journal import Record, start_time
from supervise.system.tree import Sweeper, describe

log = logging.getLogger("supervise")

PATIENCE = 10.0  # seconds from SIGTERM to SIGKILL where no program says otherwise, and from SIGKILL until we give up


async def end(
    records: Iterable[Record], trees: Trees, over: Callable[[Record], None], groups: Iterable[GroupConfig] = ()
) -> None:
    """End the processes of these records, with all that they have started, at the same time, and tell of each when
    nothing is left of it. Never raises.

    Those that are configured in `groups` are ended by their stopsignal, and may take their stopwaitsecs.
    A pid that another process has by now (its start time differs) is left alone. Loop thread only.
    """
    programs = {(group.name, program.name): program for group in groups for program in group.processes}

    async def see_to(record: Record) -> None:
        if not is_there(record) or await _end(record, trees, programs.get((record["group"], record["name"]))):
            over(record)

    await asyncio.gather(*map(see_to, records))


def is_there(record: Record) -> bool:
    """Whether the recorded process itself still runs."""
    pid = record.get("pid")
    return isinstance(pid, int) and start_time(pid) is not None and start_time(pid) == record.get("start_time")


async def _end(record: Record, trees: Trees, program: ProgramConfig | None) -> bool:
    name, sid = namespec(record["group"], record["name"]), record["pid"]
    first = (program.stopsignal, program.stopwaitsecs) if program is not None else (signal.SIGTERM, PATIENCE)
    log.warning("ending %s (pid %d), which an earlier daemon left: it has %g seconds", name, sid, first[1])
    gone = asyncio.Event()
    sweeper = Sweeper(trees.known(name, (sid, record["start_time"], 0.0)), gone.set)
    try:
        for number, patience in (first, (signal.SIGKILL, PATIENCE)):
            sweeper.signal(number)
            try:
                async with asyncio.timeout(patience):
                    await gone.wait()
                return True
            except TimeoutError:
                continue
        return False
    finally:
        if left := sweeper.close():
            log.critical("%s does not end: %s", name, ", ".join(map(describe, left)))
