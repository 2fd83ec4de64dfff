"""Watching a process: following logs, and talking to its standard input.

Each followed log has a thread that blocks on its stream and puts what comes into one queue; the main thread prints.
So Ctrl-C, which Python delivers to the main thread, always gets through.
"""

import contextlib
import os
import queue
import select
import sys
import threading
from collections.abc import Sequence

import click

from supervise.cli.session import Session
from supervise.errors import Fault
from supervise.http1 import ServerError, Stream

LEAVE = "==> Press Ctrl-C to exit <=="
COLOURS = ("cyan", "magenta", "yellow", "green", "blue", "red")
FAULTS = {
    Fault.NO_FILE: "no log file",
    Fault.FAILED: "unknown error reading log",
    Fault.BAD_NAME: "no such process name",
}
START = 1024  # bytes of the log that `fg` begins with, as supervisord's /logtail

Piece = tuple[int, bytes]  # which stream, and what it said; b"" when it has ended


def follow(session: Session, names: Sequence[str], channel: str, start: int, lines: int | None) -> None:
    """Print logs until Ctrl-C, or until all have ended. The name "" is the daemon's own log."""
    streams, failures = [], []
    for name in names:
        try:
            streams.append((name, session.client.follow(name, channel, start if lines is None else 0)))
        except ServerError as error:
            if error.fault not in FAULTS:
                raise
            failures.append(f"{name or 'supervisord'}: ERROR ({FAULTS[Fault(error.fault)]})")
    session.out(LEAVE)
    for text in failures:
        session.fail(text)
    sys.stdout.flush()
    for name, _ in streams if lines is not None else ():
        # Read after the stream has been opened: a line may come twice then, but none is missed.
        _print(session, names, name, session.client.read_log(name, channel, lines=lines))
    pieces: queue.SimpleQueue[Piece] = queue.SimpleQueue()
    for number, (_, stream) in enumerate(streams):
        _pump(number, stream, pieces)
    try:
        _show(session, [name for name, _ in streams], len(names) > 1, pieces)
    except KeyboardInterrupt:
        session.out("")
    finally:
        for _, stream in streams:
            stream.close()


def _pump(number: int, stream: Stream, pieces: "queue.SimpleQueue[Piece]") -> None:
    def run() -> None:
        with contextlib.suppress(ServerError, ValueError):  # ValueError: closed by the main thread
            for data in stream:
                pieces.put((number, data))
        pieces.put((number, b""))

    threading.Thread(target=run, daemon=True).start()


def _show(session: Session, names: Sequence[str], prefixed: bool, pieces: "queue.SimpleQueue[Piece]") -> None:
    """Until every stream has ended. With a prefix, whole lines only: two programs must not meet within one."""
    rests = [b""] * len(names)
    open_streams = len(names)
    while open_streams:
        number, data = pieces.get()
        if not prefixed:
            session.write(data)
        else:
            *lines, rests[number] = (rests[number] + data).split(b"\n")
            if not data and rests[number]:
                lines.append(rests[number])
            mark = _prefix(session, names, names[number])
            session.write(b"".join(mark + line + b"\n" for line in lines))
        open_streams -= not data


def _print(session: Session, names: Sequence[str], name: str, data: bytes) -> None:
    if len(names) > 1:
        mark = _prefix(session, names, name)
        data = b"".join(mark + line + b"\n" for line in data.splitlines())
    session.write(data)


def _prefix(session: Session, names: Sequence[str], name: str) -> bytes:
    text = name.ljust(max(map(len, names))) + " | "
    if session.colour:
        text = click.style(text, fg=COLOURS[list(names).index(name) % len(COLOURS)])
    return text.encode()


def attach(session: Session, name: str) -> None:
    """Both logs on stdout; what is typed goes to the process, until it ends, or Ctrl-C, or the end of input."""
    sys.stdout.flush()
    streams = []
    for channel in ("stdout", "stderr"):
        with contextlib.suppress(ServerError):  # a channel without a log
            streams.append(session.client.follow(name, channel, START))
    pieces: queue.SimpleQueue[Piece] = queue.SimpleQueue()
    for number, stream in enumerate(streams):
        _pump(number, stream, pieces)
    printer = threading.Thread(target=_show, args=(session, [name] * len(streams), False, pieces), daemon=True)
    printer.start()
    ended, tell = os.pipe()
    threading.Thread(target=_tell_end, args=(session, name, tell), daemon=True).start()
    try:
        if not _type(session, name, ended):
            session.out("Process got killed")
    except KeyboardInterrupt:
        pass
    finally:
        for stream in streams:
            stream.close()
        printer.join(1)
        session.out("Exiting foreground")


def _tell_end(session: Session, name: str, tell: int) -> None:
    """Close the pipe's end when the process is no longer up."""
    with contextlib.suppress(ServerError):
        while True:
            try:
                session.client.wait(name, "stopped", 3600)
                break
            except ServerError as error:
                if error.fault != Fault.FAILED:
                    raise
    os.close(tell)


def _type(session: Session, name: str, ended: int) -> bool:
    """Forward input. False: the process has ended; true: the input has."""
    while True:
        ready, _, _ = select.select([0, ended], [], [])
        if ended in ready:
            return False
        data = os.read(0, 65536)
        if not data:
            return True
        try:
            session.client.send_stdin(name, data)
        except ServerError as error:
            if error.fault == Fault.NOT_RUNNING:
                return False
            session.out(f"ERROR: {error}")
            return True
