"""A second supervisor takes up what a first one, that vanished, has left."""

import dataclasses
import json
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from supervise.config.model import GroupConfig
from supervise.core.events import Start, State, StateChanged
from supervise.daemon.bus import Bus
from supervise.daemon.memory import Memory, fingerprint, is_alive, open_memory
from supervise.daemon.process import Exit, Process
from supervise.daemon.records import FACTS, MACHINE, to_record
from supervise.daemon.supervisor import Supervisor
from supervise.system import journal as journal_module
from supervise.system.handover import Handover
from supervise.system.journal import SCHEMA, Journal, JournalError, boot_id
from tests.daemon.running import eventually, group, process, reach, run, sh, supervising

SLEEP = "exec sleep 1000"


@asynccontextmanager
async def remembering(tmp_path: Path, *groups: GroupConfig) -> AsyncIterator[Supervisor]:
    """A supervisor with a memory in `tmp_path`; it can be followed by another one, with the same processes."""
    memory = Memory(Journal(str(tmp_path / "state")), Handover())
    async with supervising(tmp_path, memory=memory) as supervisor:
        for config in groups:
            supervisor.add_group(config)
        yield supervisor
    memory.close(everything_stopped=True)


def vanish(supervisor: Supervisor) -> None:
    """What remains when a daemon is killed: the records, and the processes."""
    for one in supervisor.processes():
        supervisor._reaper._watched.pop(one.machine.pid or 0, None)
        if one.timer is not None:
            one.timer.cancel()
        one.timer = None


def records(tmp_path: Path) -> dict[str, Any]:
    return {record["name"]: record for record in Journal(str(tmp_path / "state")).records.values()}


def test_every_step_is_written_down_before_its_effects(tmp_path: Path) -> None:
    async def story() -> None:
        async with remembering(tmp_path, group(sh("p", SLEEP, startsecs=0.2))) as supervisor:
            one = process(supervisor, "p")
            supervisor.tell(one, Start())
            found = records(tmp_path)["p"]
            assert isinstance(found, dict)
            assert (found["state"], found["wanted"], found["pid"]) == (State.STARTING, True, None)
            await eventually(lambda: one.machine.pid is not None)
            found = records(tmp_path)["p"]
            assert isinstance(found, dict)
            assert (found["pid"], found["start_time"]) == (one.machine.pid, one.start_time)
            assert is_alive(one)
            await reach(supervisor, "p", State.RUNNING)
            assert json.loads(json.dumps(to_record(one))) == records(tmp_path)["p"]
        assert not (tmp_path / "state").exists()

    run(story)


def test_what_is_encoded_once_follows_every_change(tmp_path: Path) -> None:
    """The part of a record that changes rarely: where its logs go, how it is to be stopped, how it has ended."""

    async def story() -> None:
        async with remembering(tmp_path, group(sh("p", SLEEP, stdout_logfile=str(tmp_path / "a.log")))) as supervisor:
            one = process(supervisor, "p")

            def check(**expected: object) -> None:
                supervisor.memory.remember(one)
                found = records(tmp_path)["p"]
                assert json.loads(json.dumps(to_record(one))) == found
                assert {name: found[name] for name in expected} == expected

            async def run_once() -> None:
                supervisor.tell(one, Start())
                await reach(supervisor, "p", State.RUNNING)
                await supervisor.stop([one])
                await eventually(lambda: not any(one.logs.inodes().values()))  # the log thread closes them

            check(files={"stdout": [str(tmp_path / "a.log"), 52428800, 10]}, exits=[])
            changed = dataclasses.replace(one.config, stdout_logfile=str(tmp_path / "b.log"), stopwaitsecs=7.0)
            one.machine.config = changed
            one.logs.reconfigure(changed)
            check(files={"stdout": [str(tmp_path / "b.log"), 52428800, 10]}, stop=[15, 7.0, False, "process"])
            one.machine.config = dataclasses.replace(changed, stopasgroup=True)
            check(stop=[15, 7.0, True, "process"])
            for times in (1, 2, 3):
                await run_once()
                check()
                assert len(records(tmp_path)["p"]["exits"]) == times

    run(story)


