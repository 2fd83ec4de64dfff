"""Actions on output: tail, maintail, fg, events."""

import json
from collections.abc import Sequence

import click

from supervise.cli import render
from supervise.cli.actions import about, usage
from supervise.cli.completion import complete_processes
from supervise.cli.session import Session, pass_session
from supervise.errors import Fault
from supervise.http1 import ServerError

BYTES = 1600  # supervisorctl's usual amount
FOLLOW_BYTES = 1024  # ... and where following begins
CHANNELS = ("stdout", "stderr")
LEAVE = "==> Press Ctrl-C to exit <=="
FAULTS = {
    Fault.NO_FILE: "no log file",
    Fault.FAILED: "unknown error reading log",
    Fault.BAD_NAME: "no such process name",
}

# `-100` is supervisorctl's way to write an amount: click must let it pass.
AMOUNTS = {"ignore_unknown_options": True}
follow_option = click.option("-f", "follow", is_flag=True, help="Follow what is written from now on.")
LINES = click.IntRange(min=0)
LINES.name = "number of lines"  # for click's complaints
lines_option = click.option("-n", "lines", type=LINES, metavar="LINES", help="Lines instead of bytes.")


@click.command(help=about("tail"), context_settings=AMOUNTS)
@follow_option
@lines_option
@click.argument("words", nargs=-1, shell_complete=complete_processes)
@pass_session
def tail(session: Session, follow: bool, lines: int | None, words: Sequence[str]) -> None:
    """Print the end of a process's log, or follow some."""
    if len(words) == 1 and words[0].startswith("-"):
        # supervisorctl looks for a name before it looks at the amount.
        session.fail("Error: tail requires process name")
        return
    amount, names = _amount(session, words)
    if amount is None:
        return
    channel = "stdout"
    if len(names) > 1 and (names[-1].lower() in CHANNELS or not follow):
        *names, channel = names
        channel = channel.lower()
    if len(words) <= 3 and channel not in CHANNELS:
        session.fail(f"Error: bad channel {channel!r}")
    elif not names or (len(names) > 1 and not follow):
        session.fail(f"Error: too {'many' if names else 'few'} arguments")
        session.out(usage("tail"))
    elif follow:
        from supervise.cli import foreground

        foreground.follow(session, names, channel, FOLLOW_BYTES if amount < 0 else amount, lines)
    else:
        show(session, names[0], names[0], channel, BYTES if amount < 0 else amount, lines)


@click.command(help=about("maintail"), context_settings=AMOUNTS)
@follow_option
@lines_option
@click.argument("words", nargs=-1)
@pass_session
def maintail(session: Session, follow: bool, lines: int | None, words: Sequence[str]) -> None:
    """The same for the daemon's own log."""
    amount, rest = _amount(session, words)
    if amount is None:
        return
    if len(words) > 1:
        session.fail("Error: too many arguments")
        session.out(usage("maintail"))
    elif rest:
        session.fail(f"Error: bad argument {rest[0]}")
    elif follow:
        from supervise.cli import foreground

        foreground.follow(session, [""], "stdout", FOLLOW_BYTES if amount < 0 else amount, lines)
    else:
        show(session, "", "supervisord", "stdout", BYTES if amount < 0 else amount, lines)


def _amount(session: Session, words: Sequence[str]) -> tuple[int | None, list[str]]:
    """The `-N` among the words (-1: none; None: something else with a dash, which has been refused), and the others."""
    amount, rest = -1, []
    for word in words:
        if not word.startswith("-"):
            rest.append(word)
        elif word[1:].isascii() and word[1:].isdigit():
            amount = int(word[1:])
        else:
            session.fail(f"Error: bad argument {word}")
            return None, []
    return amount, rest


def show(session: Session, name: str, title: str, channel: str, amount: int, lines: int | None) -> None:
    """The end of a log, and a newline, as supervisorctl prints it; without that newline for lines."""
    try:
        if lines is not None:
            session.write(session.client.read_log(name, channel, lines=lines))
        else:
            # supervisorctl's -0 is the whole log: its readLog table knows no amount of nothing.
            asked = {"bytes": amount} if amount else {"offset": 0, "length": 0}
            session.write(session.client.read_log(name, channel, **asked) + b"\n")
    except ServerError as error:
        session.fail(f"{title}: ERROR ({_log_fault(error)})")


def _log_fault(error: ServerError) -> str:
    if error.fault not in FAULTS:
        raise error
    return FAULTS[Fault(error.fault)]


@click.command(help=about("fg"))
@click.argument("names", nargs=-1, shell_complete=complete_processes)
@pass_session
def fg(session: Session, names: Sequence[str]) -> None:
    """Attach the terminal to a process."""
    if not names:
        session.fail("ERROR: no process name supplied")
        session.out(usage("fg"))
        return
    if len(names) > 1:
        session.fail("ERROR: too many process names supplied")
        return
    try:
        process = session.client.process(names[0])
    except ServerError as error:
        if error.fault != Fault.BAD_NAME:
            raise
        session.fail("ERROR: bad process name supplied")
        return
    if process["statename"] != "RUNNING":
        session.fail("ERROR: process not running")
        return
    session.out(LEAVE)
    from supervise.cli import foreground

    foreground.attach(session, process["namespec"])


@click.command(help=about("events"))
@click.option("--json", "as_json", is_flag=True, help="Print each as a JSON document on a line.")
@pass_session
def events(session: Session, as_json: bool) -> None:
    """Print events until interrupted."""
    for event in session.client.events():
        if as_json:
            session.out_now(json.dumps({"type": event.type, "id": event.id, **event.data}))
        else:
            session.out_now(render.event_line(event.type, event.data))
