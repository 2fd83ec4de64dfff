"""Where a configuration is looked for. Light to import: the client looks too."""

import os
from collections.abc import Iterator

from supervise.errors import ConfigError

MAIN_FILES = ("supervise.toml", "supervise.conf", "supervisord.conf")


def in_directory(path: str) -> str:
    """The main file in `path` if that is a directory that has one; else `path`."""
    if os.path.isdir(path):
        for name in MAIN_FILES:
            if os.path.isfile(found := os.path.join(path, name)):
                return found
    return path


def places(argv0: str, cwd: str) -> Iterator[str]:
    """Every file that is looked for, in supervisord's order, at each place our own names first."""
    prefix = os.path.dirname(os.path.dirname(os.path.join(cwd, argv0)))
    etc = os.path.join(prefix, "etc")
    for directory in (etc, prefix, cwd, os.path.join(cwd, "etc"), "/etc", "/etc/supervise", "/etc/supervisor"):
        for name in MAIN_FILES:
            yield os.path.join(directory, name)


def find(argv0: str, cwd: str) -> str | None:
    """The first of `places` that exists, or None.

    Raises ConfigError for root if it belongs to somebody else, or everybody may write it: one of the places is the
    current directory. (supervisord only warns.)
    """
    for path in places(argv0, cwd):
        if os.path.exists(path):
            if os.geteuid() == 0:
                _trust(path)
            return path
    return None


def _trust(path: str) -> None:
    status = os.stat(path)
    if status.st_uid != 0:
        raise ConfigError(f"belongs to user {status.st_uid}, not to root; name it with -c if it is meant", file=path)
    if status.st_mode & 0o002:
        raise ConfigError("everybody may write it; name it with -c if it is meant", file=path)
