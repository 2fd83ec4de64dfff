"""Actions on processes: status, start, stop, restart, signal, pid, clear, rotate, wait, explain."""

import fnmatch
import sys
import time
from collections.abc import Collection, Iterable, Sequence

import click

from supervise.cli import render
from supervise.cli.actions import about, usage
from supervise.cli.completion import complete_processes
from supervise.cli.session import GENERIC, INVALID, NOT_RUNNING, UNKNOWN, Session, pass_session
from supervise.errors import Fault
from supervise.http1 import Json, ServerError

CLEAR = b"\x1b[H\x1b[J"  # console_codes(4): to the top left, and erase from there
WATCH_SECONDS = 1.0
STOPPED_STATES = frozenset({"STOPPED", "EXITED", "FATAL", "UNKNOWN"})
LAUNCH_FAULTS = frozenset({Fault.NO_FILE, Fault.NOT_EXECUTABLE, Fault.SPAWN_ERROR, Fault.ABNORMAL_TERMINATION})
# Asking for what is already so is no failure (supervisorctl).
HARMLESS = {"start": Fault.ALREADY_STARTED, "stop": Fault.NOT_RUNNING}

names_argument = click.argument("names", nargs=-1, shell_complete=complete_processes)
SECONDS = click.FloatRange(min=0)
SECONDS.name = "number of seconds"  # for click's complaints


def for_a_program(ctx: click.Context, param: click.Parameter, value: bool) -> bool:
    """Nothing but JSON on stdout from now on."""
    if session := ctx.find_object(Session):
        session.as_json = value
    return value


json_option = click.option("--json", "as_json", is_flag=True, callback=for_a_program, help="Print a JSON document.")


@click.command(help=about("status"))
@names_argument
@json_option
@click.option("--wide/--plain", default=None, help="More columns, or supervisorctl's; wide is usual on a terminal.")
@click.option("--watch", is_flag=True, help="Again every second, until Ctrl-C.")
@pass_session
def status(session: Session, names: Sequence[str], as_json: bool, wide: bool | None, watch: bool) -> None:
    """Print states; exits 3 if something listed is stopped, 4 if a name is unknown or nobody answers."""
    try:
        while watch:
            session.code = 0
            if session.terminal:
                session.write(CLEAR)
            _show_status(session, names, as_json, wide)
            sys.stdout.flush()
            time.sleep(WATCH_SECONDS)
    except KeyboardInterrupt:
        session.out("")
        return
    _show_status(session, names, as_json, wide)


def _show_status(session: Session, names: Sequence[str], as_json: bool, wide: bool | None) -> None:
    found = look_up(session, names, UNKNOWN)
    if as_json:
        session.out_json(found)
    elif session.terminal if wide is None else wide:
        if found:
            session.out("\n".join(render.status_table(found, session.colour)))
    elif found:
        session.out("\n".join(render.status_lines(found)))
    if any(process["statename"] in STOPPED_STATES for process in found):
        session.code = NOT_RUNNING


def look_up(session: Session, names: Sequence[str], code: int = GENERIC) -> list[Json]:
    """The processes that the names mean, in the order of the names; complains about unknown ones."""
    if not names or "all" in names:
        return session.client.processes()
    found = []
    for name in names:
        try:
            found += session.client.processes(name)
        except ServerError as error:
            if error.fault != Fault.BAD_NAME:
                raise
            group, colon, process = name.partition(":")
            whole = colon and process in ("", "*")
            text = f"{group}: ERROR (no such group)" if whole else f"{name}: ERROR (no such process)"
            session.fail(text, code)
    return found


@click.command(help=about("start"))
@names_argument
@click.option("--now", is_flag=True, help="Also cut short the delay of a process in BACKOFF.")
@json_option
@pass_session
def start(session: Session, names: Sequence[str], now: bool, as_json: bool) -> None:
    """Bring processes up; each is reported when it is RUNNING or has failed."""
    if named(session, "start", names, INVALID):
        act(session, "start", names, as_json, now=now)


@click.command(help=about("stop"))
@names_argument
@json_option
@pass_session
def stop(session: Session, names: Sequence[str], as_json: bool) -> None:
    """Bring processes down; each is reported when it has ended."""
    if named(session, "stop", names):
        act(session, "stop", names, as_json)


@click.command(help=about("restart"))
@names_argument
@click.option("--only-running", is_flag=True, help="Leave alone what is not running.")
@json_option
@pass_session
def restart(session: Session, names: Sequence[str], only_running: bool, as_json: bool) -> None:
    """Stop and start each; all lines of stops come before those of starts."""
    if named(session, "restart", names):
        act(session, "restart", names, as_json, only_running=only_running)


@click.command(help=about("signal"), context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, shell_complete=complete_processes)
@json_option
@pass_session
def signal(session: Session, words: Sequence[str], as_json: bool) -> None:
    """Send a signal to the processes themselves."""
    if len(words) < 2:
        session.fail("Error: signal requires a signal name and a process name")
        session.out(usage("signal"))
        return
    act(session, "signal", words[1:], as_json, signal=words[0])


@click.command(help=about("clear"))
@names_argument
@json_option
@pass_session
def clear(session: Session, names: Sequence[str], as_json: bool) -> None:
    """Truncate log files, also of processes that do not run."""
    if named(session, "clear", names):
        act(session, "clear", names, as_json)


