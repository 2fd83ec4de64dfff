"""Actions on groups, the configuration and the daemon itself; and those of the shell: open, help, quit, exit."""

import sys
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import click

from supervise.cli import render
from supervise.cli.actions import FORMS, about, usage
from supervise.cli.completion import complete_groups
from supervise.cli.process_commands import json_option, status
from supervise.cli.session import GENERIC, Session, pass_session
from supervise.errors import Fault
from supervise.http1 import ServerError

F = TypeVar("F", bound=Callable[..., object])

wait_option = click.option("--wait", is_flag=True, help="Return when it is done.")
groups_argument = click.argument("groups", nargs=-1, shell_complete=complete_groups)
words_argument = click.argument("words", nargs=-1)


def refuses(session: Session, action: str, words: Sequence[str]) -> bool:
    """Complain about arguments where there are none."""
    if words:
        session.fail(f"Error: {action} accepts no arguments")
        session.complain(usage(action))
    return bool(words)


@click.command(help=about("avail"))
@words_argument
@json_option
@pass_session
def avail(session: Session, words: Sequence[str], as_json: bool) -> None:
    """Print what is configured, in use or not."""
    if refuses(session, "avail", words):
        return
    found = session.client.available()
    if as_json:
        session.out_json(found)
        return
    for process in found:
        session.out(render.available_line(process))


@click.command(help=about("reread"))
@words_argument
@json_option
@pass_session
def reread(session: Session, words: Sequence[str], as_json: bool) -> None:
    """Print which groups differ in the files."""
    if refuses(session, "reread", words):
        return
    try:
        diff = session.client.reread()
    except ServerError as error:
        complain_of_config(session, error)
        return
    if as_json:
        session.out_json(diff)
    else:
        session.out("\n".join(render.reread_lines(diff)))
    for note in diff.get("notes", ()):
        print(note, file=sys.stderr)


def complain_of_config(session: Session, error: ServerError) -> None:
    """The daemon could not read its configuration: every problem on a line."""
    if error.fault != Fault.CANT_REREAD:
        raise error
    text, *more = map(str, error.problem.get("problems") or [error])
    session.fail(f"ERROR: CANT_REREAD: {text.removeprefix('CANT_REREAD: ')}")
    for line in more:
        session.complain(f"  {line}")


@click.command(help=about("add"))
@groups_argument
@pass_session
def add(session: Session, groups: Sequence[str]) -> None:
    """Activate groups; one that is active is no failure."""
    for group in groups:
        try:
            session.client.add_group(group)
        except ServerError as error:
            if error.fault == Fault.ALREADY_ADDED:
                session.out("ERROR: process group already active")
            elif error.fault == Fault.BAD_NAME:
                session.fail(f"ERROR: no such process/group: {group}")
            else:
                raise
        else:
            session.out(f"{group}: added process group")


@click.command(help=about("remove"))
@groups_argument
@pass_session
def remove(session: Session, groups: Sequence[str]) -> None:
    """Forget groups that are at rest."""
    for group in groups:
        try:
            session.client.remove_group(group)
        except ServerError as error:
            if error.fault == Fault.STILL_RUNNING:
                session.fail(f"ERROR: process/group still running: {group}")
            elif error.fault == Fault.BAD_NAME:
                session.fail(f"ERROR: no such process/group: {group}")
            else:
                raise
        else:
            session.out(f"{group}: removed process group")


@click.command(help=about("update"))
@groups_argument
@click.option("--dry-run", is_flag=True, help="Only tell what would be done.")
@json_option
@pass_session
def update(session: Session, groups: Sequence[str], dry_run: bool, as_json: bool) -> None:
    """Carry out what the files say; prints a line for each group, and for each process touched."""
    try:
        steps = session.client.update([] if "all" in groups else list(groups), dry_run=dry_run)
    except ServerError as error:
        complain_of_config(session, error)
        return
    if as_json:
        session.out_json(steps)
    for step in steps:
        if step["kind"] == "error":
            session.code = GENERIC
        if step["kind"] == "note":  # not on stdout: supervisorctl says nothing of it
            print(step["text"], file=sys.stderr)
        elif not as_json:
            session.out(render.planned(step["text"]) if dry_run else step["text"])
    if dry_run and not steps and not as_json:
        session.out(render.NO_UPDATES)


