"""What a daemon that was killed had begun to do with output: given to who goes on reading, or finished here."""

import os
from collections.abc import Iterable
from functools import partial

from supervise.daemon.channel import log
from supervise.daemon.childpipe import ChildPipe
from supervise.system import carry
from supervise.system.intent import Intents, Interrupted
from supervise.system.logfile import LogFile
from supervise.system.pump import BUFFER, Pump, Worker


class Unfinished:
    """Loop thread. Without a directory nothing is known and nothing recorded."""

    def __init__(self, pump: Pump, directory: str | None = None) -> None:
        """From now on what the pump does is recorded in `directory`. To be made before any log is opened."""
        self._pump, self._intents = pump, None
        self._carried: set[str] = set()
        if directory is None:
            return
        try:
            self._intents = Intents(directory, BUFFER)
            self._carried = {name for name in os.listdir(directory) if name.startswith(carry.PREFIX)}
        except OSError as exc:
            log.error("output may be lost or doubled when this daemon is killed: %s", exc)
            return
        pump.record(self._intents)
        pump.call(partial(_look, tuple(self._intents.found)))

    def of(self, pipe: int) -> list[Interrupted]:
        """What is unfinished of a pipe, oldest first: the caller's to finish."""
        self._carried.discard(f"{carry.PREFIX}{pipe}")
        return self._intents.of(pipe) if self._intents is not None else []

    def settle(self) -> None:
        """Nobody else is coming to take what is left: output of programs that are not configured any more."""
        if self._intents is None:
            return
        for step in self._intents.found:
            self._pump.call(partial(_finish, step))
        self._intents.found = []
        for name in self._carried:
            carry.drop(self._intents.directory, name.removeprefix(carry.PREFIX))
        self._carried.clear()

    def renew(self, directory: str) -> bool:
        """If what is recorded was removed, record it anew, there; whether that was done."""
        if self._intents is None or (directory == self._intents.directory and self._pump.recorded):
            return False
        self._intents.directory = directory
        self._pump.record(self._intents)
        self._pump.call(self._keep)
        return True

    def _keep(self, worker: Worker) -> None:
        for source in self._pump.sources:
            if isinstance(source, ChildPipe):
                source.keep(worker)


def _look(steps: Iterable[Interrupted], worker: Worker) -> None:
    """Before anything is written."""
    for step in steps:
        step.look()


def _finish(step: Interrupted, worker: Worker) -> None:
    """Append what is missing to the file that it was meant for."""
    if step.doubtful:
        step.retire()
        return
    done, intent = step.written(step.data), worker.intent
    if intent is not None:
        intent.take_up(step, done)
    step.retire()
    try:
        if step.path and done < len(step.data):
            file = LogFile(step.path)
            file.write(step.data[done:], intent)
            file.close()
    except OSError as exc:
        log.error("the last output of a program that is not configured any more is lost: %s", exc)
    if intent is not None:
        intent.end()
