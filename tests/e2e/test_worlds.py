"""A daemon is killed, and the next one comes into a bad world: no foreign process is signalled, and the log says what
is wrong and what to do."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from supervise.system.journal import SLOT, Journal
from tests.daemons import Daemon, Supervisors, daemon_command, journals
from tests.tools import alive, need, need_root, wait_for

pytestmark = pytest.mark.timeout(240)

PROGRAMS = """
[program:cat]
command = cat
stdout_logfile = {place}/cat.log
startsecs = 0
[program:idle]
command = sleep 1000
startsecs = 0
"""


def state_of(daemon: Daemon) -> Path:
    """The daemon's journal."""
    [found] = [directory / "state" for directory in journals(daemon.place) if (directory / "state").exists()]
    return found


def left_behind(supervisors: Supervisors, programs: str = PROGRAMS) -> tuple[Daemon, int]:
    """A daemon that was killed, and the pid of its `cat`."""
    daemon = supervisors.start("supervise", programs)
    pid = int(daemon.wait_state("cat", "RUNNING")["pid"])
    daemon.wait_state("idle", "RUNNING")
    daemon.stop(signal.SIGKILL)
    return daemon, pid


@contextmanager
def edited(daemon: Daemon) -> Iterator[Journal]:
    journal = Journal(str(state_of(daemon)))
    yield journal
    journal.close(remove=False)


def again(supervisors: Supervisors, daemon: Daemon, *options: str) -> Daemon:
    return supervisors.run("supervise", daemon.config, daemon.place, options=("-n", *options))


