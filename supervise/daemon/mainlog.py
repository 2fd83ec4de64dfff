"""The daemon's own log: supervisord's format, written by the log thread, never a hindrance to whoever logs."""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial

from supervise.config.model import DaemonConfig
from supervise.daemon.followers import Gap, Live, Truncated, follow_log, readable_path
from supervise.daemon.logs import Logs
from supervise.daemon.outputs import MainOutput
from supervise.daemon.sinks import Sink
from supervise.system.logfile import LogFile
from supervise.system.pump import Worker
from supervise.system.stream import inherited

BLATHER, TRACE = 3, 5  # supervisord's levels below logging.DEBUG
WAITING = 4 << 20  # bytes of lines that wait for the log thread; what comes then is dropped and counted
EARLY = 1000  # lines kept before the log is open
RING = 64 * 1024  # last bytes kept in memory, for a log that cannot be read back

_LABELS = {50: "CRIT", 40: "ERRO", 30: "WARN", 20: "INFO", 10: "DEBG", TRACE: "TRAC", BLATHER: "BLAT"}
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
# Whatever a program or client has put into a message must not look like a line of its own.
_ESCAPES = _CONTROLS | {9: "\t", 10: "\\n", 13: "\\r", 0x2028: "\\u2028", 0x2029: "\\u2029"}


def install() -> "MainLog":
    """Send the logger "supervise" to a new main log, which keeps its lines until it is opened."""
    logger = logging.getLogger("supervise")
    main_log = MainLog(logger)
    logger.addHandler(main_log)
    if not any(isinstance(handler, logging.NullHandler) for handler in logger.handlers):
        logger.addHandler(logging.NullHandler())  # so that nothing goes to stderr after `close`
    logger.propagate = False
    logger.setLevel(logging.INFO)
    return main_log


def setup(config: DaemonConfig, logs: Logs, *, foreground: bool = False) -> "MainLog":
    """`install` and `open` in one."""
    main_log = install()
    main_log.open(config, logs, foreground=foreground)
    return main_log


