"""Lines for syslog and the journal: whose they are, how they are wrapped, and which server takes them."""

import socket
import time
from collections.abc import Callable, Iterator
from functools import partial

from supervise.config.addresses import SEVERITIES, SyslogFormat, priority_number
from supervise.config.model import DaemonConfig, ProgramConfig
from supervise.system import journald, syslog
from supervise.system.pump import Pump, Worker
from supervise.system.sender import Connection, Entry, Sender

LONGEST = 7 * 1024  # bytes of a line; with what is around it less than the 8 KiB that rsyslog takes
LONGEST_IN_JOURNAL = 47 * 1024  # journald's own LineMax is 48 KiB
PID_PATIENCE = 0.1  # seconds
STOCK_TAG = "supervisord"  # what supervisord calls itself, and administrators filter by
JOURNALD = "journald:"

LABEL = slice(24, 28)  # where the level stands in a line of the main log: "2026-01-31 12:00:00,000 INFO text"
LABELS = {b"CRIT": 2, b"ERRO": 3, b"WARN": 4, b"INFO": 6}  # severities; 7 for what is below

Wrap = Callable[[float, bytes], bytes]


class Outputs:
    """The senders in use; who names the same server in the same format shares one. Loop thread only."""

    def __init__(self) -> None:
        self._users: dict[Sender, int] = {}
        self._senders: dict[tuple[str, SyslogFormat], Sender] = {}
        self._closed: list[Sender] = []

    def acquire(self, target: str, form: SyslogFormat) -> Sender:
        """The sender for a normalised target (see `config.addresses.syslog_target`)."""
        key = (target, form)
        if (sender := self._senders.get(key)) is None:
            name = target.removeprefix("unix:")
            sender = self._senders[key] = Sender("journald" if target.startswith(JOURNALD) else name, _way(*key))
        self._users[sender] = self._users.get(sender, 0) + 1
        return sender

    def release(self, sender: Sender) -> None:
        """Give up one use; after the last one it sends what it has, and ends."""
        self._users[sender] -= 1
        if not self._users[sender]:
            del self._users[sender]
            self._senders = {key: each for key, each in self._senders.items() if each is not sender}
            sender.close()
            self._closed = [each for each in self._closed if each.busy] + [sender]

    def retire(self, lines: "LineStream | None", pump: Pump, post: Callable[[Callable[[], None]], None]) -> None:
        """Release what a channel has used, after everything that the log thread has still to pass on to it."""

        def end(worker: Worker) -> None:
            if lines is not None:
                lines.flush()
                post(partial(self.release, lines.sender))

        if lines is not None:
            pump.call(end)

    def close(self) -> None:
        """End all, and wait a little for what they still have to send. Blocks; any thread."""
        senders = [*self._users, *self._closed]
        for sender in senders:
            sender.close()
        for sender in senders:
            sender.join()


def _way(target: str, form: SyslogFormat) -> Callable[[], Connection]:
    if target.startswith(JOURNALD):
        return lambda: journald.connect(target.removeprefix(JOURNALD))
    framing = syslog.by_length if form is SyslogFormat.RFC5424 else syslog.by_newline
    return lambda: syslog.connect(target, framing)


class LineStream:
    """One channel's way to a server: whole lines, each a message; a line without an end waits, within bounds.

    `feed` and `flush` are for the log thread.
    """

    def __init__(self, sender: Sender, wrapper: Callable[[int], Wrap], prefix: bytes, longest: int) -> None:
        self.sender, self.dropped = sender, 0
        self._wrapper, self._prefix, self._longest = wrapper, prefix, longest
        self._partial = b""
        self._pid = 0
        self.pid = 0  # of the present run, told by the loop; a quick program writes before that

    @property
    def problem(self) -> str:
        """Why lines are not sent at present; "" if they are."""
        return self.sender.problem

    def feed(self, data: bytes, pid: int) -> None:
        """Take output of a process, as it comes."""
        if pid and self._pid and pid != self._pid:  # what somebody else has begun is not continued by this one
            self.flush()
        self._pid = pid
        end = data.rfind(b"\n") + 1
        if end:
            self._put(self._partial + data[:end])
            self._partial = data[end:]
        else:
            self._partial += data
        if len(self._partial) >= self._longest:
            self.flush()

    def flush(self) -> None:
        """Send a line that has no end; there will be none."""
        data, self._partial = self._partial, b""
        if data:
            self._put(data)

    def _put(self, data: bytes) -> None:
        self.dropped += self.sender.put(Entry(self._messages, data, time.time(), self._pid))

    def _messages(self, entry: Entry) -> Iterator[bytes]:
        """In the sender's thread."""
        wrap = self._wrapper(entry.pid or self._learn_pid())
        for line in entry.data.removesuffix(b"\n").split(b"\n"):
            for piece in pieces(line.removesuffix(b"\r").replace(b"\0", b" "), self._longest):
                yield wrap(entry.at, self._prefix + piece)

    def _learn_pid(self) -> int:
        """The pid of a run that has written before the loop could tell its pid, which it is about to do."""
        until = time.monotonic() + PID_PATIENCE
        while not self.pid and time.monotonic() < until:
            time.sleep(0.001)
        return self.pid


