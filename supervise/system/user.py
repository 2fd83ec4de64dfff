"""Becoming another user, for good: what `user=` asks of the daemon itself."""

import os

from supervise.system.accounts import look_up


class SwitchError(Exception):
    """The user could not be changed. `str()` is supervisord's text."""


def become(uid: int, gid: int | None) -> None:
    """Give up root for `uid`, with the groups of that user (`gid`: instead of the user's own group).

    Being that user already is enough, as with supervisord. A uid without a passwd entry keeps no group of root's.
    Raises SwitchError.
    """
    if os.getuid() == uid:
        return
    if os.getuid() != 0:
        raise SwitchError("Can't drop privilege as nonroot user")
    account = look_up(uid, gid)
    try:
        os.setgroups(account.groups)
    except OSError as error:
        raise SwitchError("Could not set groups of effective user") from error
    try:
        os.setgid(account.gid)
    except OSError as error:
        raise SwitchError("Could not set group id of effective user") from error
    try:
        os.setuid(uid)
    except OSError as error:
        raise SwitchError(f"Could not set user id {uid}: {error.strerror}") from error
