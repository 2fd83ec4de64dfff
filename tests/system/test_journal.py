import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervise.system.journal import (
    GROWTH,
    HALF,
    SCHEMA,
    SLOT,
    Journal,
    JournalError,
    Record,
    boot_id,
    forsaken,
    in_memory,
    own_directory,
    parse,
    place,
    start_time,
)
from tests.tools import ROOT

ORDINARY = os.getuid() or 65534  # a user who is not root


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "state")


def test_records_are_found_again(path: str) -> None:
    journal = Journal(path)
    assert (journal.header, journal.records) == (None, {})
    journal.begin({"boot": "b"})
    one, two = journal.allocate(), journal.allocate()
    for number in range(5):
        journal.write(one, {"n": number})
    journal.write(two, {"name": "é"})
    journal.close(remove=False)
    again = Journal(path)
    assert again.header == {"schema": SCHEMA, "boot": "b"}
    assert again.records == {one: {"n": 4}, two: {"name": "é"}}
    again.free(one)
    again.write(again.allocate(), {"new": 1})
    again.close(remove=False)
    assert Journal(path).records == {one: {"new": 1}, two: {"name": "é"}}


def test_it_grows(path: str) -> None:
    journal = Journal(path)
    slots = [journal.allocate() for _ in range(3 * GROWTH)]
    for slot in slots:
        journal.write(slot, {"slot": slot})
    assert len(set(slots)) == 3 * GROWTH
    journal.close(remove=False)
    assert Journal(path).records == {slot: {"slot": slot} for slot in slots}


def test_a_torn_record_leaves_the_one_before(path: str) -> None:
    journal = Journal(path)
    slot = journal.allocate()
    journal.write(slot, {"n": 1})
    journal.write(slot, {"n": 2})
    journal.close(remove=False)
    with open(path, "r+b") as file:
        file.seek(slot * SLOT)  # the second generation is even: the first half
        assert b'{"n":2}' in file.read(HALF)
        file.seek(slot * SLOT + 12)
        file.write(b"garbage")
    found = Journal(path)
    assert found.records == {slot: {"n": 1}}
    assert not found.damaged
    found.close(remove=False)
    with open(path, "r+b") as file:
        file.seek(slot * SLOT + HALF + 12)
        file.write(b"garbage")
    found = Journal(path)
    assert found.records == {}
    assert found.damaged == 1


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_garbage_is_no_record(data: bytes) -> None:
    assert parse(data) is None
    assert parse(data + b"\n") is None


def test_garbage_files_hold_nothing(path: str) -> None:
    Path(path).write_bytes(os.urandom(3 * SLOT + 17))
    os.chmod(path, 0o600)
    journal = Journal(path)
    assert (journal.header, journal.records, journal.damaged) == (None, {}, 3)
    journal.write(journal.allocate(), {"n": 1})


def test_what_does_not_fit_is_refused(path: str) -> None:
    journal = Journal(path)
    slot = journal.allocate()
    journal.write(slot, {"n": 1})
    with pytest.raises(ValueError, match="does not fit"):
        journal.write(slot, {"n": "x" * HALF})
    journal.close(remove=False)
    assert Journal(path).records == {slot: {"n": 1}}


def test_any_letter_takes_no_more_room_than_in_utf_8(path: str) -> None:
    """The record of a program whose name and paths are not English must fit, too."""
    journal = Journal(path)
    record = {"name": "обработчик" * 90, "path": os.fsdecode(b"/\xff/\xd0")}
    slot = journal.allocate()
    journal.write(slot, record)
    journal.close(remove=False)
    assert Journal(path).records == {slot: record}


def test_it_must_be_ours_alone(tmp_path: Path) -> None:
    open_to_others = tmp_path / "open"
    open_to_others.touch(0o644)
    link = tmp_path / "link"
    link.symlink_to(open_to_others)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    for bad in (open_to_others, link, fifo, tmp_path, tmp_path / "no" / "such"):
        with pytest.raises(JournalError):
            Journal(str(bad))


def test_removal(path: str) -> None:
    Journal(path).close(remove=True)
    assert not os.path.exists(path)


