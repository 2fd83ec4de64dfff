"""The user database (passwd(5), or whatever nsswitch.conf(5) names), asked at arm's length: LDAP and SSSD may hang."""

import errno
import os
import pwd
import threading
import time
from typing import NamedTuple

from supervise.system.threads import begin

PATIENCE = 0.5  # seconds that an answer may take while somebody waits
HASTE = 0.02  # seconds that it may take while another takes longer than that
FRESH = 1.0  # seconds for which an answer is not asked for again: a thousand starts are one question


class Account(NamedTuple):
    """What the database knows of a user. Without an entry: a number for a name, `/` and /bin/sh, and one group."""

    name: str
    gid: int
    groups: tuple[int, ...]
    home: str
    shell: str


def look_up(uid: int, gid: int | None = None) -> Account:
    """Ask now, however long that takes. `gid` is a group to have instead of the user's own.

    The groups come from getgrouplist(3), which asks for one user, not for all groups.
    """
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        gid = uid if gid is None else gid
        return Account(str(uid), gid, (gid,), "/", "/bin/sh")
    gid = entry.pw_gid if gid is None else gid
    groups = tuple(os.getgrouplist(entry.pw_name, gid))
    return Account(entry.pw_name, gid, groups, entry.pw_dir or "/", entry.pw_shell or "/bin/sh")


class _Question:
    """One user, asked for in a thread of its own for which nobody need wait."""

    def __init__(self, uid: int, gid: int | None, before: Account | None) -> None:
        self.answer = before  # until there is another
        self.error: OSError | None = None
        self.at = 0.0
        self.done = threading.Event()
        self._who = uid, gid
        begin(self._ask, "accounts")

    def _ask(self) -> None:
        try:
            self.answer = look_up(*self._who)
        except OSError as error:
            self.error = error
        self.at = time.monotonic()
        self.done.set()


class Accounts:
    """Answers that are there soon: while the database hangs, PATIENCE is waited once, and HASTE for each other user."""

    def __init__(self) -> None:
        self._asked: dict[tuple[int, int | None], _Question] = {}

    def of(self, uid: int, gid: int | None = None) -> Account:
        """As `look_up`; an answer of up to FRESH seconds ago, or an older one while there is no other.

        Raises OSError: ETIMEDOUT if there has never been one, EAGAIN where there can be no thread.
        """
        key = uid, gid
        asked = self._asked.get(key)
        if asked is None or (asked.done.is_set() and time.monotonic() > asked.at + FRESH):
            hangs = not all(each.done.is_set() for each in self._asked.values())
            asked = self._asked[key] = _Question(uid, gid, asked.answer if asked else None)
            asked.done.wait(HASTE if hangs else PATIENCE)
        if asked.done.is_set() and asked.error is not None:
            raise asked.error
        if asked.answer is None:
            raise OSError(errno.ETIMEDOUT, "the user database does not answer")
        return asked.answer
