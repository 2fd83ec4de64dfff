"""Opening files in directories of other users, who may put links there, without being led elsewhere by them."""

import errno
import os
import stat
from pathlib import Path
from typing import NamedTuple

LINKS = 40  # that are followed for one file, as path_resolution(7) has it

_PLACE = os.O_PATH | os.O_CLOEXEC
_CHECK = ""  # among names: up to here a link of somebody else has led


class Trust:
    """Of the whole process: whether links of everybody are followed (`follow_links`)."""

    everybody = False


class _Link(NamedTuple):
    owner: int
    target: str


def open_log(path: str, flags: int, mode: int = 0o666) -> int:
    """`os.open`, but root is not led into root's files by a link that somebody else has made, or could have made.

    Not followed is a link in the file's own place if its directory belongs to another user or to everybody, or to a
    group and the link is not root's; and on the way there a link of another user to a directory of root's. The ways of
    links are looked at like the path itself, and everything through its descriptor, so that nobody can change it after
    the look. Raises OSError; ELOOP for such a link. Where everybody is trusted it is just `os.open`.
    """
    if Trust.everybody or os.geteuid() != 0:
        return os.open(path, flags, mode)
    try:
        folder, names, links = os.open(".", _PLACE), [*reversed(Path(path).parts)], 0
        try:
            while names and links < LINKS:
                name = names.pop()
                if name == _CHECK:
                    if os.fstat(folder).st_uid == 0:
                        break
                    continue
                if not names:
                    try:
                        return os.open(name, flags | os.O_NOFOLLOW, mode, dir_fd=folder)
                    except OSError as error:
                        if error.errno != errno.ELOOP:
                            raise
                found = _look(folder, name)
                if isinstance(found, _Link):
                    if not names and not _may_follow(found, os.fstat(folder)):
                        break
                    links += 1
                    names += [_CHECK] if names and found.owner != 0 else []
                    names += reversed(Path(found.target).parts)
                else:
                    os.close(folder)
                    folder = found
                    if not names:
                        return os.open(f"/proc/self/fd/{folder}", flags, mode)
        finally:
            os.close(folder)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    except OSError as error:
        error.filename = path
        raise


def _look(folder: int, name: str) -> int | _Link:
    """A link, or the place of what is no link. The kernel's own links (/proc/1/fd/1) are no texts, and count as what
    they lead to."""
    place = os.open(name, _PLACE | os.O_NOFOLLOW, dir_fd=folder)
    facts = os.fstat(place)
    if not stat.S_ISLNK(facts.st_mode):
        return place
    try:
        if facts.st_uid == 0 and facts.st_dev == os.stat("/proc").st_dev:
            return os.open(name, _PLACE, dir_fd=folder)
        return _Link(facts.st_uid, os.readlink("", dir_fd=place))
    finally:
        os.close(place)


def _may_follow(link: _Link, folder: os.stat_result) -> bool:
    """Whether nobody but root can have put that link, in a file's place, into the folder."""
    others = stat.S_IWOTH if link.owner == 0 else stat.S_IWOTH | stat.S_IWGRP
    return folder.st_uid == 0 and not folder.st_mode & others
