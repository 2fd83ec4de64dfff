"""Ending what an earlier daemon left and nobody wants: programs that are no longer configured, or all of them."""

import asyncio
import logging
import signal
from collections.abc import Iterable

from supervise.daemon.process import namespec
from supervise.daemon.trees import Trees
from supervise.system.journal import Record, start_time
from supervise.system.tree import Sweeper, describe

log = logging.getLogger("supervise")

PATIENCE = 10.0  # seconds from SIGTERM to SIGKILL, and from SIGKILL until they are given up


async def end(records: Iterable[Record], trees: Trees) -> None:
    """End the processes of these records, with all that they have started, at the same time. Never raises.

    A pid that another process has by now (its start time differs) is left alone. Loop thread only.
    """
    await asyncio.gather(*(_end(record, trees) for record in records if is_there(record)))


def is_there(record: Record) -> bool:
    """Whether the recorded process itself still runs."""
    pid = record.get("pid")
    return isinstance(pid, int) and start_time(pid) is not None and start_time(pid) == record.get("start_time")


async def _end(record: Record, trees: Trees) -> None:
    name, sid = namespec(record["group"], record["name"]), record["pid"]
    log.warning("ending %s (pid %d), which an earlier daemon left", name, sid)
    gone = asyncio.Event()
    sweeper = Sweeper(trees.known(name, sid), gone.set)
    try:
        for number in (signal.SIGTERM, signal.SIGKILL):
            sweeper.signal(number)
            try:
                async with asyncio.timeout(PATIENCE):
                    await gone.wait()
                return
            except TimeoutError:
                continue
    finally:
        if left := sweeper.close():
            log.critical("%s does not end: %s", name, ", ".join(map(describe, left)))
