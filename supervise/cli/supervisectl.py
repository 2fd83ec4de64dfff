"""supervisectl: control programs that run under supervise.

The words after the options are one line for the shell, as in supervisorctl: `supervisectl status a b` and
`supervisectl "status a b"` are the same, and without words the shell opens.
"""

import io
import os
import sys
from collections.abc import Callable, Sequence

import click

from supervise import __version__
from supervise.cli import daemon_commands, log_commands, process_commands
from supervise.cli.actions import FORMS
from supervise.cli.session import Session
from supervise.cli.settings import SettingsError, resolve
from supervise.http1 import ServerError

INTERRUPTED = 130  # 128 + SIGINT, as a shell says it
NO_READER = 141  # 128 + SIGPIPE
COMPLETE = "_SUPERVISECTL_COMPLETE"

EPILOG = """\b
TAB completion, for one of them:
  bash:  eval "$(_SUPERVISECTL_COMPLETE=bash_source supervisectl)"
  zsh:   eval "$(_SUPERVISECTL_COMPLETE=zsh_source supervisectl)"
  fish:  _SUPERVISECTL_COMPLETE=fish_source supervisectl | source

\b
Environment: SUPERVISOR_SERVER_URL, SUPERVISOR_USERNAME, SUPERVISOR_PASSWORD
say where the daemon is unless options do; SUPERVISE_CA (and SUPERVISE_CERT, SUPERVISE_KEY) are PEM files for https;
NO_COLOR switches colours off."""


class UnknownSyntaxError(Exception):
    """The line begins with no action."""


class Actions(click.Group):
    """A click group whose arguments are a line of words, executed as the shell would."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return click.Command.parse_args(self, ctx, args)

    def invoke(self, ctx: click.Context) -> None:
        click.Command.invoke(self, ctx)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        line = " ".join(args).strip()
        words = line.removeprefix("?").split()
        if line.startswith("?"):
            words = ["help", *words]
        command = self.get_command(ctx, words[0]) if words else NOTHING
        about_another = words[:1] == ["help"] and len(words) > 1 and words[1] not in FORMS
        if not ctx.resilient_parsing and (command is None or about_another):
            from supervise.cli.plugins import find  # it reads the configuration: only where it must

            command = find(ctx.obj, words, lambda line: run_line(ctx, line)) or command
        if command is None and not ctx.resilient_parsing:
            raise UnknownSyntaxError(line)
        return (words[0] if words else ""), command, words[1:]


def once(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> str | None:
    """An option may be given one time only."""
    if len(values) > 1:
        raise click.UsageError(f"conflicting command line option {param.opts[0]!r}", ctx)
    return values[0] if values else None


def single(*names: str, metavar: str, help: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """An option with a value that may not be repeated; of a FILE, the shell's TAB key completes the name."""
    kind = click.Path() if metavar == "FILE" else click.STRING
    return click.option(*names, type=kind, metavar=metavar, help=help, multiple=True, callback=once)


