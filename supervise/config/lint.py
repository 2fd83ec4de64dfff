"""What is allowed and yet probably not meant, or will not work on this machine: for `check`, never for the daemon."""

import glob
import os
import re
import shlex
from collections.abc import Iterator
from itertools import pairwise

from supervise.config import secrets
from supervise.config.machine import Machine
from supervise.config.model import Config, ProgramConfig
from supervise.config.problems import Place, Problems
from supervise.config.values import AUTO, SYSLOG
from supervise.errors import ConfigError

SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "ash", "busybox", "fish", "su"})
CLEANED = ("/tmp", "/var/tmp")  # by tmpfiles.d(5), tmpreaper and others
_OPERATOR = re.compile(
    r"&&|\|\|?|;|&|\d?>>?(?:&\d)?|&>>?|<|\d?>&\d|\d?>.+"
    r"|[^'\"]*[^\\'\"](?:;|&&?)|(?!-)[^'\"]*[^\\'\"]\|\|?"  # at the end of a word; but `cut -d|`
    r"|[^'\"<=]*[^'\"<=\\-](?:>>|>&|>/(?:dev|tmp|var)/).*"  # inside of one; but `foo>=1` and `a>b` may be meant
)
_PATTERN = re.compile(r"(?!-)[\w./-]*\*[\w./*-]*")
_SIGN = re.compile(r"[$`;&|<>*]")
_VARIABLE = re.compile(r"\$(?:[A-Za-z_]\w*|\{[^}]*\}|\()|`")
_DEFAULT_PATH = "/bin:/usr/bin:/usr/local/bin"


def lint(config: Config, machine: Machine) -> tuple[ConfigError, ...]:
    """Warnings about a configuration, in the order of its groups. Looks at the file system, changes nothing."""
    problems = Problems()
    for group in config.groups:
        for process in group.processes:
            for option, message in _of_process(process, machine):
                problems.warn(_place(config, process, option), message)
    for section, option, path in _small_files(config):
        if os.path.dirname(path) in CLEANED:
            directory = os.path.dirname(path)
            message = (
                f"old files in {directory} are removed, and anybody may take their place; /run is where it belongs"
            )
            problems.warn(_origin(config, section, option), message)
    for section, option, path in (*_small_files(config), *_logs(config)):
        there = machine.is_directory(os.path.dirname(path))  # if not, the loader has said so, but for a socket
        if (there or option == "file") and not machine.is_writable(path):
            problems.warn(_origin(config, section, option), f"{path} cannot be written here")
    for server in config.servers:
        if server.kind == "inet" and server.host not in ("localhost", "127.0.0.1", "::1") and not server.client_ca:
            place = _origin(config, server.section, "port")
            if server.password is None and server.pam_service is None and not config.users:
                problems.warn(place, "anybody who can reach this port controls the daemon; set username and password")
    return tuple(problems.warnings)


def _small_files(config: Config) -> Iterator[tuple[str, str, str]]:
    """Section, option and path of what must be there as long as the daemon runs."""
    yield "supervisord", "pidfile", config.daemon.pidfile
    yield from ((server.section, "file", server.file) for server in config.servers if server.kind == "unix")


def _logs(config: Config) -> Iterator[tuple[str, str, str]]:
    """Section, option and path of the logs that are the daemon's, and of the directory of those it names itself."""
    if config.daemon.logfile != SYSLOG:
        yield "supervisord", "logfile", config.daemon.logfile
    yield "supervisord", "childlogdir", os.path.join(config.daemon.childlogdir, "")


def _of_process(process: ProgramConfig, machine: Machine) -> Iterator[tuple[str, str]]:
    for message in _of_command(process, machine):
        yield "command", message
    if process.directory and not machine.is_directory(process.directory):
        yield "directory", f"{process.directory} is not an existing directory"
    for channel in ("stdout", "stderr"):
        path = getattr(process, f"{channel}_logfile")
        if path not in (None, AUTO) and not machine.is_writable(os.path.join(machine.cwd, path)):
            yield f"{channel}_logfile", f"{path} cannot be written here"
    for name, value in process.environment:
        if found := _VARIABLE.search(value):
            sign = found.group() if not secrets.is_secret(name) else found.group()[0]
            yield "environment", f"{name}: {sign!r} is not replaced here; write %(ENV_NAME)s"


def _of_command(process: ProgramConfig, machine: Machine) -> Iterator[str]:
    try:
        argv = process.argv
    except ValueError as why:
        yield f"can't parse command {secrets.command(process.command)!r}: {why}"
        return
    if not argv:
        yield "command is empty"
        return
    yield from _shell_syntax(process.command, argv, os.path.join(machine.cwd, process.directory or ""))
    if message := _missing(argv[0], process, machine):
        yield message


def _shell_syntax(command: str, argv: list[str], directory: str) -> Iterator[str]:
    """Signs that only a shell would understand, outside of single quotes, in a command that starts none."""
    if any(os.path.basename(word) in SHELLS for word in argv):
        return
    lexer = shlex.shlex(command, posix=False, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters = True, ""
    for before, word in pairwise(("", *lexer)):
        found = _OPERATOR.fullmatch(word) or _VARIABLE.search(re.sub(r"'[^']*'", "", word))
        if found := found or _pattern(word, before, directory):
            sign = found.group() if found.group() in secrets.command(command) else _SIGN.findall(found.group())[-1]
            yield f"{sign!r} means nothing without a shell; write sh -c '…' around the command"
            return


def _pattern(word: str, before: str, directory: str) -> re.Match[str] | None:
    """A word for which a shell would put names of files; that of a long option, as in find -name *.c, is meant so."""
    found = None if re.match("-..", before) else _PATTERN.fullmatch(word)
    return found if found and any(glob.iglob(word, root_dir=directory)) else None


def _missing(word: str, process: ProgramConfig, machine: Machine) -> str:
    """Why the command cannot be found or run, as the start would say, or nothing."""
    shown = secrets.words([word])[0]
    if "/" in word:
        path = os.path.join(machine.cwd, word)
        if not os.path.exists(path):
            return f"can't find command {shown!r}"
    else:
        search = dict(process.environment).get("PATH") or machine.environ.get("PATH") or _DEFAULT_PATH
        found = [path for part in search.split(":") if os.path.exists(path := os.path.join(part, word))]
        if not found and "=" in word:
            return f"can't find command {shown!r}; variables belong into environment ="
        if not found:
            return f"can't find command {shown!r} in {search}"
        path = found[0]
    if os.path.isdir(path):
        return f"command at {path!r} is a directory"
    return "" if os.access(path, os.X_OK) else f"command at {path!r} is not executable"


def _place(config: Config, process: ProgramConfig, option: str) -> Place:
    """Where an option of a process was set; [fcgi-program:x] if it is one that runs in a group."""
    sections = (f"{process.kind}:{process.program}", f"fcgi-program:{process.program}")
    section = next((name for name in sections if any(key[0] == name for key in config.origins)), sections[0])
    return _origin(config, section, option)


def _origin(config: Config, section: str, option: str) -> Place:
    file, _, line = config.origins.get((section, option), f"{config.file}:0").rpartition(":")
    return Place(file, int(line), section, option)
