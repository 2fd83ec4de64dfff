"""supervise: run programs and keep them running.

Without a sub-command this is the daemon, with supervisord's options. `check`, `sample` and `schema` look at
configurations, `passwd` makes passwords for them. Those are click commands; the daemon reads its own options as
supervisord does, with getopt, because importing click takes a tenth of the time until the first program runs.
"""

import gc
import getopt
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from supervise import __version__
from supervise.errors import ConfigError

if TYPE_CHECKING:
    import click


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


SUB_COMMANDS = {"check": "check", "passwd": "passwd", "sample": "check", "schema": "check"}  # and their modules
HELP = ("-h", "-?", "--help")
VERSION = ("-v", "--version")
USAGE = """\
Usage: supervise [OPTIONS] [COMMAND] [ARGS]...

Run programs and keep them running: without a command this is the daemon, with supervisord's options.
"""


class UsageError(Exception):
    """What was said on the command line cannot be done; `str()` is for the user."""


def main(args: Sequence[str] | None = None) -> None:
    """Entry point of `supervise`. Usage errors are supervisord's two lines, and exit status 2."""
    try:
        status = _run(sys.argv[1:] if args is None else args)
    except (UsageError, getopt.GetoptError) as error:
        sys.stderr.write(f"Error: {error}\nFor help, use supervise -h\n")
        status = 2
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)


def _run(args: Sequence[str]) -> int:
    given, rest = _parsed(args)
    if "help" in given:
        print(_help())
        return 0
    if "version" in given:
        print(__version__)
        return 0
    if rest and rest[0] in SUB_COMMANDS:
        return _sub_command(rest[0], rest[1:], given.get("configuration"))
    if rest:
        raise UsageError(f"positional arguments are not supported: {rest}")
    return _daemon(given)


def _parsed(args: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Name -> value ("" where it has none) of the options that were given, and what stands behind them.

    Raises GetoptError; UsageError for an option that is given twice.
    """
    names = dict.fromkeys(HELP, "help") | dict.fromkeys(VERSION, "version")
    short, long = "h?v", ["help", "version"]
    for flag in FLAGS:
        names |= {flag.short: flag.name, flag.long: flag.name}
        short += flag.short[1:] + ":" * bool(flag.short and flag.value)
        long.append(flag.long[2:] + "=" * bool(flag.value))
    options, rest = getopt.getopt(list(args), short, long)
    given: dict[str, str] = {}
    for option, value in options:
        name = names[option]
        if name in given:
            raise UsageError(f"conflicting command line option {option!r}")
        given[name] = value
    return given, rest


def _help() -> str:
    options = [(", ".join(filter(None, (flag.short, flag.long))) + f" {flag.value}", flag.help) for flag in FLAGS]
    options += [(", ".join(VERSION), "Print the version."), (", ".join(HELP), "Show this message.")]
    commands = [(name, _command(name).get_short_help_str(limit=150)) for name in SUB_COMMANDS]
    tables = {"Options:": options, "Commands (--help tells the rest):": commands}
    return USAGE + "".join(
        f"\n{title}\n" + "\n".join(f"  {left:30}{right}" for left, right in table) + "\n"
        for title, table in tables.items()
    ).rstrip("\n")


def _command(name: str) -> "click.Command":
    """It is imported when it is called, and click with it: to run programs is urgent."""
    command: click.Command = getattr(importlib.import_module(f"supervise.cli.{SUB_COMMANDS[name]}"), name)
    return command


def _sub_command(name: str, args: list[str], configuration: str | None) -> int:
    import click

    try:
        status = _command(name).main(
            args,
            prog_name=f"supervise {name}",
            standalone_mode=False,
            obj=configuration,
            help_option_names=[*HELP],
            max_content_width=120,
        )
    except click.ClickException as error:
        raise UsageError(error.format_message()) from None
    except click.Abort:
        raise KeyboardInterrupt from None
    return status if isinstance(status, int) else 0


def _daemon(given: dict[str, str]) -> int:
    # Orders to a daemon wait until it can follow them; until then they would end it. (Those to end may.)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
    if sys.getfilesystemencoding() != "utf-8":  # the locale's: names of files and variables would be in that (B55)
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
    overrides = {
        flag.option: given[flag.name] if flag.value else "true" for flag in FLAGS if flag.option and flag.name in given
    }
    if "respawn" in given and "no_respawn" in given:
        raise UsageError("--respawn and --no-respawn exclude each other")
    respawn = True if "respawn" in given else False if "no_respawn" in given else None
    cwd = os.getcwd()  # what relative names mean, also at a reload from another directory
    path = os.path.join(cwd, given["configuration"] if "configuration" in given else _found(cwd))
    gc.disable()  # looking for garbage in what is imported takes a tenth of the time; `run` enables it again
    # The daemon is imported here: --help and the sub-commands have no use for it.
    from supervise.config.load import load
    from supervise.config.machine import Machine
    from supervise.daemon.ground import Options
    from supervise.daemon.main import run

    options = Options(respawn=respawn, stop_leftovers="stop_leftovers" in given)
    return run(lambda: load(path, Machine(cwd=cwd), overrides), options)


def _found(cwd: str) -> str:
    """The configuration in one of the default places. Raises UsageError."""
    from supervise.config.discover import find, places

    try:
        path = find(sys.argv[0], cwd)
    except ConfigError as error:
        raise UsageError(str(error)) from None
    if path is None:
        looked = ", ".join(places(sys.argv[0], cwd))
        raise UsageError(
            f"No config file found at default paths ({looked}); "
            "use the -c option to specify a config file at a different path"
        )
    return path