def test_the_next_one_goes_on(tmp_path: Path) -> None:
    configs = [
        group(sh("up", "echo one; read x; echo two; exec sleep 1000", stdout_logfile=str(tmp_path / "up.log"))),
        group(sh("down", SLEEP, autostart=False)),
        group(sh("stopped", SLEEP)),
        group(sh("failing", "exit 3", startsecs=600, startretries=100)),
        group(sh("dies", SLEEP)),
    ]

    async def story() -> None:
        journal = Journal(str(tmp_path / "state"))
        before: dict[str, dict[str, object]] = {}

        def stand(one: Process) -> dict[str, object]:
            return {name: getattr(one.machine, name) for name in MACHINE} | {name: getattr(one, name) for name in FACTS}

        async with supervising(tmp_path, memory=Memory(journal, Handover())) as first:
            for config in configs:
                first.add_group(config)
            for name in ("up", "stopped", "failing", "dies"):
                first.tell(process(first, name), Start())
            for name in ("up", "stopped", "dies"):
                await reach(first, name, State.RUNNING)
            await first.stop([process(first, "stopped")])
            await reach(first, "failing", State.BACKOFF)
            before = {one.name: stand(one) for one in first.processes()}
            vanish(first)
            dead = process(first, "dies").machine.pid or 0
            os.kill(dead, signal.SIGKILL)
            os.waitpid(dead, 0)
            memory = Memory(Journal(str(tmp_path / "state")), Handover())
            second = Supervisor(first.logs, first._reaper, first.bus, memory)
            for config in configs:
                second.add_group(config)
            assert memory.recalled == {(name, name) for name in ("up", "stopped", "failing", "dies")}
            for name in ("up", "stopped", "failing"):
                assert stand(process(second, name)) == before[name]
            up = process(second, "up")
            assert up.child is not None
            assert up.child.stdin is not None
            up.child.stdin.write(up.child.pid, b"go\n")
            await eventually(lambda: (tmp_path / "up.log").read_bytes().endswith(b"two\n"))
            assert (tmp_path / "up.log").read_bytes() == b"one\ntwo\n"
            # what ended meanwhile is handled by its policy: an unknown end is unexpected
            await reach(second, "dies", State.RUNNING)
            assert process(second, "dies").machine.pid not in (dead, None)
            assert [end.status for end in process(second, "dies").exits] == [None]
            await second.stop(list(second.processes()))
            for name in list(second.groups):
                second.remove_group(name)
            for one in first.processes():
                one.machine.state, one.machine.pid, one.machine.deadline = State.STOPPED, None, None

    run(story)


class Overlooking(Handover):
    """It has looked at all of /proc while nobody's pipe was where it belongs."""

    def _holders(self, inode: int) -> tuple[str, ...]:
        return ()


def test_a_pipe_that_was_elsewhere_is_looked_for_with_its_program(tmp_path: Path) -> None:
    config = group(sh("up", "echo one; read x; echo two; exec sleep 1000", stdout_logfile=str(tmp_path / "up.log")))

    async def story() -> None:
        journal = Journal(str(tmp_path / "state"))
        async with supervising(tmp_path, memory=Memory(journal, Handover())) as first:
            first.add_group(config)
            first.tell(process(first, "up"), Start())
            await reach(first, "up", State.RUNNING)
            await eventually(lambda: (tmp_path / "up.log").read_bytes() == b"one\n")
            vanish(first)
            memory = Memory(Journal(str(tmp_path / "state")), Overlooking())
            second = Supervisor(first.logs, first._reaper, first.bus, memory)
            second.add_group(config)
            up = process(second, "up")
            assert [len(pipes) for pipes in up.logs.inodes().values()] == [1, 1]
            await second.stop([up])
            for one in first.processes():
                one.machine.state, one.machine.pid, one.machine.deadline = State.STOPPED, None, None

    run(story)


