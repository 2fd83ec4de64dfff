"""supervise: run programs and keep them running.

Without a sub-command this is the daemon, with supervisord's options. `check`, `sample` and `schema` look at
configurations, `passwd` makes passwords for them.
"""

import gc
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import NamedTuple

import click

from supervise import __version__
from supervise.errors import ConfigError


class Flag(NamedTuple):
    """One option of the daemon. `option` is its name in [supervisord], which it overrides; "" where there is none.

    README's table of options is made from these.
    """

    short: str
    long: str
    value: str  # what stands for the value in the help; "": the option has none
    option: str
    help: str

    @property
    def name(self) -> str:
        return self.long.lstrip("-").replace("-", "_")


FLAGS = (
    Flag("-c", "--configuration", "PATH", "", "Configuration: a file (INI or TOML) or a directory; else searched for."),
    Flag("-n", "--nodaemon", "", "nodaemon", "Stay in the foreground."),
    Flag("-s", "--silent", "", "silent", "In the foreground, do not copy the log to stdout."),
    Flag("-u", "--user", "USER", "user", "Become this user (name or number)."),
    Flag("-m", "--umask", "UMASK", "umask", "Umask when daemonised (022)."),
    Flag("-d", "--directory", "DIR", "directory", "Directory to be in when daemonised."),
    Flag("-l", "--logfile", "FILE", "logfile", "The daemon's own log."),
    Flag("-y", "--logfile_maxbytes", "BYTES", "logfile_maxbytes", "Rotate it at this size (50MB); 0: never."),
    Flag("-z", "--logfile_backups", "N", "logfile_backups", "Keep so many rotated ones (10)."),
    Flag("-e", "--loglevel", "LEVEL", "loglevel", "critical, error, warn, info, debug, trace or blather."),
    Flag("-j", "--pidfile", "FILE", "pidfile", "Where the daemon's pid is written."),
    Flag("-i", "--identifier", "NAME", "identifier", "Name of this daemon."),
    Flag("-q", "--childlogdir", "DIR", "childlogdir", "Where AUTO logs of programs are."),
    Flag("-k", "--nocleanup", "", "nocleanup", "Keep the AUTO logs of an earlier run."),
    Flag("-a", "--minfds", "N", "minfds", "File descriptors that must be available."),
    Flag("-t", "--strip_ansi", "", "strip_ansi", "Strip ANSI escapes from the logs of programs."),
    Flag("", "--minprocs", "N", "minprocs", "Processes that must be available."),
    Flag("", "--respawn", "", "", "In the foreground, too, have a tiny parent start the daemon again if it dies."),
    Flag("", "--no-respawn", "", "", "In the background, do without that parent."),
    Flag(
        "", "--stop-leftovers", "", "", "This time, end programs that an earlier daemon left, instead of adopting them."
    ),
    Flag("", "--profile_options", "LIST", "", "Accepted for supervisord's sake, and ignored."),
)


class Daemon(click.Group):
    """A group that reads options as supervisord's getopt does, and imports sub-commands when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return ["check", "passwd", "sample", "schema"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module = "passwd" if cmd_name == "passwd" else "check"  # not needed to run programs, which is urgent
        command: click.Command = getattr(importlib.import_module(f"supervise.cli.{module}"), cmd_name)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        args = [self._complete(ctx, arg) for arg in args]
        _, rest, order = self.make_parser(ctx).parse_args(args=list(args))
        seen = set()
        for param in order:
            if param in seen:
                raise click.UsageError(f"conflicting command line option {param.opts[0]!r}")
            seen.add(param)
        if rest and rest[0] not in self.list_commands(ctx):
            raise click.UsageError(f"positional arguments are not supported: {rest}")
        return super().parse_args(ctx, args)

    def _complete(self, ctx: click.Context, arg: str) -> str:
        """getopt takes any unambiguous beginning of a long option."""
        name, equals, value = arg.partition("=")
        known = [opt for param in self.get_params(ctx) for opt in param.opts if opt.startswith("--")]
        found = [opt for opt in known if opt.startswith(name)]
        return found[0] + equals + value if name.startswith("--") and name != "--" and len(found) == 1 else arg


def _params() -> list[click.Parameter]:
    return [
        click.Option(
            [*filter(None, (flag.short, flag.long)), flag.name],
            is_flag=None if flag.value else True,
            metavar=flag.value or None,
            help=flag.help,
        )
        for flag in FLAGS
    ]


@click.pass_context
def _daemon(ctx: click.Context, /, configuration: str | None, **values: str | bool | None) -> None:
    ctx.obj = configuration
    if ctx.invoked_subcommand is not None:
        return
    # Orders to a daemon wait until it can follow them; until then they would end it. (Those to end may.)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
    if sys.getfilesystemencoding() != "utf-8":  # the locale's: names of files and variables would be in that (B55)
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
    overrides = {
        flag.option: "true" if value is True else str(value)
        for flag in FLAGS
        if flag.option and (value := values[flag.name]) not in {None, False}
    }
    if values["respawn"] and values["no_respawn"]:
        raise click.UsageError("--respawn and --no-respawn exclude each other")
    respawn = True if values["respawn"] else False if values["no_respawn"] else None
    cwd = os.getcwd()  # what relative names mean, also at a reload from another directory
    path = os.path.join(cwd, _found(cwd) if configuration is None else configuration)
    gc.disable()  # looking for garbage in what is imported takes a tenth of the time; `run` enables it again
    # The daemon is imported here: --help and the sub-commands have no use for it.
    from supervise.config.load import load
    from supervise.config.machine import Machine
    from supervise.daemon.ground import Options
    from supervise.daemon.main import run

    options = Options(respawn=respawn, stop_leftovers=bool(values["stop_leftovers"]))
    ctx.exit(run(lambda: load(path, Machine(cwd=cwd), overrides), options))


def _found(cwd: str) -> str:
    """The configuration in one of the default places. Raises click.UsageError."""
    from supervise.config.discover import find, places

    try:
        path = find(sys.argv[0], cwd)
    except ConfigError as error:
        raise click.UsageError(str(error)) from None
    if path is None:
        looked = ", ".join(places(sys.argv[0], cwd))
        raise click.UsageError(
            f"No config file found at default paths ({looked}); "
            "use the -c option to specify a config file at a different path"
        )
    return path


COMMAND = Daemon(
    name="supervise",
    callback=_daemon,
    params=_params(),
    help=__doc__,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help", "-?"], "max_content_width": 120},
)
COMMAND.params.append(
    click.Option(
        ["-v", "--version"],
        is_flag=True,
        expose_value=False,
        is_eager=True,
        help="Print the version.",
        callback=lambda ctx, _, value: _version(ctx, value),
    )
)


def _version(ctx: click.Context, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(__version__)
        ctx.exit()


def main(args: Sequence[str] | None = None) -> None:
    """Entry point of `supervise`. Usage errors are supervisord's two lines, and exit status 2."""
    try:
        status = COMMAND.main(args, prog_name="supervise", standalone_mode=False)
    except click.ClickException as error:
        sys.stderr.write(f"Error: {error.format_message()}\nFor help, use supervise -h\n")
        status = 2
    except click.Abort:
        status = 130
    sys.exit(status if isinstance(status, int) else 0)
