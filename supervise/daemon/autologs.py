"""AUTO logs: their names, and what becomes of those that an earlier run left."""

import contextlib
import os
import re
from collections.abc import Set
from pathlib import Path

AUTO_MODE = 0o600  # as mkstemp(3) makes supervisord's: they are in /tmp, as a rule


def auto_path(directory: str, identifier: str, process: str, channel: str) -> str:
    """A fresh name in supervisord's form."""
    name = f"{process}-{channel}---{identifier}-{os.urandom(4).hex()}.log".replace("/", "_")
    return os.path.join(directory, name)


def is_auto_log(path: str, identifier: str) -> bool:
    """Whether the name has the form of an AUTO log of this identifier (or of one of its backups)."""
    return re.fullmatch(rf".+?---{re.escape(identifier)}-\w+\.log(\.\d{{1,4}})?", Path(path).name) is not None


def retire_auto_logs(directory: str, identifier: str, in_use: Set[str] = frozenset()) -> None:
    """Keep the AUTO logs of the last run as NAME.last, and delete those that were kept so before.

    supervisord deletes the last run's, and with them the traces of a crash (B39); `nocleanup` keeps all. Errors are
    passed over: the directory may be /tmp, and the files another user's. Those in use, and their backups, stay.
    """
    try:
        names = [name for name in sorted(os.listdir(directory)) if not _is_of(str(Path(directory, name)), in_use)]
    except OSError:
        return
    for name in names:
        if name.endswith(".last") and is_auto_log(name.removesuffix(".last"), identifier):
            with contextlib.suppress(OSError):
                os.unlink(Path(directory, name))
    for name in names:
        if is_auto_log(name, identifier):
            with contextlib.suppress(OSError):
                os.replace(Path(directory, name), Path(directory, name + ".last"))


def _is_of(path: str, logs: Set[str]) -> bool:
    """Whether the file is one of these logs or a backup of one."""
    return path in logs or re.sub(r"\.\d{1,4}$", "", path) in logs
