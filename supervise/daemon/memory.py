"""What the daemon remembers of processes beyond its own life, and how it takes them up again.

A record is written after every step of a machine and before anything is done about it, and once more between making
the pipes of a spawn and the spawn. So whatever moment the daemon dies at, the next one knows of every process, or where
to look for one whose pid nobody had the time to write down: it is the session leader with that pipe as its stdout.
"""

import dataclasses
import hashlib
import logging
import os
import zlib
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from itertools import chain

from supervise.config.declare import Change
from supervise.config.diff import kinds_of_change
from supervise.config.model import ProgramConfig
from supervise.core.events import State, StateChanged
from supervise.daemon import losses
from supervise.daemon.eventlog import forget_others
from supervise.daemon.process import Exit, Process
from supervise.daemon.records import FACTS, MACHINE, flaw, lasting, passing, shortened, to_record
from supervise.daemon.transit import forget_all
from supervise.system import carry, intent
from supervise.system.handover import Handover, is_hidden
from supervise.system.journal import (
    SCHEMA,
    InUseError,
    Journal,
    JournalError,
    Record,
    boot_id,
    place,
    start_time,
    ticks_now,
)
from supervise.system.spawn import Child
from supervise.system.stdin import Stdin

log = logging.getLogger("supervise")

DAMAGED = "%s damaged (%s): there may be programs running that this daemon does not know, and starts once more"
DEFAULTS = {field.name: field.default for field in dataclasses.fields(ProgramConfig)}
AT_ITS_START = [name for name, change in kinds_of_change() if change is Change.RESTART]


