"""Opening files in directories of other users, who may put links there, without being led elsewhere by them."""

import errno
import os
import stat
from pathlib import Path

_PLACE = os.O_PATH | os.O_CLOEXEC


def open_log(path: str, flags: int, mode: int = 0o666) -> int:
    """`os.open`, but root is not led into root's files by a link that somebody else has made, or could have made.

    Not followed is a link in the file's own place if its directory belongs to another user or to everybody, and on the
    way there a link of another user to a directory of root's. Each directory is looked at through its descriptor, so
    that nobody can change it after the look. Raises OSError; ELOOP for such a link.
    """
    if os.geteuid() != 0:
        return os.open(path, flags, mode)
    try:
        root, *directories, name = Path(path).absolute().parts
        folder = os.open(root, _PLACE)
        try:
            for directory in directories:
                outer, folder = folder, _enter(folder, directory)
                os.close(outer)
            facts = os.fstat(folder)
            if facts.st_uid != 0 or facts.st_mode & stat.S_IWOTH:
                flags |= os.O_NOFOLLOW
            return os.open(name, flags, mode, dir_fd=folder)
        finally:
            os.close(folder)
    except OSError as error:
        error.filename = path
        raise


def _enter(folder: int, name: str) -> int:
    entry = os.open(name, _PLACE | os.O_NOFOLLOW, dir_fd=folder)
    facts = os.fstat(entry)
    if not stat.S_ISLNK(facts.st_mode):
        return entry
    os.close(entry)
    inner = os.open(name, _PLACE | os.O_DIRECTORY, dir_fd=folder)
    if facts.st_uid != 0 and os.fstat(inner).st_uid == 0:
        os.close(inner)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return inner