def url(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> str | None:
    """Something with a scheme; whether we can speak it shows when it is used."""
    value = once(ctx, param, values)
    scheme, separator, rest = value.partition(":") if value else ("", "", "")
    if value is not None and not (scheme and separator and rest.strip("/")):
        raise click.UsageError(f"invalid value for {param.opts[0]} {value!r}: value {value!r} is not a URL", ctx)
    return value


@click.group(
    cls=Actions,
    invoke_without_command=True,
    subcommand_metavar="[ACTION [ARGUMENTS]]",
    context_settings={"help_option_names": ["-h", "--help", "-?"], "max_content_width": 110},
    epilog=EPILOG,
)
@single(
    "-c", "--configuration", metavar="FILE", help="Configuration: a file or a directory (searched for if not given)."
)
@click.option("-i", "--interactive", is_flag=True, help="Ask before drastic actions; without an action open a shell.")
@click.option(
    "-s", "--serverurl", metavar="URL", multiple=True, callback=url, help="unix:///path, http://host:port, https."
)
@single("-u", "--username", metavar="NAME", help="Name for the daemon's authentication.")
@single("-p", "--password", metavar="PASSWORD", help="Password for the daemon's authentication.")
@single("-r", "--history-file", "--history_file", metavar="FILE", help="Keep the shell's history in this file.")
@click.version_option(__version__, message="%(version)s")
@click.pass_context
def supervisectl(
    ctx: click.Context,
    interactive: bool,
    configuration: str | None,
    serverurl: str | None,
    username: str | None,
    password: str | None,
    history_file: str | None,
) -> None:
    """Control programs that run under supervise. Without an action a shell opens; `help` lists its actions."""
    ctx.obj = session = Session(
        resolve(configuration, serverurl, username, password, history_file), interactive or not ctx.args
    )
    if not ctx.args:
        # readline and getpass are only for people.
        from supervise.cli.shell import run_shell

        run_shell(session, lambda line: run_line(ctx, line))
        return
    run_line(ctx, " ".join(ctx.args))
    if session.denied:
        from supervise.cli.shell import answer

        answer(session, lambda line: run_line(ctx, line), " ".join(ctx.args))


@click.command(hidden=True)
def nothing() -> None:
    """What an empty line does."""


NOTHING = nothing
for module in (process_commands, log_commands, daemon_commands):
    for member in tuple(vars(module).values()):
        if isinstance(member, click.Command):
            supervisectl.add_command(member)
supervisectl.add_command(daemon_commands.quit_, "exit")


def run_line(ctx: click.Context, line: str) -> None:
    """One line of the shell. Failures are told, not raised."""
    action = ""
    session: Session = ctx.obj
    session.as_json = False
    try:
        name, command, rest = supervisectl.resolve_command(ctx, [line])
        action = name or ""
        if command:
            with command.make_context(action, rest, parent=ctx) as inner:
                command.invoke(inner)
    except click.exceptions.Exit:
        pass
    except click.UsageError as error:
        session.fail(f"Error: {error.format_message()}")
    except UnknownSyntaxError as error:
        session.fail(f"*** Unknown syntax: {error}")
    except ServerError as error:
        session.fail_server(action, error)


def usage_text(error: click.UsageError) -> str:
    """Click's complaints in supervisorctl's words."""
    if isinstance(error, click.NoSuchOption):
        return f"option {error.option_name} not recognized"
    if isinstance(error, click.BadOptionUsage) and "requires an argument" in error.message:
        return f"option {error.option_name} requires argument"
    return error.format_message()


def run(arguments: Sequence[str]) -> int:
    """Run a command line; returns the exit code."""
    if COMPLETE in os.environ:
        supervisectl.main(arguments, prog_name="supervisectl", complete_var=COMPLETE)
    try:
        with supervisectl.make_context("supervisectl", list(arguments)) as ctx:
            supervisectl.invoke(ctx)
            session: Session = ctx.obj
            return session.code
    except click.exceptions.Exit as error:
        return error.exit_code
    except (click.UsageError, SettingsError) as error:
        text = usage_text(error) if isinstance(error, click.UsageError) else str(error)
        print(f"Error: {text}\nFor help, use {sys.argv[0]} -h", file=sys.stderr)
        return 2


def main() -> None:
    """The entry point."""
    # A stream that was closed before the start is None: nobody wants to read it.
    sys.stdout, sys.stderr = (
        os.fdopen(os.open(os.devnull, os.O_WRONLY), "w") if stream is None else stream
        for stream in (sys.stdout, sys.stderr)
    )
    # Texts may hold what the terminal's character set does not: show something, never fail.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
        sys.stderr.flush()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone; the interpreter must not find that out again when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = NO_READER
    except Exception as error:  # a mistake of ours, or a full disk behind stdout: one line, not a traceback
        print(f"error: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        code = 1
    # Not sys.exit(): taking the interpreter apart is a sixth of the whole command's time, and nothing is left to do.
    os._exit(code)