class Memory:
    """The journal, seen as processes. Loop thread only.

    Without a journal (no memory file system could be used) nothing is remembered, and `problem` says why.
    """

    def __init__(self, journal: Journal | None, handover: Handover, problem: str = "", identity: str = "") -> None:
        """`identity` is one for this daemon and all before and after it."""
        self.handover, self.problem = handover, problem
        self.identity = identity or f"pid{os.getpid()}"
        self.header: Record = {}
        self._journal = journal
        self._slots: dict[tuple[str, str], int] = {}
        self._records: dict[tuple[str, str], Record] = {}
        # Slots of what nobody recalls any more, and is still there, with its record.
        self._aside: dict[tuple[str, str], tuple[int, Record]] = {}
        self.recalled: set[tuple[str, str]] = set()  # who goes on as before, and is not started by `autostart`
        self._dismissed: dict[str, int] = {}  # slots of groups
        if journal is not None:
            for slot, record in journal.records.items():
                if wrong := flaw(record):
                    log.critical(DAMAGED, f"the record of {record.get('name')} in {journal.path} is", wrong)
                    journal.free(slot)
                    continue
                if "dismissed" in record:
                    self._dismissed[record["group"]] = slot
                    continue
                self._slots[record["group"], record["name"]] = slot
                self._records[record["group"], record["name"]] = record

    def set_aside(self) -> list[Record]:
        """What has not been recalled will not be. It is remembered until `let_go` is told that it is over, so that the
        daemon after us can bring it to its end."""
        records, self._records = self._records, {}
        self._aside = {key: (self._slots.pop(key), record) for key, record in records.items()}
        return list(records.values())

    @property
    def aside(self) -> bool:
        """Whether something is left that was set aside."""
        return bool(self._aside)

    def lay_down(self, record: Record) -> None:
        """One that was set aside has ended, as somebody wished before: it is recalled as stopped, and stays so."""
        key = (record["group"], record["name"])
        slot, _ = self._aside.pop(key)
        self._slots[key] = slot
        self._records[key] = {**record, "state": int(State.STOPPED), "pid": None, "deadline": None, "sweeping": None}
        if self._journal is not None:
            self._journal.write(slot, self._records[key])

    def let_go(self, record: Record) -> None:
        """Forget one that was set aside."""
        slot, _ = self._aside.pop((record["group"], record["name"]), (None, record))
        if slot is not None and self._journal is not None:
            self._journal.free(slot)

    def recall(self, group: str, name: str) -> Record | None:
        """What an earlier daemon left of a process, once."""
        record = self._records.pop((group, name), None)
        if record is not None:
            self.recalled.add((group, name))
        return record

    @property
    def dismissed(self) -> frozenset[str]:
        """Groups that somebody has removed, though they are configured."""
        return frozenset(self._dismissed)

    def dismiss(self, group: str) -> None:
        """Remember that somebody has removed a group. Never raises."""
        if self._journal is not None and group not in self._dismissed:
            with suppress(JournalError):
                slot = self._journal.allocate()
                try:
                    self._journal.write(slot, {"group": group, "name": "", "dismissed": True})
                except ValueError:  # there is no room for such a name
                    self._journal.free(slot)
                else:
                    self._dismissed[group] = slot

    def readmit(self, group: str) -> None:
        """It is there again."""
        if (slot := self._dismissed.pop(group, None)) is not None and self._journal is not None:
            self._journal.free(slot)

    def remember(self, process: Process) -> None:
        """Write down how a process stands. Never raises."""
        if process.state is State.STOPPING:
            now = ticks_now()
            if is_ours(process) or is_alive(process):
                process.seen = now
        if self._journal is None:
            return
        key = (process.group, process.name)
        try:
            if (slot := self._slots.get(key)) is None:
                if key in self._aside:  # two of one name could not be told apart
                    self._journal.free(self._aside.pop(key)[0])
                slot = self._slots[key] = self._journal.allocate()
            try:
                self._journal.write(slot, passing(process), lasting(process))
            except ValueError:  # there is no room for all of it
                self._journal.write(slot, shortened(to_record(process)))
        except (JournalError, ValueError) as exc:
            if key in self._slots:  # rather nothing than what was true once, of another process perhaps
                self._journal.free(self._slots.pop(key))
            if not self.problem:
                log.error("%s is not remembered beyond a crash: %s", process.namespec, exc)
            self.problem = str(exc)

    @property
    def path(self) -> str | None:
        """The journal's file; None without one."""
        return self._journal.path if self._journal is not None else None

    @property
    def intact(self) -> bool:
        """Whether the next daemon will find it."""
        return self._journal is not None and self._journal.intact

    def renew(self, processes: Iterable[Process]) -> bool:
        """If somebody has removed the journal, make it anew, with these; whether that was done. Never raises."""
        if self._journal is None or self._journal.intact:
            return False
        try:
            journal = Journal(f"{place(self.identity)}/state", sole=True)
        except JournalError as exc:
            if str(exc) != self.problem:
                log.error("%s was removed, and programs will not survive a crash: %s", self._journal.path, exc)
            self.problem = str(exc)
            return False
        log.warning("%s was removed; made it anew", self._journal.path)
        journal.clear()
        journal.begin(self.header)
        self._journal.close(remove=False)
        self._journal, self._slots, self.problem = journal, {}, ""
        aside, self._aside = self._aside, {}
        for key, (_, record) in aside.items():
            with suppress(JournalError):
                slot, _ = self._aside[key] = journal.allocate(), record
                journal.write(slot, record)
        dismissed, self._dismissed = self._dismissed, {}
        for group in dismissed:
            self.dismiss(group)
        for process in processes:
            self.remember(process)
        return True

    @property
    def directory(self) -> str | None:
        """Where the journal is, for what else shall outlive us; None without one."""
        return os.path.dirname(self._journal.path) if self._journal is not None else None

    @property
    def logs_in_use(self) -> frozenset[str]:
        """The logs of all that is remembered, AUTO ones among them."""
        records = self._records.values()
        auto = {path for record in records for path in record.get("auto", {}).values()}
        return frozenset(auto | {path for record in records for path, *_ in record.get("files", {}).values()})

    def forget(self, group: str, name: str) -> None:
        """Remove a process from memory."""
        self.recalled.discard((group, name))
        slot = self._slots.pop((group, name), None)
        if slot is not None and self._journal is not None:
            self._journal.free(slot)

    def close(self, *, everything_stopped: bool) -> None:
        """The end: what has stopped by order need not be remembered."""
        self.handover.close()
        if self._journal is not None:
            self._journal.close(remove=everything_stopped)
            if everything_stopped:
                losses.forget(os.path.dirname(self._journal.path))


def pipes_of(record: Record, *, spoken: bool) -> dict[str, list[int]]:
    """By channel, the pipes that a process may write to; with what it has `spoken` as an event listener, which is
    output like any other if nobody listens."""
    pipes = dict(record.get("pipes", {}))
    if spoken and record.get("spoken"):
        pipes["stdout"] = [*pipes.get("stdout", ()), record["spoken"]]
    return pipes