class MainLog(logging.Handler):
    """A handler for any thread that only queues. `extra={"verbatim": True}` lets a message have lines of its own."""

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__()
        self._logger = logger
        self.path: str | None = None
        self.sink: Sink | None = None
        self.lost = 0  # lines that found the queue full
        self._stdout: Sink | None = None
        self._output: MainOutput | None = None
        self._logs: Logs | None = None
        self._lines: list[bytes] = []
        self._waiting = 0
        self._sent = False
        self._second = (-1, "")
        self._ring = bytearray()
        self._live: tuple[Live, ...] = ()

    # Loop thread

    def open(self, config: DaemonConfig, logs: Logs, *, foreground: bool = False) -> None:
        """Write to the configured file from now on, what was kept first; in the foreground to stdout too.

        Never raises: a file that cannot be written is tried again as any log is; `confirm` tells.
        """
        self._logs = logs
        self._aim(config, foreground)
        with self.lock or contextlib.nullcontext():
            self._send()

    def reconfigure(self, config: DaemonConfig, *, foreground: bool = False) -> None:
        """Take over level, target and limits."""
        self._aim(config, foreground)

    def _aim(self, config: DaemonConfig, foreground: bool) -> None:
        assert self._logs is not None
        sinks, old = self._logs.sinks, (self.sink, self._stdout)
        self._logger.setLevel(config.loglevel)
        kept = config.logfile not in ("/dev/null", "syslog")
        limits = config.logfile_maxbytes, config.logfile_backups
        self.path = config.logfile if kept else None
        self.sink = sinks.acquire(config.logfile, *limits) if kept else None
        echo = foreground and not config.silent and (self.path is None or inherited(self.path) != 1)
        self._stdout = sinks.acquire("/dev/stdout", 0, 0) if echo else None
        for sink in old:
            if sink is not None:
                sinks.release(sink)
        if self.sink is not None:
            self._logs.pump.call(self.sink.touch)
        former, outputs = self._output, self._logs.outputs
        self._output = MainOutput(outputs, config, os.getpid()) if config.logfile == "syslog" else None
        if former is not None:
            outputs.release(former.sender)

    async def confirm(self) -> None:
        """Wait until the file is open. Raises OSError if it cannot be."""
        if self._logs is not None and self.sink is not None:
            sink = self.sink
            await self._logs.order(sink, sink.probe)

    def clear(self) -> Awaitable[object]:
        """Empty the file. The awaitable raises OSError: FileNotFoundError for one that somebody has removed."""
        return self._order(lambda file: partial(_clear, file))

    def rotate(self) -> Awaitable[object]:
        """Rotate the file now. The awaitable raises OSError."""
        return self._order(lambda file: file.rotate)

    def reopen(self) -> Awaitable[object]:
        """Close the file and open what now has its name. The awaitable never fails: trouble is the `problem`."""
        assert self._logs is not None
        return self._logs.reopen((self.sink,) if self.sink is not None else ())

    @property
    def problem(self) -> str:
        """Why lines are not written at present; "" if they are."""
        where = self.sink or (self._output and self._output.sender)
        return where.problem if where else ""

    @property
    def dropped(self) -> int:
        """Bytes of lines that could not be written."""
        if self._output is not None:
            return self._output.sender.dropped
        return self.sink.total_dropped if self.sink is not None else 0

    def _order(self, action: Callable[[LogFile], Callable[[], None]]) -> Awaitable[object]:
        orders = [self._logs.order(self.sink, action(self.sink.file))] if self._logs and self.sink else []
        return asyncio.gather(*orders)

    def tail_ring(self) -> bytes:
        """The last RING bytes, from memory."""
        return bytes(self._ring[-RING:])

    def live(self, maxbuffer: int = 256 * 1024) -> Live:
        """Return an async iterator over what is logged from now on (`bytes | Gap`); closing it ends it."""
        live = Live(asyncio.get_running_loop(), maxbuffer, self._leave)
        self._live = (*self._live, live)
        return live

    @property
    def readable_path(self) -> str | None:
        """The file to read back; None: only `tail_ring` can tell."""
        return readable_path(self)

    def follow(self, start: int) -> AsyncGenerator[bytes | Gap | Truncated, None]:
        """The last `start` bytes, beginning with a whole character, then what comes, for ever; close it at the end."""
        return follow_log(self, start)

    def _leave(self, live: Live) -> None:
        self._live = tuple(each for each in self._live if each is not live)

    def close(self) -> None:
        """Take the handler off the logger and give up the file, after what was logged. Before `Logs.close`."""
        self._logger.removeHandler(self)
        self._logger.propagate = True
        if self._logs is not None:
            for sink in (self.sink, self._stdout):
                if sink is not None:
                    self._logs.sinks.release(sink)
        super().close()

    # Any thread

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record. Called by logging, with the handler's lock held."""
        try:
            line = self._format(record)
        except Exception as exc:  # a wrong argument somewhere must not hurt the code that only wanted to log
            line = self._format(
                logging.makeLogRecord({"msg": f"a message could not be logged: {record.msg!r}: {exc!r}"})
            )
        if self._logs is None:
            if len(self._lines) < EARLY:
                self._lines.append(line)
            return
        if self._waiting > WAITING:
            self.lost += 1
            return
        self._lines.append(line)
        self._waiting += len(line)
        self._send()

    def _send(self) -> None:
        if not self._sent and self._lines and self._logs is not None:
            self._sent = True
            self._logs.pump.call(self._write)

    def _format(self, record: logging.LogRecord) -> bytes:
        second = int(record.created)
        if second != self._second[0]:
            self._second = (second, time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second)))
        text = record.getMessage()
        if not getattr(record, "verbatim", False):
            text = text.translate(_ESCAPES)
        if record.exc_info and record.exc_info[0] is not None:
            trace = logging.Formatter().formatException(record.exc_info)
            text += "".join("\n    " + line.translate(_ESCAPES) for line in trace.splitlines())
        label = _LABELS.get(record.levelno, record.levelname[:4])
        line = f"{self._second[1]},{int(record.msecs):03d} {label} {text}"
        return (line if line.endswith("\n") else line + "\n").encode("utf-8", "backslashreplace")

    # Log thread

    def _write(self, worker: Worker) -> None:
        with self.lock or contextlib.nullcontext():
            lines, self._lines = self._lines, []
            self._waiting, self._sent = 0, False
            lost, self.lost = self.lost, 0
        data = b"".join(lines)
        self._ring += data
        if len(self._ring) > RING + RING // 2:
            del self._ring[:-RING]
        for live in self._live:
            live.put(data)
        sink, stdout = self.sink, self._stdout
        if stdout is not None:
            stdout.write(worker, data)
        if (output := self._output) is not None:
            for line in lines:
                output.send(line)
        if lost:
            self._logger.error("%d lines of the main log were lost: it could not be written fast enough", lost)
        if sink is not None:
            sink.write(worker, data)


def _clear(file: LogFile) -> None:
    """supervisord's fault for a main log that is not there any more, which the next line makes again."""
    os.stat(file.path)
    file.clear()