@click.command(help=about("rotate"))
@names_argument
@json_option
@pass_session
def rotate(session: Session, names: Sequence[str], as_json: bool) -> None:
    """Rotate log files, of all processes without a name."""
    act(session, "rotate", names or ["all"], as_json)


def named(session: Session, action: str, names: Collection[str], code: int = GENERIC) -> bool:
    """Complain if nothing is named."""
    if not names:
        session.fail(f"Error: {action} requires a process name", code)
        session.complain(usage(action))
    return bool(names)


def act(session: Session, action: str, names: Sequence[str], as_json: bool, **options: object) -> None:
    """Do it to all at once, and report a line for each process."""
    specs = ["all"] if "all" in names else list(names)
    answers = session.client.act(action, specs, **options)
    results = [result for result in in_order_of(specs, answers) if not _silent(result, specs)]
    if as_json:
        session.out_json(results)
    for result in results:
        if not as_json:
            session.out(render.result_line(result))
        if result["action"] == "start" and result["status"] == Fault.BAD_NAME and render.names_group(result):
            session.code = INVALID
        else:
            session.note_fault(result["status"], HARMLESS.get(result["action"], Fault.SUCCESS))
    if session.terminal and not as_json:
        _hint(session, results)


def in_order_of(specs: Sequence[str], results: Iterable[Json]) -> list[Json]:
    """As supervisorctl reports: stops before starts, and each in the order in which they were asked for."""

    patterns = [f"{spec}*" if spec.endswith(":") else spec for spec in specs]  # `group:` is the whole group

    def place(result: Json) -> tuple[bool, int]:
        full = f"{result['group']}:{result['name']}"
        fits = (
            number
            for number, spec in enumerate(patterns)
            if spec in (result["namespec"], full) or fnmatch.fnmatchcase(full if ":" in spec else result["name"], spec)
        )
        return result["action"] == "start", next(fits, len(specs))

    return sorted(results, key=place)


def _silent(result: Json, specs: Collection[str]) -> bool:
    """Of a group, supervisorctl shows only those members that had to be started, stopped or signalled."""
    if result["status"] not in (Fault.ALREADY_STARTED, Fault.NOT_RUNNING):
        return False
    return result["namespec"] not in specs and f"{result['group']}:{result['name']}" not in specs


def _hint(session: Session, results: Sequence[Json]) -> None:
    """A person would ask next."""
    failed = [result["namespec"] for result in results if result["status"] in LAUNCH_FAULTS]
    if failed:
        session.out(click.style(f"why: explain {' '.join(failed)}", dim=session.colour))
    for result in results:
        if result["status"] == Fault.ALREADY_STARTED:
            process = session.client.process(result["namespec"])
            if process["statename"] == "BACKOFF":
                session.out(click.style(f"it waits to be tried again; at once: start --now {process['namespec']}"))


@click.command(help=about("pid"))
@names_argument
@pass_session
def pid(session: Session, names: Sequence[str]) -> None:
    """Print process ids, the daemon's own without a name."""
    if not names:
        session.out(str(session.client.daemon()["pid"]))
    elif "all" in names:
        for process in session.client.processes():
            session.out(str(process["pid"]))
    else:
        for name in names:
            try:
                processes = session.client.processes(name)
            except ServerError as error:
                if error.fault != Fault.BAD_NAME:
                    raise
                session.fail(f"No such process {name}")
                continue
            for process in processes:
                session.out(str(process["pid"]))
                if not process["pid"]:
                    session.code = 7


@click.command(help=about("wait"))
@names_argument
@click.option("--for", "goal", type=click.Choice(["running", "stopped"]), default="running", show_default=True)
@click.option("--timeout", type=SECONDS, metavar="SECONDS", default=60.0, show_default=True, help="For all together.")
@pass_session
def wait(session: Session, names: Sequence[str], goal: str, timeout: float) -> None:
    """Block until every process is where it should be; exits 1 if one is not in time, 7 if it has failed for good."""
    if not named(session, "wait", names):
        return
    deadline = time.monotonic() + timeout
    for process in look_up(session, names):
        name = process["namespec"]
        try:
            session.client.wait(name, goal, max(0.0, round(deadline - time.monotonic(), 2)))
        except ServerError as error:
            if error.fault not in (Fault.FAILED, Fault.SPAWN_ERROR, Fault.BAD_NAME):
                raise
            why = "no such process" if error.fault == Fault.BAD_NAME else str(error).partition(": ")[2]
            session.out(f"{name}: ERROR ({why})")
            session.note_fault(error.fault)
        else:
            session.out(f"{name}: {goal}")


@click.command(help=about("explain"))
@names_argument
@json_option
@pass_session
def explain(session: Session, names: Sequence[str], as_json: bool) -> None:
    """Print the daemon's account of each process."""
    if not named(session, "explain", names):
        return
    stories = [session.client.explain(process["namespec"]) for process in look_up(session, names)]
    if as_json:
        session.out_json(stories)
        return
    for number, story in enumerate(stories):
        session.out("\n".join([""] * (number > 0) + render.explain_lines(story, session.colour)))