def test_a_child_that_nobody_wrote_down_is_found(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "supervise")

    async def story() -> None:
        journal = Journal(str(tmp_path / "state"))
        config = group(sh("p", "echo one; exec sleep 1000", stdout_logfile=str(tmp_path / "log")))
        async with supervising(tmp_path, memory=Memory(journal, Handover())) as first:
            first.add_group(config)
            one = process(first, "p")
            first.tell(one, Start())
            await reach(first, "p", State.RUNNING)
            pid = one.machine.pid
            vanish(first)
            slot = next(iter(first.memory._slots.values()))
            unborn = dict(to_record(one)) | {"pid": None, "start_time": None, "state": int(State.STARTING)}
            journal.write(slot, unborn)
            second = Supervisor(
                first.logs, first._reaper, first.bus, Memory(Journal(str(tmp_path / "state")), Handover())
            )
            second.add_group(config)
            assert process(second, "p").machine.pid == pid
            assert f"adopted: 'p' with pid {pid}, which was just being spawned" in caplog.messages
            assert sum(message.startswith("adopted") for message in caplog.messages) == 1  # so its end is told once
            await reach(second, "p", State.RUNNING)
            await second.stop(list(second.processes()))
            second.remove_group("p")
            one.machine.state, one.machine.pid = State.STOPPED, None

    run(story)


def test_options_that_changed_meanwhile_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        memory = Memory(Journal(str(tmp_path / "state")), Handover())
        async with supervising(tmp_path, memory=memory) as first:
            first.add_group(group(sh("p", SLEEP)))
            one = process(first, "p")
            first.tell(one, Start())
            await reach(first, "p", State.RUNNING)
            vanish(first)
            again = Memory(Journal(str(tmp_path / "state")), Handover())
            second = Supervisor(first.logs, first._reaper, first.bus, again)
            second.add_group(group(sh("p", SLEEP, umask=0o77)))
            assert "p runs with options that have changed since: update restarts it" in caplog.messages
            await second.stop(list(second.processes()))
            second.remove_group("p")
            one.machine.state, one.machine.pid = State.STOPPED, None

    run(story)


def test_listeners_are_told_what_the_dead_daemon_had_written_down_and_not_told(tmp_path: Path) -> None:
    async def story() -> None:
        journal, seen = Journal(str(tmp_path / "state")), []
        async with supervising(tmp_path, memory=Memory(journal, Handover())) as first:
            first.heard = lambda type: type == "PROCESS_STATE_RUNNING"
            first.add_group(group(sh("p", SLEEP)))
            one = process(first, "p")
            told: list[Any] = []

            def tell(each: object) -> None:
                if isinstance(each, StateChanged) and each.new is State.RUNNING:
                    told.append(records(tmp_path)["p"])

            first.bus.listen(tell)
            first.tell(one, Start())
            await reach(first, "p", State.RUNNING)
            [at_that_moment] = told
            assert "untold" not in records(tmp_path)["p"]
            journal.write(1, at_that_moment)
            vanish(first)
            bus = Bus()
            bus.listen(lambda each: seen.append(each) if isinstance(each, StateChanged) else None)
            second = Supervisor(first.logs, first._reaper, bus, Memory(Journal(str(tmp_path / "state")), Handover()))
            second.add_group(group(sh("p", SLEEP)))
            assert [(each.old, each.new, each.pid) for each in seen] == [
                (State.STARTING, State.RUNNING, one.machine.pid)
            ]
            await second.stop(list(second.processes()))
            second.remove_group("p")
            one.machine.state, one.machine.pid = State.STOPPED, None

    run(story)


def test_a_fingerprint_is_of_what_is_made_use_of() -> None:
    plain = sh("p", SLEEP)
    assert fingerprint(plain) == fingerprint(sh("p", SLEEP, priority=7, stdout_logfile="/tmp/x"))
    assert len({fingerprint(each) for each in (plain, sh("p", SLEEP, umask=0o77), sh("p", "exit 0"))}) == 3


def test_names_that_are_too_long_are_told_and_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        async with remembering(tmp_path, group(sh("n" * 3000, SLEEP))) as supervisor:
            supervisor.tell(process(supervisor, "n" * 3000), Start())
            await reach(supervisor, "n" * 3000, State.RUNNING)
            assert "does not fit" in supervisor.memory.problem
            assert caplog.text.count("is not remembered beyond a crash") == 1

    run(story)


