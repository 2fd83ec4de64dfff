"""Where the daemon is, and as whom to ask it: command line, environment and [supervisorctl], in that order.

The whole configuration takes far longer to load than a control command may last, so only this one section is looked
at: through the daemon's own reader and expansion, without the declarations behind them.

Precedence, each setting for itself: the command line; the file named with -c; the environment (SUPERVISOR_SERVER_URL,
SUPERVISOR_USERNAME, SUPERVISOR_PASSWORD); a file found where supervisord looks for it; the defaults. A named file
counts as command line, because the daemon sets SUPERVISOR_SERVER_URL for its children: a supervised script that says
`supervisectl -c other.conf stop web` means the other daemon, not its own. For the same reason a named file's missing
serverurl is supervisorctl's default and not the environment's.
"""

import contextlib
import os
import sys
from collections.abc import Mapping

from supervise.config import ini, source
from supervise.config.discover import find, in_directory
from supervise.config.document import Document
from supervise.config.expand import expand
from supervise.config.problems import Problems
from supervise.errors import ConfigError
from supervise.http1 import Trust

DEFAULT_URL = "http://localhost:9001"
OPTIONS = ("serverurl", "username", "password", "prompt", "history_file", "ca", "certfile", "keyfile")
PATHS = frozenset({"ca", "certfile", "keyfile"})
WITH_HERE = PATHS | {"serverurl", "history_file"}
VARIABLES = {
    "serverurl": "SUPERVISOR_SERVER_URL",
    "username": "SUPERVISOR_USERNAME",
    "password": "SUPERVISOR_PASSWORD",
    "ca": "SUPERVISE_CA",
    "certfile": "SUPERVISE_CERT",
    "keyfile": "SUPERVISE_KEY",
}


class SettingsError(Exception):
    """The configuration does not say where the daemon is; the text is supervisorctl's."""


class Settings:
    """What supervisectl needs to know; `connect` may change it in the interactive shell."""

    def __init__(
        self,
        serverurl: str = DEFAULT_URL,
        username: str | None = None,
        password: str | None = None,
        prompt: str = "supervisor",
        history_file: str | None = None,
        ca: str | None = None,
        certfile: str | None = None,
        keyfile: str | None = None,
    ) -> None:
        self.serverurl, self.username, self.password = serverurl, username, password
        self.prompt, self.history_file = prompt, history_file
        self.trust = Trust(ca, certfile, keyfile)
        self.file: str | None = None  # where all this stands; plugins are looked for in it when they are needed


def resolve(
    configuration: str | None = None,
    serverurl: str | None = None,
    username: str | None = None,
    password: str | None = None,
    history_file: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """The settings for one run; None: not given on the command line. Raises SettingsError."""
    given = {"serverurl": serverurl, "username": username, "password": password, "history_file": history_file}
    around = {name: environ.get(variable) for name, variable in VARIABLES.items()}
    if configuration is not None:
        section = read_section(configuration, environ)
        if section is None and serverurl is None:
            raise SettingsError(".ini file does not include supervisorctl section")
        return _merge(configuration, given, {"serverurl": DEFAULT_URL} | (section or {}), around)
    known = serverurl is not None or around["serverurl"] is not None
    found = None
    try:
        found = _found()
        section = read_section(found, environ) if found else {}
    except SettingsError:
        # A file that was merely found must not be in the way of somebody who knows the URL.
        if not known:
            raise
        section = None
    if section is None and not known:
        raise SettingsError(".ini file does not include supervisorctl section")
    return _merge(found, given, around, section or {})


def _merge(file: str | None, *sources: Mapping[str, str | None]) -> Settings:
    """The first source that has a setting gives it."""
    merged: dict[str, str] = {}
    for one in reversed(sources):
        merged |= {name: value for name, value in one.items() if value is not None}
    if (url := merged.get("serverurl", "")).startswith("unix://"):
        merged["serverurl"] = "unix://" + os.path.abspath(os.path.expanduser(url.removeprefix("unix://")))
    for name in PATHS & merged.keys():
        merged[name] = os.path.expanduser(merged[name])
    settings = Settings(**merged)
    settings.file = file
    return settings


def read_section(path: str, environ: Mapping[str, str]) -> dict[str, str] | None:
    """The options of the section in a file or directory, expanded; None if there is none. Raises SettingsError."""
    try:
        document = _document(path, environ)
    except source.Unreadable as error:
        raise SettingsError(str(error)) from None
    section = document.sections.get("supervisorctl")
    if section is None:
        return None
    variables: dict[str, object] = {f"ENV_{name}": value for name, value in environ.items()}
    with_here = variables | {"here": document.here}
    found = {}
    for name in OPTIONS:
        if entry := section.get(name):
            try:
                names = with_here if name in WITH_HERE else variables
                found[name] = expand(str(entry.raw), names, f"supervisorctl.{name}")
            except ValueError as error:
                raise SettingsError(str(error)) from None
    return found


def _document(path: str, environ: Mapping[str, str]) -> Document:
    """The main file alone if it has the section, as supervisorctl reads it; else all that it includes, too."""
    main, problems = in_directory(os.path.abspath(path)), Problems()
    if os.path.isfile(main) and not main.endswith(".toml"):
        document = Document(main, os.path.dirname(main))
        with contextlib.suppress(OSError), open(main, encoding="utf-8-sig", errors="replace") as file:
            ini.read(file.read(), main, document, problems)
        if "supervisorctl" in document.sections:
            return document
    document = source.read(main, environ, os.uname().nodename, problems, shown=path)
    if problems.errors and "supervisorctl" not in document.sections:
        raise SettingsError(str(problems.errors[0]))
    return document


def _found() -> str | None:
    """The file where the daemon would look for it."""
    try:
        return find(sys.argv[0], os.getcwd())
    except ConfigError as error:
        raise SettingsError(str(error)) from None