def refused(daemon: Daemon) -> str:
    """What another daemon says that does not start."""
    done = subprocess.run(
        [*daemon_command("supervise"), "-n", "-c", str(daemon.config)],
        env=daemon.env,
        cwd=daemon.place,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    return done.stderr


def test_the_number_of_a_process_belongs_to_another_one(supervisors: Supervisors) -> None:
    """With every policy: whoever has the recorded pid by now, but not its start time, is left alone."""
    for policy in ("adopt", "stop", "ignore"):
        daemon, pid = left_behind(supervisors)
        os.kill(pid, signal.SIGKILL)
        with subprocess.Popen(["sleep", "1000"], start_new_session=True) as stranger:
            with edited(daemon) as journal:
                for slot, record in journal.records.items():
                    if record["name"] == "cat":
                        journal.write(slot, {**record, "pid": stranger.pid})
            daemon.configure(PROGRAMS, f"on_leftover = {policy}")
            other = again(supervisors, daemon)
            assert other.wait_state("cat", "RUNNING")["pid"] != stranger.pid
            other.rpc.supervisor.stopProcess("cat")
            assert other.stop() == 0
            assert stranger.poll() is None
            stranger.kill()


def test_the_number_of_a_session_belongs_to_another_one(supervisors: Supervisors) -> None:
    """The leader has ended amid a stop of its whole tree, while no daemon was there, and a stranger got its number."""
    deaf = """
        [program:deaf]
        command = bash -c 'trap "" TERM; touch {place}/deaf; while :; do sleep 0.05; done'
        stop_scope = tree
        stopwaitsecs = 2
        startsecs = 0
    """
    daemon = supervisors.start("supervise", deaf)
    pid = daemon.wait_state("deaf", "RUNNING")["pid"]
    wait_for((daemon.place / "deaf").exists)
    daemon.rpc.supervisor.stopProcess("deaf", False)
    daemon.wait_state("deaf", "STOPPING")
    daemon.stop(signal.SIGKILL)
    os.killpg(pid, signal.SIGKILL)
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as stranger:
        with edited(daemon) as journal:
            [(slot, record)] = journal.records.items()
            journal.write(slot, {**record, "pid": stranger.pid})
        other = again(supervisors, daemon)
        other.wait_state("deaf", "STOPPED")
        assert f"session {stranger.pid} may be another one's by now" in other.log
        assert stranger.poll() is None
        stranger.kill()


@pytest.mark.parametrize("policy", ["stop", "--stop-leftovers", "ignore", "removed"])
def test_a_child_whose_pid_nobody_wrote_down(supervisors: Supervisors, policy: str) -> None:
    """The daemon died between its spawn and its record: who does not adopt it ends it all the same, or says so."""
    daemon, pid = left_behind(supervisors)
    with edited(daemon) as journal:
        for slot, record in journal.records.items():
            if record["name"] == "cat":
                journal.write(slot, {**record, "pid": None, "start_time": None, "state": 10})
    programs = PROGRAMS if policy != "removed" else "[program:idle]" + PROGRAMS.partition("[program:idle]")[2]
    daemon.configure(programs, f"on_leftover = {policy}" if policy in {"stop", "ignore"} else "")
    other = again(supervisors, daemon, *([policy] if policy.startswith("--") else []))
    said = "ignoring" if policy == "ignore" else "ending"
    other.wait_log(f"{said} cat (pid {pid}), which an earlier daemon left")
    if policy != "ignore":
        wait_for(lambda: not alive(pid))
    if policy != "removed":
        assert other.wait_state("cat", "RUNNING")["pid"] != pid


def test_what_is_not_configured_any_more_is_ended_as_it_was(supervisors: Supervisors) -> None:
    """By its own signal, and in its own time."""
    asks = 'trap "" TERM; trap "touch {place}/asked; sleep 1; touch {place}/done; exit" USR1'
    programs = f"""
        [program:polite]
        command = bash -c '{asks}; touch {{place}}/set; while :; do sleep 0.05; done'
        stopsignal = USR1
        stopwaitsecs = 1000
        startsecs = 0
    """
    daemon = supervisors.start("supervise", programs)
    pid = daemon.wait_state("polite", "RUNNING")["pid"]
    wait_for((daemon.place / "set").exists)
    daemon.stop(signal.SIGKILL)
    daemon.configure("")
    other = again(supervisors, daemon)
    other.wait_log(f"ending polite (pid {pid}), which an earlier daemon left: it has 1000 seconds")
    wait_for((daemon.place / "done").exists)
    wait_for(lambda: not alive(pid))


def test_a_journal_of_another_boot_means_nothing(supervisors: Supervisors) -> None:
    daemon, pid = left_behind(supervisors)
    with edited(daemon) as journal:
        journal.begin({"boot": "another"})
    other = again(supervisors, daemon)  # these processes cannot be there after a boot; here they are, as strangers
    assert other.wait_state("cat", "RUNNING")["pid"] != pid
    assert other.stop() == 0
    assert alive(pid)


def test_a_journal_of_a_newer_version_is_refused(supervisors: Supervisors) -> None:
    daemon, pid = left_behind(supervisors)
    with edited(daemon) as journal:
        before = dict(journal.records)
        assert journal.header is not None
        journal.begin({**journal.header, "schema": 99})
    said = refused(daemon)
    assert "was written by a newer version (schema 99, this one knows 1)" in said
    assert "start that version, or stop them and remove the file" in said
    assert alive(pid)
    with edited(daemon) as journal:
        assert journal.records == before
        assert journal.header is not None
        journal.begin({**journal.header, "schema": 1})
    assert again(supervisors, daemon).info("cat")["pid"] == pid


def test_a_journal_of_an_older_version_is_read(supervisors: Supervisors) -> None:
    """It knows less of each process."""
    daemon, pid = left_behind(supervisors)
    known = {"group", "name", "state", "wanted", "pid", "start_time", "since", "pipes", "stdin"}
    with edited(daemon) as journal:
        assert journal.header is not None
        journal.begin({**journal.header, "schema": 0})
        for slot, record in journal.records.items():
            journal.write(slot, {name: value for name, value in record.items() if name in known})
    other = again(supervisors, daemon)
    assert other.info("cat")["pid"] == pid
    other.rpc.supervisor.sendProcessStdin("cat", "hello\n")
    wait_for(lambda: other.read("cat.log") == "hello\n")
    assert other.stop() == 0
    assert not alive(pid)


def test_a_journal_of_another_user_is_refused(supervisors: Supervisors) -> None:
    need_root()
    daemon, pid = left_behind(supervisors)
    state = state_of(daemon)
    os.chown(state, 65534, 65534)
    said = refused(daemon)
    assert f"{state}: it must be a file of user 0 that nobody else can open; remove it" in said
    assert alive(pid)
    os.chown(state, 0, 0)
    state.chmod(0o644)
    assert "nobody else can open" in refused(daemon)
    state.chmod(0o600)
    assert again(supervisors, daemon).info("cat")["pid"] == pid


def damage(daemon: Daemon, slot: int, halves: tuple[int, ...]) -> None:
    with state_of(daemon).open("r+b") as file:
        for half in halves:
            file.seek(slot * SLOT + half * SLOT // 2 + 20)
            file.write(b"\xff garbage")


def test_a_torn_record_is_what_it_was_before(supervisors: Supervisors) -> None:
    """Whichever half is torn, the other one names the same process."""
    for half in (0, 1):
        daemon, pid = left_behind(supervisors)
        with edited(daemon) as journal:
            [slot] = [slot for slot, record in journal.records.items() if record["name"] == "cat"]
            journal.write(slot, journal.records[slot])  # both halves are of a process that runs
        damage(daemon, slot, (half,))
        other = again(supervisors, daemon)
        assert other.info("cat")["pid"] == pid
        assert other.stop() == 0


def test_a_record_that_cannot_be_read_is_told(supervisors: Supervisors) -> None:
    daemon, pid = left_behind(supervisors)
    with edited(daemon) as journal:
        pids = {record["name"]: record["pid"] for record in journal.records.values()}
        [slot] = [slot for slot, record in journal.records.items() if record["name"] == "cat"]
        journal.write(slot, journal.records[slot])
    damage(daemon, slot, (0, 1))
    other = again(supervisors, daemon)
    other.wait_log(f"1 records of {state_of(other)} are damaged: there may be programs running that this daemon")
    assert other.info("idle")["pid"] == pids["idle"]
    assert other.wait_state("cat", "RUNNING")["pid"] != pid
    assert alive(pid)


@pytest.mark.parametrize("fields", [{"state": "PAUSED"}, {"state": 12345}, {"pid": "abc"}, {"deadline": "soon"}])
@pytest.mark.parametrize("policy", ["adopt", "stop"])
def test_a_record_that_means_nothing_is_told(supervisors: Supervisors, fields: dict[str, object], policy: str) -> None:
    """Though its checksum is right."""
    daemon, pid = left_behind(supervisors)
    with edited(daemon) as journal:
        pids = {record["name"]: record["pid"] for record in journal.records.values()}
        for slot, record in journal.records.items():
            if record["name"] == "cat":
                journal.write(slot, {**record, **fields})
    daemon.configure(PROGRAMS, f"on_leftover = {policy}")
    other = again(supervisors, daemon)
    other.wait_log(f"the record of cat in {state_of(other)} is damaged ({next(iter(fields))} is ")
    assert (other.wait_state("idle", "RUNNING")["pid"] == pids["idle"]) is (policy == "adopt")
    assert other.wait_state("cat", "RUNNING")["pid"] != pid
    assert alive(pid)
    assert other.stop() == 0


def test_without_a_header_it_is_refused(supervisors: Supervisors) -> None:
    daemon, pid = left_behind(supervisors)
    damage(daemon, 0, (0, 1))
    assert "is damaged, and programs that it names may be running: stop them and remove the file" in refused(daemon)
    assert alive(pid)
    state_of(daemon).unlink()
    assert again(supervisors, daemon).wait_state("cat", "RUNNING")["pid"] != pid


MEMORY = 'for place in /run /dev/shm; do mount -t tmpfs {options} none $place; done; exec "$@"'


@pytest.mark.parametrize(
    ("options", "why"), [("-o ro", "Read-only file system"), ("-o size=16k", "No space left on device")]
)
def test_no_room_for_a_journal(supervisors: Supervisors, options: str, why: str) -> None:
    """It runs, and says what it cannot do, also to who asks."""
    need_root("CAP_SYS_ADMIN")
    prefix = (need("unshare"), "-m", "sh", "-c", MEMORY.replace("{options}", options), "sh")
    daemon = supervisors.start("supervise", PROGRAMS, prefix=prefix)
    daemon.wait_state("cat", "RUNNING")
    daemon.wait_log("programs will not survive a crash of this daemon as its own: ")
    [problem] = daemon.api("/daemon")["problems"]
    assert why in problem
    daemon.rpc.supervisor.sendProcessStdin("cat", "hello\n")
    wait_for(lambda: daemon.read("cat.log") == "hello\n")
    daemon.rpc.supervisor.stopProcess("cat")
    daemon.rpc.supervisor.startProcess("cat")
    assert daemon.stop() == 0


def test_the_journal_fills_up(supervisors: Supervisors) -> None:
    """There is room for some programs, and not for all: those are adopted, and the others told of."""
    need_root("CAP_SYS_ADMIN")
    place = supervisors.place()
    memory = place / "memory"
    memory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", memory], check=True)
    try:
        mount = f'mount --bind {memory} /run; mount -t tmpfs -o ro none /dev/shm; exec "$@"'
        prefix = (need("unshare"), "-m", "sh", "-c", mount, "sh")
        many = "[program:many]\ncommand = sleep 1000\nnumprocs = 200\nprocess_name = p%(process_num)d\nstartsecs = 0\n"
        daemon = supervisors.start("supervise", PROGRAMS, place=place, prefix=prefix)
        pid = daemon.wait_state("cat", "RUNNING")["pid"]
        free = shutil.disk_usage(memory).free
        with (memory / "filler").open("wb") as file:
            file.write(bytes(max(0, free - 8192)))
        daemon.configure(PROGRAMS + many)
        assert daemon.ctl("update").returncode == 0
        wait_for(lambda: list(daemon.states().values()).count("RUNNING") == 202)
        daemon.wait_log("is not remembered beyond a crash")
        assert "No space left on device" in daemon.api("/daemon")["problems"][0]
        daemon.stop(signal.SIGKILL)
        (memory / "filler").unlink()
        other = supervisors.run("supervise", daemon.config, place, prefix=prefix)
        assert other.info("cat")["pid"] == pid
        wait_for(lambda: other.log.count("adopted: ") >= 60)
        assert other.stop() == 0
    finally:
        subprocess.run(["umount", "-l", memory], check=True)


@pytest.mark.parametrize("how", ["removed", "no file"])
def test_a_second_daemon_without_the_first_ones_pidfile(supervisors: Supervisors, how: str) -> None:
    """Nor is there a control socket that would tell: what it would write to does."""
    place = supervisors.place()
    config = place / "s.conf"
    pidfile = place / "main.pid"
    if how == "no file":
        pidfile.mkdir()
    daemon = f"[supervisord]\nlogfile = {place}/main.log\npidfile = {pidfile}\n"
    config.write_text(f"{daemon}[program:cat]\ncommand = cat\nstartsecs = 0\n")
    first = supervisors.run("supervise", config, place, answers=False)
    first.wait_log("entered RUNNING state")
    if how != "no file":
        wait_for(pidfile.read_text)
        pidfile.unlink()
    said = refused(first)
    assert re.search("another daemon uses .*/state, and looks after the programs in it", said)
    assert first.log.count("spawned: 'cat'") == 1
    assert first.stop() == 0