def test_where_there_is_no_room_for_all_the_present_run_counts(tmp_path: Path) -> None:
    """Never what was true of an earlier one: the next daemon would start a second copy beside this."""

    async def story() -> None:
        name = "n" * 300
        async with remembering(tmp_path, group(sh(name, SLEEP))) as supervisor:
            one, memory = process(supervisor, name), supervisor.memory
            supervisor.tell(one, Start())
            await reach(supervisor, name, State.RUNNING)
            for _ in range(5):
                one.add_exit(Exit(0.0, 1, "x" * 200, False, 0.0, ()))
            memory.remember(one)
            found = records(tmp_path)[name]
            assert (found["pid"], found["start_time"], found["exits"]) == (one.machine.pid, one.start_time, [])
            assert found["pipes"] == one.logs.inodes()
            assert memory.problem == ""
            at_that_moment = StateChanged("g", name, State.STARTING, State.RUNNING, True, 0, 1, 0.0)
            one.untold = (at_that_moment,) * 100
            memory.remember(one)
            assert records(tmp_path) == {}
            assert "does not fit" in memory.problem
            one.untold = ()
            memory.remember(one)
            assert records(tmp_path)[name]["pid"] == one.machine.pid

    run(story)


def test_without_room_it_runs_without_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "GROWTH", 1 << 40)  # more slots than any file system has room for
    memory = open_memory(str(tmp_path / "full.pid"), Handover())
    assert memory.problem
    assert "programs will not survive a crash of this daemon as its own" in caplog.text
    memory.close(everything_stopped=True)


def test_journals_of_another_boot_or_version(tmp_path: Path) -> None:
    pidfile = str(tmp_path / "x.pid")
    memory = open_memory(pidfile, Handover())
    assert memory._journal is not None
    path = memory._journal.path
    memory._journal.write(memory._journal.allocate(), {"group": "g", "name": "n"})
    memory.close(everything_stopped=False)
    again = open_memory(pidfile, Handover())
    assert again.recall("g", "n") is not None
    again.close(everything_stopped=False)

    journal = Journal(path)
    journal.begin({"boot": "another"})
    journal.close(remove=False)
    other = open_memory(pidfile, Handover())
    assert other.recall("g", "n") is None
    other.close(everything_stopped=False)

    journal = Journal(path)
    journal.begin({"boot": boot_id(), "schema": SCHEMA + 1})
    journal.close(remove=False)
    with pytest.raises(JournalError, match="newer version"):
        open_memory(pidfile, Handover())
    Journal(path).close(remove=True)


def test_a_journal_made_anew_has_also_what_was_set_aside_and_removed(tmp_path: Path) -> None:
    pidfile = str(tmp_path / "pid")
    dead = open_memory(pidfile, Handover())
    assert dead._journal is not None
    record = {"group": "g", "name": "n", "pid": 7}
    dead._journal.write(dead._journal.allocate(), record)
    dead.close(everything_stopped=False)
    memory = open_memory(pidfile, Handover())
    assert memory.set_aside() == [record]
    assert memory.path is not None
    memory.dismiss("web")
    memory.dismiss("web")
    memory.dismiss("w" * 10_000)
    assert memory.dismissed == {"web"}, "there is no room for more"
    os.unlink(memory.path)
    assert memory.renew([])
    assert [record["group"] for record in Journal(memory.path).records.values()] == ["g", "web"]
    memory.let_go(record)
    memory.close(everything_stopped=False)
    memory = open_memory(pidfile, Handover())
    assert memory.dismissed == {"web"}
    assert memory.set_aside() == []
    memory.readmit("web")
    assert memory.path is not None
    assert list(Journal(memory.path).records.values()) == []
    memory.close(everything_stopped=True)


def test_who_writes_there_already(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another daemon, or only what is left of the one whose lock we have."""
    monkeypatch.setattr(journal_module, "PATIENCE", 0.1)
    pidfile = str(tmp_path / "pid")
    first = open_memory(pidfile, Handover())
    with pytest.raises(JournalError, match=r"another daemon uses .*/state, and looks after the programs in it"):
        open_memory(pidfile, Handover())
    heir = open_memory(pidfile, Handover(), heir=True)
    assert heir.path == first.path
    heir.close(everything_stopped=False)
    first.close(everything_stopped=False)
    open_memory(pidfile, Handover()).close(everything_stopped=True)