def pieces(line: bytes, longest: int) -> Iterator[bytes]:
    """A line, cut where it is too long, though not within a character."""
    while len(line) > longest:
        end = longest
        while end > longest - 3 and line[end] & 0xC0 == 0x80:
            end -= 1
        yield line[:end]
        line = line[end:]
    yield line


def for_program(outputs: Outputs, config: ProgramConfig, channel: str) -> LineStream | None:
    """Where a channel ("stdout" or "stderr") of a program also goes, if it does; release its `sender` at the end."""
    if not getattr(config, f"{channel}_syslog"):
        return None
    priority = priority_number(getattr(config, f"{channel}_syslog_priority"))
    target, form = config.syslog_target, config.syslog_format
    sender = outputs.acquire(target, form)
    tag = config.syslog_tag or config.name
    if target.startswith(JOURNALD):
        facts: dict[str, str | int] = {"PRIORITY": priority % 8, "SYSLOG_FACILITY": priority // 8}
        facts |= {"SYSLOG_IDENTIFIER": tag, "SUPERVISE_PROGRAM": config.program, "SUPERVISE_GROUP": config.group_name}
        facts |= {"SUPERVISE_PROCESS": config.name, "SUPERVISE_STREAM": channel}
        # journald adds what it knows of OBJECT_PID, if root says so.
        return LineStream(
            sender, lambda pid: journald.entry({**facts, "SYSLOG_PID": pid, "OBJECT_PID": pid}), b"", LONGEST_IN_JOURNAL
        )
    if form is SyslogFormat.RFC5424:
        host = socket.gethostname()
        return LineStream(sender, lambda pid: syslog.rfc5424(priority, tag, pid, host), b"", LONGEST)
    host = _host(target)
    if config.syslog_tag is None:
        stock = syslog.rfc3164(priority, STOCK_TAG, 0, host)
        return LineStream(sender, lambda _: stock, config.name.encode() + b" ", LONGEST)
    return LineStream(sender, lambda pid: syslog.rfc3164(priority, tag, pid, host), b"", LONGEST)


def _host(target: str) -> str:
    return "" if target.startswith("unix:") else socket.gethostname()


class MainOutput:
    """The main log's way to a server. Severities follow the levels, where supervisord says info of all."""

    def __init__(self, outputs: Outputs, config: DaemonConfig, pid: int) -> None:
        self.sender = outputs.acquire(config.syslog_target, config.syslog_format)
        self._stock = False  # whether lines keep their time and level
        target, form, tag = config.syslog_target, config.syslog_format, config.syslog_tag or config.identifier
        host = _host(target)
        self._streams = []
        for severity in SEVERITIES:
            priority = priority_number(f"{config.syslog_facility}.{severity}")
            if target.startswith(JOURNALD):
                facts: dict[str, str | int] = {"PRIORITY": priority % 8, "SYSLOG_FACILITY": priority // 8}
                wrap = journald.entry({**facts, "SYSLOG_IDENTIFIER": tag, "SYSLOG_PID": pid})
            elif form is SyslogFormat.RFC5424:
                wrap = syslog.rfc5424(priority, tag, pid, socket.gethostname())
            elif config.syslog_tag is not None:
                wrap = syslog.rfc3164(priority, tag, pid, host)
            else:
                self._stock, wrap = True, syslog.rfc3164(priority, STOCK_TAG, 0, host)
            self._streams.append(self._stream(wrap))

    def _stream(self, wrap: Wrap) -> Callable[[Entry], Iterator[bytes]]:
        longest = LONGEST

        def messages(entry: Entry) -> Iterator[bytes]:
            for line in entry.data.split(b"\n"):
                for piece in pieces(line, longest):
                    yield wrap(entry.at, piece)

        return messages

    def send(self, line: bytes) -> None:
        """Send a line of the main log, as it would stand in the file. Any thread."""
        label, text = line[LABEL], line.rstrip(b"\n")
        text = text if self._stock else text[LABEL.stop + 1 :]
        self.sender.put(Entry(self._streams[LABELS.get(label, 7)], text, time.time(), 0))
