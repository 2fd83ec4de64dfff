"""Where the daemon is, and as whom to ask it: command line, environment and [supervisorctl], in that order.

The whole configuration takes far longer to load than a control command may last, so only this one section is read,
through the same reader and with the same expansion.

Precedence, each setting for itself: the command line; the file named with -c; the environment (SUPERVISOR_SERVER_URL,
SUPERVISOR_USERNAME, SUPERVISOR_PASSWORD); a file found where supervisord looks for it; the defaults. A named file
counts as command line, because the daemon sets SUPERVISOR_SERVER_URL for its children: a supervised script that says
`supervisectl -c other.conf stop web` means the other daemon, not its own. For the same reason a named file's missing
serverurl is supervisorctl's default and not the environment's.
"""

import os
import re
import sys
from collections.abc import Mapping

DEFAULT_URL = "http://localhost:9001"
MAIN_FILES = ("supervise.toml", "supervise.conf", "supervisord.conf")
WANTED = frozenset({"supervisorctl", "supervisectl", "include", "DEFAULT"})
COMMENT = re.compile(r"(?:^|(?<=\s))[;#]|^\s+[;#]")
OPTION = re.compile(r"(.*?)\s*[=:]\s*(.*)$")
SECTIONS = ("supervisorctl", "supervisectl")
VARIABLES = {"serverurl": "SERVER_URL", "username": "USERNAME", "password": "PASSWORD"}


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
    ) -> None:
        self.serverurl, self.username, self.password = serverurl, username, password
        self.prompt, self.history_file = prompt, history_file


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
    around = {name: environ.get(f"SUPERVISOR_{word}") for name, word in VARIABLES.items()}
    if configuration is not None:
        section = read_section(configuration, environ)
        if section is None and serverurl is None:
            raise SettingsError(".ini file does not include supervisorctl section")
        return _merge(given, {"serverurl": DEFAULT_URL} | (section or {}), around)
    found = find()
    known = serverurl is not None or around["serverurl"] is not None
    try:
        section = read_section(found, environ) if found else {}
    except SettingsError:
        # A file that was merely found must not be in the way of somebody who knows the URL.
        if not known:
            raise
        section = None
    if section is None and not known:
        raise SettingsError(".ini file does not include supervisorctl section")
    return _merge(given, around, section or {})


def _merge(*sources: Mapping[str, str | None]) -> Settings:
    """The first source that has a setting gives it."""
    merged: dict[str, str] = {}
    for source in reversed(sources):
        merged |= {name: value for name, value in source.items() if value is not None}
    if (url := merged.get("serverurl", "")).startswith("unix://"):
        merged["serverurl"] = "unix://" + os.path.abspath(os.path.expanduser(url.removeprefix("unix://")))
    return Settings(**merged)


def read_section(path: str, environ: Mapping[str, str]) -> dict[str, str] | None:
    """The options of the section in a file or directory, expanded; None if there is none. Raises SettingsError."""
    found: dict[str, str] | None = None
    for file in _files_of(path):
        section, included = _read(file)
        here = os.path.dirname(os.path.abspath(file))
        if section is None:
            # supervisorctl does not look into included files; ours may have it there.
            for other in _matching(included, here):
                section = _read(other)[0] or section
        if section is not None:
            names = {"here": here} | {f"ENV_{name}": value for name, value in environ.items()}
            found = (found or {}) | {name: _expanded(name, value, names) for name, value in section.items()}
    return found


def _files_of(path: str) -> list[str]:
    """The file itself; of a directory its main file, else all that look like configuration."""
    if not os.path.isdir(path):
        return [path]
    mains = [os.path.join(path, name) for name in MAIN_FILES]
    if main := next(filter(os.path.exists, mains), None):
        return [main]
    inside = [os.path.join(where, name) for where in (path, os.path.join(path, "conf.d")) for name in _names(where)]
    return [file for file in inside if file.endswith((".conf", ".ini", ".toml"))]


def _names(directory: str) -> list[str]:
    return sorted(os.listdir(directory)) if os.path.isdir(directory) else []


def _read(file: str) -> tuple[dict[str, str] | None, str]:
    """Options of the section, and what [include] files= says. Raises SettingsError."""
    try:
        with open(file, encoding="utf-8-sig", errors="replace") as opened:
            text = opened.read()
    except FileNotFoundError:
        raise SettingsError(f"could not find config file {file}") from None
    except OSError:
        raise SettingsError(f"could not read config file {file}") from None
    sections = _toml(text, file) if file.endswith(".toml") else _ini(text)
    section = next((sections[name] for name in SECTIONS if name in sections), None)
    return section, sections.get("include", {}).get("files", "")


def _ini(text: str) -> dict[str, dict[str, str]]:
    """The wanted sections of a file in supervisord's dialect.

    config.ini reads everything, with line numbers and warnings, and takes three times as long to import as this
    command may take in all; a test holds this reader against it.
    """
    sections: dict[str, dict[str, str]] = {}
    options: dict[str, str] = {}
    name, indent = "", 0
    for line in text.split("\n"):
        value, *comment = COMMENT.split(line, maxsplit=1)
        value = value.strip()
        if not value:
            if name and not comment:
                options[name] += "\n"
            continue
        depth = len(line) - len(line.lstrip())
        if name and depth > indent:
            options[name] += "\n" + value
            continue
        indent = depth
        if value.startswith("[") and "]" in value[2:]:
            section = value[1 : value.rindex("]")]
            name, options = "", sections.setdefault(section, {}) if section in WANTED else {}
        elif (option := OPTION.match(value)) and option[1]:
            name = option[1].rstrip().lower()
            options[name] = option[2]
    defaults = sections.pop("DEFAULT", {})
    return {
        section: {name: value.rstrip() for name, value in (defaults | options).items()}
        for section, options in sections.items()
    }


def _toml(text: str, file: str) -> dict[str, dict[str, str]]:
    import tomli  # noqa: PLC0415 (only for those who write TOML)

    try:
        tables = tomli.loads(text)
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{file} is not valid TOML: {error}") from None
    found = {}
    for name in WANTED & tables.keys():
        if isinstance(tables[name], dict):
            found[name] = {
                key: " ".join(map(str, value)) if isinstance(value, list) else str(value)
                for key, value in tables[name].items()
            }
    return found


def _matching(patterns: str, here: str) -> list[str]:
    if not patterns:
        return []
    import glob  # noqa: PLC0415 (seldom needed)

    wanted = (os.path.join(here, pattern.replace("%(here)s", here)) for pattern in patterns.split())
    return [file for pattern in wanted for file in sorted(glob.glob(pattern))]


def _expanded(name: str, value: str, names: Mapping[str, str]) -> str:
    if "%" not in value:
        return value
    from supervise.config.expand import expand  # noqa: PLC0415 (seldom needed, and it costs 20 ms)

    try:
        return expand(value, names, f"supervisorctl.{name}")
    except ValueError as error:
        raise SettingsError(str(error)) from None


def find(program: str = sys.argv[0]) -> str | None:
    """The configuration where supervisord would look for it: beside the program, here, in /etc."""
    above = os.path.dirname(os.path.dirname(os.path.realpath(program)))
    places = [os.path.join(above, "etc"), above, ".", "etc", "/etc", "/etc/supervise", "/etc/supervisor"]
    for name in MAIN_FILES:
        for place in places:
            if os.path.exists(path := os.path.join(place, name)):
                return path
    return None
