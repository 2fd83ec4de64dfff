"""Output of programs that a daemon before us left and nobody continues: read for as long as they take to end.

What they wrote while no daemon was there, and what they say last, is theirs like anything else; and who is not read
hangs in a pipe that is full until SIGKILL comes.
"""

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import Any

from supervise.config.model import GroupConfig, ProgramConfig
from supervise.core.events import State
from supervise.daemon import leftovers
from supervise.daemon.logs import Logs, ProcessLogs
from supervise.daemon.memory import Memory, pipes_of
from supervise.daemon.trees import Trees
from supervise.system.journal import Record


class Unclaimed:
    """All that has not been recalled from a memory. Loop thread only."""

    def __init__(self, logs: Logs, memory: Memory, groups: Iterable[GroupConfig] = ()) -> None:
        """Set it aside, and begin to read: to the logs that are configured in `groups`, else to those that it had."""
        self._memory, self._groups = memory, tuple(groups)
        self._records = memory.set_aside()
        self._drained: list[asyncio.Future[None]] = []
        programs = {(group.name, program.name): program for group in self._groups for program in group.processes}
        self._logs: dict[tuple[str, str], ProcessLogs] = {}
        for record in self._records:
            key = record["group"], record["name"]
            self._logs[key] = _resumed(logs, memory, record, programs.get(key))

    def __bool__(self) -> bool:
        """Whether there may be anything."""
        return bool(self._records)

    async def end(self, trees: Trees) -> None:
        """End it (see `leftovers.end`), and forget what has ended when its last output is in its logs. Never raises."""
        await leftovers.end(self._records, trees, self._over, self._groups, self._memory.handover)
        await asyncio.gather(*self._drained)

    def _over(self, record: Record) -> None:
        logs = self._logs.pop((record["group"], record["name"]))
        drained = asyncio.get_running_loop().create_future()
        self._drained.append(drained)

        def forget() -> None:
            logs.close()
            if self._is_to_stay_down(record):
                self._memory.lay_down(record)
            else:
                self._memory.let_go(record)
            if not drained.cancelled():
                drained.set_result(None)

        logs.drain(forget)

    def _is_to_stay_down(self, record: Record) -> bool:
        """Whether somebody has stopped it, who may start it again."""
        down = record.get("state") in (State.STOPPED, State.STOPPING)
        return down and bool(self._groups) and not (record.get("wanted", True) or record.get("owed"))


def _resumed(logs: Logs, memory: Memory, record: Record, program: ProgramConfig | None) -> ProcessLogs:
    opened = logs.open(program or _as_recorded(record), record.get("auto"))
    find = partial(memory.handover.pipe, pid=record.get("pid"))
    opened.resume(pipes_of(record, spoken=True), find, record.get("files"))
    return opened


def _as_recorded(record: Record) -> ProgramConfig:
    """What is left of the configuration of a program: its logs."""
    options: dict[str, Any] = {"stdout_logfile": None, "stderr_logfile": None}
    for channel, (path, maxbytes, backups) in record.get("files", {}).items():
        limits = {f"{channel}_logfile_maxbytes": maxbytes, f"{channel}_logfile_backups": backups}
        options |= {f"{channel}_logfile": path, **limits}
    apart = "stderr" in record.get("pipes", {})
    return ProgramConfig(
        name=record["name"], group_name=record["group"], command="", redirect_stderr=not apart, **options
    )
