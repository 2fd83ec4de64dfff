"""What the user database says, and what happens when it says nothing. (With daemons: e2e/test_slow_users.py.)"""

import errno
import os
import pwd
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from supervise.system import accounts
from supervise.system.accounts import Account, Accounts, look_up
from tests.tools import ROOT, need, need_root, wait_for

NOBODY = pwd.getpwnam("nobody")
NOT_THERE = 4_000_000_123


def test_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "PATIENCE", 60.0)
    found = look_up(NOBODY.pw_uid)
    groups = set(os.getgrouplist("nobody", NOBODY.pw_gid))
    assert (found.name, found.gid, set(found.groups)) == ("nobody", NOBODY.pw_gid, groups)
    assert (found.home, found.shell) == (NOBODY.pw_dir, NOBODY.pw_shell)
    assert look_up(NOBODY.pw_uid, 7).gid == 7
    assert 7 in look_up(NOBODY.pw_uid, 7).groups
    assert look_up(NOT_THERE) == Account(str(NOT_THERE), NOT_THERE, (NOT_THERE,), "/", "/bin/sh")
    assert look_up(NOT_THERE, 7).groups == (7,)
    assert Accounts().of(NOBODY.pw_uid) == found


class Database:
    """A look_up that can be made to hang."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers = threading.Event()
        self.answers.set()
        self.asked = self.answered = 0
        monkeypatch.setattr(accounts, "look_up", self.look_up)

    def look_up(self, uid: int, gid: int | None) -> Account:
        self.asked += 1
        number = self.asked
        assert self.answers.wait(60)
        self.answered += 1
        return Account(f"answer {number}", uid, (uid,), "/", "/bin/sh")


def test_a_thousand_starts_are_one_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "FRESH", 3600.0)
    monkeypatch.setattr(accounts, "PATIENCE", 60.0)
    database, users = Database(monkeypatch), Accounts()
    assert {users.of(33).name for _ in range(1000)} == {"answer 1"}
    assert users.of(33, 7).name == users.of(33, 7).name == "answer 2"
    monkeypatch.setattr(accounts, "FRESH", 0.0)
    time.sleep(0.001)
    assert users.of(33).name == "answer 3"
    assert database.asked == 3


def test_while_it_hangs_an_older_answer_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "FRESH", 0.0)
    monkeypatch.setattr(accounts, "PATIENCE", 60.0)
    database, users = Database(monkeypatch), Accounts()
    assert users.of(33).name == "answer 1"
    time.sleep(0.001)
    monkeypatch.setattr(accounts, "PATIENCE", 0.05)
    database.answers.clear()
    assert {users.of(33).name for _ in range(50)} == {"answer 1"}
    for _ in range(50):
        with pytest.raises(OSError, match="does not answer") as caught:
            users.of(34)
        assert caught.value.errno == errno.ETIMEDOUT
    assert database.asked == 3, "one question for each is enough"
    database.answers.set()
    monkeypatch.setattr(accounts, "FRESH", 3600.0)
    wait_for(lambda: users.of(33).name != "answer 1")
    assert users.of(33).name == "answer 2"
    assert wait_for(lambda: users.of(34)).name == "answer 3"


def test_an_answer_that_came_late_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "FRESH", 0.0)
    monkeypatch.setattr(accounts, "PATIENCE", 0.05)
    database, users = Database(monkeypatch), Accounts()
    database.answers.clear()
    with pytest.raises(OSError, match="does not answer"):
        users.of(33)
    database.answers.set()
    wait_for(lambda: database.answered == 1)
    database.answers.clear()
    wait_for(lambda: (users.of(33).name, database.asked) == ("answer 1", 2), "though nobody came for it in time")
    database.answers.set()


FIFTY = """
from supervise.system import accounts
users = accounts.Accounts()
accounts.PATIENCE = 0.05
for uid in range(50):
    try:
        print(users.of(4_000_000_000 + uid))
    except OSError as error:
        print(error.strerror)
    accounts.PATIENCE = 3600.0
"""


def test_one_that_hangs_is_waited_for_once(tmp_path: Path) -> None:
    """Not once for each user: the daemon would stand still for half a minute with fifty of them."""
    need_root("CAP_SYS_ADMIN")
    os.mkfifo(tmp_path / "passwd")
    hung = (need("unshare"), "-m", "sh", "-c", 'mount --bind "$0" /etc/passwd && exec "$@"', tmp_path / "passwd")
    done = subprocess.run([*hung, sys.executable, "-c", FIFTY], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("the user database does not answer\n" * 50, "")


NO_THREADS = """
import encodings.idna, os, resource
from supervise.system.accounts import Accounts
from supervise.system.names import addresses
os.setgid(65534); os.setuid(63998); resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
for ask in (lambda: Accounts().of(0), lambda: addresses("localhost", 9001)):
    try:
        ask()
    except OSError as error:
        print(error.errno)
"""


def test_where_there_can_be_no_thread() -> None:
    """At the limit of a user, or of a container. Nor for names of hosts."""
    need_root()
    done = subprocess.run([sys.executable, "-c", NO_THREADS], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == (f"{errno.EAGAIN}\n" * 2, "")