def test_it_survives_sigkill(path: str) -> None:
    code = f"""
import os, sys
from supervise.system.journal import Journal
journal = Journal({path!r})
slot = journal.allocate()
number = 0
while True:
    number += 1
    journal.write(slot, {{"n": number}})
    if number % 100 == 0:
        os.write(1, b"%d\\n" % number)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        seen = [int(child.stdout.readline()) for _ in range(20)][-1]
        child.kill()
    records = list(Journal(path).records.values())
    assert len(records) == 1
    assert records[0]["n"] >= seen


def test_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = place(f"test-{os.getpid()}")
    try:
        assert os.stat(found).st_mode & 0o777 == 0o700
        assert place(f"test-{os.getpid()}") == found
    finally:
        os.rmdir(found)
    loose = tmp_path / "loose"
    loose.mkdir()
    loose.chmod(0o777)
    with pytest.raises(PermissionError):
        own_directory(str(loose))


@pytest.fixture
def session() -> Iterator[Path]:
    """What XDG_RUNTIME_DIR may be in a login session of an ordinary user (nobody, if we are root)."""
    directory = Path(tempfile.mkdtemp(prefix="session-", dir="/dev/shm"))
    os.chown(directory, ORDINARY, -1)
    yield directory
    shutil.rmtree(directory)


def placed(name: str, session: Path | None) -> str:
    """What `place` says to an ordinary user."""
    code = f"import os; from supervise.system.journal import place; os.setuid({ORDINARY}); print(place({name!r}))"
    env = {"PYTHONPATH": str(ROOT), **({"XDG_RUNTIME_DIR": str(session)} if session else {})}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_it_is_found_from_every_session(session: Path) -> None:
    """Of a daemon that a login shell has started, by one that cron starts, and after a logout, which empties it."""
    name = f"test-{os.getpid()}"
    first = placed(name, session)
    try:
        assert placed(name, None) == first
        shutil.rmtree(session)
        session.mkdir()
        os.chown(session, ORDINARY, -1)
        assert placed(name, session) == first
    finally:
        shutil.rmtree(first)


def test_one_that_is_there_is_taken(session: Path) -> None:
    """Wherever that is; unless it is somebody else's, who may put there what he likes."""
    name = f"test-{os.getpid()}"
    old = session / "supervise" / name
    old.mkdir(parents=True, mode=0o700)
    (old / "state").touch()
    for path in (old.parent, old):
        os.chown(path, ORDINARY, -1)
    assert placed(name, session) == str(old)
    old.parent.chmod(0o777)
    other = placed(name, session)
    try:
        assert other == f"/dev/shm/supervise-{ORDINARY}/{name}"
        old.parent.chmod(0o700)
        (Path(other) / "state").touch()
        (old / "state").unlink()
        assert placed(name, session) == other
    finally:
        shutil.rmtree(other)


def test_what_no_daemon_writes_any_more() -> None:
    """Of this boot; the files are only read."""

    def known() -> list[list[Record]]:
        return [list(records) for header, records in forsaken() if header.get("pidfile") == directory]

    directory = place(f"test-{os.getpid()}")
    try:
        journal = Journal(f"{directory}/state", sole=True)
        assert known() == []
        journal.begin({"boot": boot_id(), "pidfile": directory})
        for number in (1, 2):
            journal.write(journal.allocate(), {"n": number})
        assert known() == [], "somebody writes it"
        journal.close(remove=False)
        assert known() == [[{"n": 1}, {"n": 2}]]
        journal = Journal(f"{directory}/state", sole=True)
        journal.begin({"boot": "another", "pidfile": directory})
        journal.close(remove=False)
        assert known() == []
        Path(directory, "state").chmod(0o644)
        assert known() == []
    finally:
        shutil.rmtree(directory)


def test_memory_file_systems() -> None:
    kinds = {}
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place_of_it, kind, *_ = line.split()
        kinds[place_of_it] = kind  # the last mount at a place is the one that is seen
    for path in ("/", "/proc", "/dev/shm"):
        assert in_memory(path) == (kinds.get(path) in ("tmpfs", "ramfs")), path
    assert not in_memory("/no/such")


def test_identity() -> None:
    assert len(boot_id()) == 36
    assert start_time(os.getpid()) == start_time(os.getpid())
    with subprocess.Popen(["sleep", "100"]) as child:
        first = start_time(child.pid)
        assert first is not None
        child.kill()
        time.sleep(0.01)
        assert start_time(child.pid) == first  # a zombie still has its pid
    assert start_time(child.pid) is None