@click.command(help=about("shutdown"))
@words_argument
@wait_option
@pass_session
def shutdown(session: Session, words: Sequence[str], wait: bool) -> None:
    """End the daemon, after asking a person."""
    if refuses(session, "shutdown", words):
        return
    if session.sure("Really shut the remote supervisord process down y/N? "):
        ended = session.client.end_of_daemon() if wait else None
        session.client.shutdown()
        session.out("Shut down")
        if ended:
            ended(None)


@click.command(help=about("reload"))
@words_argument
@wait_option
@pass_session
def reload(session: Session, words: Sequence[str], wait: bool) -> None:
    """Restart the daemon, after asking a person."""
    if refuses(session, "reload", words):
        return
    if session.sure("Really restart the remote supervisord process y/N? "):
        try:
            session.client.reload(wait=wait)
        except ServerError as error:
            complain_of_config(session, error)
        else:
            session.out("Restarted supervisord")


@click.command(help=about("upgrade"))
@words_argument
@wait_option
@pass_session
def upgrade(session: Session, words: Sequence[str], wait: bool) -> None:
    """Replace the daemon's code; what the new one has to say against it is told, and nothing has changed then."""
    if refuses(session, "upgrade", words):
        return
    began = time.monotonic()
    try:
        before = session.client.daemon()["problems"] if wait else []
        session.client.upgrade()
    except ServerError as error:
        complain_of_config(session, error)
        return
    if not wait:
        session.out("Upgrading supervise")
        return
    daemon = session.client.daemon()  # answered when the new code is there, or has failed
    version, problems = f"supervise {daemon['version']}", daemon["problems"]
    if daemon["uptime"] > time.monotonic() - began:
        session.fail(f"ERROR: {' '.join(problems) or 'the upgrade has failed; the main log says why'}")
    elif new := [problem for problem in problems if problem not in before]:
        session.fail(f"ERROR: upgraded to {version}, but {'; '.join(new)}")
    else:
        session.out(f"Upgraded to {version}")


@click.command(help=about("version"))
@words_argument
@json_option
@pass_session
def version(session: Session, words: Sequence[str], as_json: bool) -> None:
    """Print supervisord's version that the daemon is compatible with."""
    if refuses(session, "version", words):
        return
    daemon = session.client.daemon()
    if as_json:
        session.out_json({name: daemon[name] for name in ("version", "supervisor_version", "api_version")})
    else:
        session.out(daemon["supervisor_version"])


@click.command("open", help=about("open"))
@words_argument
@click.pass_context
def open_(ctx: click.Context, words: Sequence[str]) -> None:
    """Connect to another daemon and show its processes; the exit code stays as it was."""
    session = ctx.find_object(Session) or ctx.fail("no session")
    url = " ".join(words)
    if not url.startswith(("http://", "unix://")):
        session.fail("ERROR: url must be http:// or unix://")
        return
    session.connect(serverurl=url)
    code = session.code
    try:
        ctx.invoke(status, names=(), as_json=False, wide=None)
    except ServerError as error:
        session.fail_server("status", error)
    session.code = code


@click.command("help", help=about("help"))
@words_argument
@pass_session
def help_(session: Session, words: Sequence[str]) -> None:
    """Print the table of actions, or the forms of one."""
    if words:
        topic = " ".join(words)
        session.out(usage(topic) if topic in FORMS else f"*** No help on {topic}")
        return
    head = "default commands (type help <topic>):"
    session.out("\n".join(["", head, "=" * len(head), *render.columns(sorted(FORMS.keys() - {"help"})), ""]))


@click.command("quit", help=about("quit"))
@words_argument
@pass_session
def quit_(session: Session, words: Sequence[str]) -> None:
    """Print the newline that supervisorctl prints, and end the shell."""
    session.out("")
    session.leaving = True
