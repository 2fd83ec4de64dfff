"""Another user's rights to files, for one thread and one moment."""

import ctypes
import os
import platform
import subprocess
import threading
from pathlib import Path

import pytest

from supervise.system import fsuser
from supervise.system.fsuser import PR_GET_DUMPABLE, files_as
from tests.tools import need_root

CREDENTIALS = ("Uid", "Gid", "Groups", "CapEff", "CapPrm", "CapInh", "CapAmb")


def credentials() -> list[str]:
    """Of this thread, as the kernel shows them."""
    lines = Path("/proc/thread-self/status").read_text().splitlines()
    return [line for line in lines if line.partition(":")[0] in CREDENTIALS]


def enterable(place: Path) -> bool:
    try:
        os.listdir(place)
    except PermissionError:
        return False
    return True


@pytest.fixture
def place(place: Path) -> Path:
    (place / "x").mkdir(mode=0o700)
    return place / "x"


def test_owner_group_and_other_groups_count_and_root_does_not(place: Path) -> None:
    need_root()
    for owner, group, mode, expected in (
        (0, 0, 0o777 ^ 0o007, False),
        (1234, 0, 0o700, True),
        (0, 1235, 0o750, True),
        (0, 1236, 0o750, True),
        (0, 1237, 0o750, False),
    ):
        os.chown(place, owner, group)
        place.chmod(mode)
        assert enterable(place)
        with files_as(1234, 1235, [1235, 1236]):
            assert enterable(place) is expected, (owner, group)


def test_nothing_else_changes_and_nothing_stays(place: Path) -> None:
    need_root()
    before, go, others = credentials(), threading.Event(), list[list[str]]()
    other = threading.Thread(target=lambda: others.append(credentials()) if go.wait() else None)
    other.start()
    libc = ctypes.CDLL(None)
    dumpable = libc.prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)
    with files_as(1234, 1235, [1235]):
        real, effective, saved, files = credentials()[0].split()[1:]
        assert (real, effective, saved, files) == ("0", "0", "0", "1234"), "who can be signalled by 1234 has another"
        go.set()
        other.join()
    assert others == [before]
    assert credentials() == before
    assert libc.prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == dumpable
    with pytest.raises(KeyError), files_as(1234, 1235, [1235]):
        raise KeyError
    assert credentials() == before
    assert enterable(place)


def test_a_child_that_changes_its_user_keeps_nothing_of_root() -> None:
    need_root()
    with files_as(1234, 1235, [1235, 1236]):
        shown = subprocess.run(
            ["cat", "/proc/self/status"], user=1234, group=1235, extra_groups=[1235, 1236], cwd="/", capture_output=True
        ).stdout.decode()
    facts = dict(line.split(":", 1) for line in shown.splitlines())
    assert facts["Uid"].split() == ["1234"] * 4
    assert facts["Gid"].split() == ["1235"] * 4
    assert facts["Groups"].split() == ["1235", "1236"]
    assert {int(facts[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {0}


def test_where_the_number_is_not_known_nothing_happens(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_root()
    assert platform.machine() in fsuser.SETGROUPS
    monkeypatch.setattr(fsuser, "SETGROUPS", {})
    with files_as(1234, 1235, [1235]):
        assert enterable(place)