def restore(process: Process, record: Record, handover: Handover) -> None:
    """Make a process stand as it was recorded. Its log pipes are open again where anybody still has them."""
    machine = process.machine
    for name in MACHINE:
        if name in record:
            setattr(machine, name, record[name])
    machine.state = State(machine.state)
    for name in FACTS:
        setattr(process, name, record.get(name, 0))
    for at, status, text, expected, uptime in record.get("exits", ()):
        process.add_exit(Exit(at, status, text, expected, uptime, ()))
    process.untold = tuple(
        StateChanged(process.group, process.name, State(old), State(new), *rest)
        for old, new, *rest in record.get("untold", ())
    )
    pipes = pipes_of(record, spoken=process.wiring is None)
    missing = process.logs.resume(pipes, partial(handover.pipe, pid=machine.pid), record.get("files"))
    if machine.pid is not None:
        stdin = record.get("stdin")
        if stdin is None:
            process.child = Child(machine.pid, None)
        else:
            kept = handover.take(f"stdin-{stdin}")
            process.child = Child(machine.pid, Stdin(stdin, -1 if kept is None else kept))
        locked = not handover.locked.isdisjoint(chain(*pipes.values()))
        if missing and is_alive(process) and (locked or is_hidden(machine.pid)):  # else it has closed them
            for channel in missing:
                channel.cut_off(machine.pid)


def fingerprint(config: ProgramConfig) -> int:
    """A number for the options that a process can only be given at its start; never 0.

    Options of which nobody makes use do not count, so that a version with more of them comes to the same number.
    """
    given = [(name, getattr(config, name)) for name in AT_ITS_START if getattr(config, name) != DEFAULTS.get(name)]
    return zlib.crc32(repr(given).encode()) or 1


def is_outdated(process: Process) -> bool:
    """Whether it runs with other options than are configured, since a daemon before us started it."""
    return process.machine.pid is not None and process.made_from not in (0, fingerprint(process.config))


def is_ours(process: Process) -> bool:
    """Whether it is a child of ours that has not been reaped: then it is there, and nobody needs to look."""
    return process.child is not None and process.adopted is None and not process.reaped


def is_alive(process: Process) -> bool:
    """Whether the recorded process is still there: the same pid is not enough (a zombie counts, it has a status)."""
    pid = process.machine.pid
    return pid is not None and process.start_time is not None and start_time(pid) == process.start_time


def open_memory(pidfile: str, handover: Handover, *, heir: bool = False) -> Memory:
    """Open the journal of the daemon that has this pidfile, forgetting what was written before the last boot.

    Where no memory file system can be used, the daemon runs without memory, and says so.
    Raises JournalError for a journal that must not be overlooked, since programs may be running; or somebody writes it
    who can be another daemon. To an `heir` of the pidfile's lock that can only be a child which hangs in its exec.
    """
    identity = hashlib.sha256(pidfile.encode()).hexdigest()[:16]
    try:
        path = f"{place(identity)}/state"
    except JournalError as exc:
        log.error("programs will not survive a crash of this daemon as its own: %s", exc)
        return Memory(None, handover, str(exc), identity)
    try:
        try:
            journal = Journal(path, sole=True)
        except InUseError:
            if not heir:
                raise
            journal = Journal(path)
    except JournalError as exc:
        if os.path.exists(path) and os.path.getsize(path):  # there may be programs in it
            raise
        log.error("programs will not survive a crash of this daemon as its own: %s", exc)
        return Memory(None, handover, str(exc), identity)
    boot, header = boot_id(), journal.header
    if header is None and (journal.records or journal.damaged):
        journal.close(remove=False)
        raise JournalError(
            f"{path} is damaged, and programs that it names may be running: stop them and remove the file"
        )
    if header is not None and header.get("schema", 0) > SCHEMA:
        journal.close(remove=False)
        raise JournalError(
            f"{path} was written by a newer version (schema {header['schema']}, this one knows {SCHEMA}), and its "
            f"programs may be running: start that version, or stop them and remove the file"
        )
    if header is None or header.get("boot") != boot:
        journal.clear()
        if header is not None:  # else the daemon before us has ended in peace, but for a disk that it did not wait for
            intent.forget(os.path.dirname(path))
            carry.forget(os.path.dirname(path))
        losses.forget(os.path.dirname(path))
        forget_all(os.path.dirname(path))
        forget_others(os.path.dirname(path), ())
    elif journal.damaged:
        what = "there may be programs running that this daemon does not know, and starts once more"
        log.critical("%d records of %s are damaged: %s", journal.damaged, path, what)
    memory = Memory(journal, handover, identity=identity)
    memory.header = {"boot": boot, "pidfile": pidfile, "pid": os.getpid()}
    journal.begin(memory.header)
    return memory
