"""Beginning, reloading and ending."""

import asyncio
import errno
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from supervise.config.model import Config, DaemonConfig, GroupConfig
from supervise.core.events import DaemonChanged, DaemonState, GroupAdded, Notification, Start, State
from supervise.daemon import lifecycle as lifecycle_module
from supervise.daemon.lifecycle import Lifecycle
from supervise.daemon.mainlog import MainLog
from supervise.daemon.supervisor import Supervisor
from supervise.errors import CommandError, ConfigError, ConfigErrors, Fault
from tests.daemon.running import eventually, group, process, reach, record, run, sh, supervising

SLEEP = "exec sleep 1000"


class Files:
    """What the files say, and what the daemon itself was told to follow."""

    def __init__(self, *groups: GroupConfig, shutdown_timeout: float | None = None) -> None:
        self.groups: tuple[GroupConfig, ...] = groups
        self.daemon = DaemonConfig(shutdown_timeout=shutdown_timeout)
        self.problem = False
        self.applied: list[Config] = []

    def load(self) -> Config:
        if self.problem:
            raise ConfigErrors([ConfigError("expected a number", file="x.conf", line=3)])
        return Config(daemon=self.daemon, groups=self.groups, file="/x.conf", here="/")

    async def apply(self, config: Config) -> None:
        self.applied.append(config)


@asynccontextmanager
async def living(tmp_path: Path, files: Files) -> AsyncIterator[tuple[Supervisor, Lifecycle]]:
    async with supervising(tmp_path) as supervisor:
        main_log = MainLog(logging.getLogger("nobody"))
        life = Lifecycle(supervisor, main_log, files.load, files.apply)
        life.begin(files.load())
        yield supervisor, life


def test_the_beginning_is_told_in_supervisords_order(tmp_path: Path) -> None:
    async def story() -> None:
        files = Files(group(sh("p", SLEEP)), group(sh("idle", SLEEP, autostart=False)))
        async with supervising(tmp_path) as supervisor:
            told: list[Notification] = []
            supervisor.bus.listen(told.append)
            Lifecycle(supervisor, MainLog(logging.getLogger("nobody")), files.load, files.apply).begin(files.load())
            assert told[:3] == [GroupAdded("p"), GroupAdded("idle"), DaemonChanged(DaemonState.RUNNING)]
            await reach(supervisor, "p", State.RUNNING)
            assert process(supervisor, "idle").state is State.STOPPED

    run(story)


def test_shutdown_goes_level_by_level_and_listeners_last(tmp_path: Path) -> None:
    async def story() -> None:
        slow = "trap 'sleep 0.1; exit 0' TERM; while :; do sleep 0.01; done"
        files = Files(
            group(sh("low", SLEEP), priority=1),
            group(sh("high-a", slow), priority=9),
            group(sh("high-b", slow), priority=9),
            group(sh("ear", SLEEP, kind="eventlistener"), kind="pool", priority=-1),
        )
        async with living(tmp_path, files) as (supervisor, life):
            for name in ("low", "high-a", "high-b", "ear"):
                await reach(supervisor, name, State.RUNNING)
            seen = record(supervisor)
            life.shutdown()
            life.shutdown()
            await asyncio.wait_for(life.ended.wait(), 30)
            assert set(seen[:2]) == {"high-a STOPPING", "high-b STOPPING"}
            assert set(seen[2:4]) == {"high-a STOPPED", "high-b STOPPED"}
            assert seen[4:] == ["low STOPPING", "low STOPPED", "ear STOPPING", "ear STOPPED"]

    run(story)


def test_nothing_is_started_while_ending(tmp_path: Path) -> None:
    async def story() -> None:
        deaf = sh("deaf", "trap '' TERM; echo deaf; while :; do sleep 0.02; done", stopwaitsecs=0.5, priority=9)
        files = Files(group(deaf, priority=9), group(sh("low", SLEEP), priority=1))
        async with living(tmp_path, files) as (supervisor, life):
            await reach(supervisor, "low", State.RUNNING)
            await eventually(lambda: b"deaf" in process(supervisor, "deaf").logs.stdout.tail_ring())
            life.shutdown()
            low = process(supervisor, "low")
            os.kill(low.machine.pid or 0, 9)  # it would be restarted, and its turn to stop has not come
            await reach(supervisor, "low", State.STOPPED)
            supervisor.tell(low, Start())
            await asyncio.wait_for(life.ended.wait(), 30)
            assert low.machine.pid is None
            assert low.at_rest

    run(story)


def test_shutdown_timeout_kills_what_is_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        deaf = sh("deaf", "trap '' TERM; echo deaf; while :; do sleep 0.02; done", stopwaitsecs=1000)
        files = Files(group(deaf, priority=9), group(sh("low", SLEEP), priority=1), shutdown_timeout=0.2)
        async with living(tmp_path, files) as (supervisor, life):
            await eventually(lambda: b"deaf" in process(supervisor, "deaf").logs.stdout.tail_ring())
            await reach(supervisor, "low", State.RUNNING)
            life.shutdown()
            await asyncio.wait_for(life.ended.wait(), 30)
            assert process(supervisor, "deaf").machine.status == -9
            assert process(supervisor, "low").state is State.STOPPED
        assert "shutdown_timeout is over after 0.2 seconds, killing what is left" in caplog.messages

    run(story)


def test_long_waits_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level(logging.INFO, "supervise")
    monkeypatch.setattr(lifecycle_module, "DIE_NOTICE", 0.05)

    async def story() -> None:
        script = f"trap '' TERM; echo deaf; while ! test -e {tmp_path}/go; do sleep 0.02; done"
        files = Files(*(group(sh(name, script, stopwaitsecs=600)) for name in "ab"))
        async with living(tmp_path, files) as (supervisor, life):
            for name in "ab":
                await eventually(lambda name=name: b"deaf" in process(supervisor, name).logs.stdout.tail_ring())
            life.shutdown()
            await eventually(lambda: caplog.messages.count("waiting for a, b to die") > 1)
            (tmp_path / "go").touch()
            await asyncio.wait_for(life.ended.wait(), 30)

    run(story)


def test_reload_starts_anew_from_the_new_files(tmp_path: Path) -> None:
    async def story() -> None:
        files = Files(group(sh("a", SLEEP)), group(sh("b", SLEEP)))
        async with living(tmp_path, files) as (supervisor, life):
            await reach(supervisor, "a", State.RUNNING)
            first = process(supervisor, "a").machine.pid
            files.groups = (group(sh("a", SLEEP)), group(sh("c", SLEEP)))
            await asyncio.wait_for(life.reload(wait=True), 30)
            assert sorted(supervisor.groups) == ["a", "c"]
            await reach(supervisor, "a", State.RUNNING)
            await reach(supervisor, "c", State.RUNNING)
            assert process(supervisor, "a").machine.pid != first
            assert [config.groups for config in files.applied] == [files.groups]
            assert supervisor.state is DaemonState.RUNNING

    run(story)


def test_a_reload_starts_programs_whatever_becomes_of_the_daemon_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No descriptor is left for a server, say."""

    async def story() -> None:
        files = Files(group(sh("a", SLEEP)))

        async def fail(_: Config) -> None:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        async with supervising(tmp_path) as supervisor:
            life = Lifecycle(supervisor, MainLog(logging.getLogger("nobody")), files.load, fail)
            life.begin(files.load())
            await reach(supervisor, "a", State.RUNNING)
            await life.reload(wait=True)
            assert supervisor.state is DaemonState.RUNNING
            await reach(supervisor, "a", State.RUNNING)
            assert "the daemon itself could not follow its new configuration" in caplog.messages

    run(story)


def test_a_reload_makes_no_second_copy_of_what_nothing_ends(tmp_path: Path) -> None:
    async def story() -> None:
        deaf = group(sh("deaf", SLEEP, stopsignal=1000, group_name="g"), sh("b", SLEEP, group_name="g"))  # no signal
        files = Files(deaf, group(sh("a", SLEEP)))
        async with living(tmp_path, files) as (supervisor, life):
            for name in ("g:deaf", "g:b", "a"):
                await reach(supervisor, name, State.RUNNING)
            one, before = process(supervisor, "g:deaf"), process(supervisor, "g:b").machine.pid
            pid = one.machine.pid
            assert pid
            await life.reload(wait=True)
            assert process(supervisor, "g:deaf") is one
            assert (one.state, one.machine.pid) == (State.UNKNOWN, pid)
            for name in ("g:b", "a"):
                await reach(supervisor, name, State.RUNNING)
            assert process(supervisor, "g:b").machine.pid != before
            os.kill(pid, signal.SIGKILL)
            await reach(supervisor, "g:deaf", State.STOPPED)

    run(story)


def test_a_reload_that_leaves_a_server_closed_says_so_to_who_waits(tmp_path: Path) -> None:
    async def story() -> None:
        files = Files(group(sh("a", SLEEP)))
        async with living(tmp_path, files) as (supervisor, life):
            await reach(supervisor, "a", State.RUNNING)
            life.unserved = lambda: ("port taken",) if files.applied else ()
            assert "port taken" not in life.problems()
            with pytest.raises(CommandError, match="FAILED: everything has been started anew, but port taken"):
                await life.reload(wait=True)
            assert "port taken" in life.problems()
            await reach(supervisor, "a", State.RUNNING)

    run(story)


def test_a_reload_of_broken_files_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        files = Files(group(sh("a", SLEEP)))
        async with living(tmp_path, files) as (supervisor, life):
            await reach(supervisor, "a", State.RUNNING)
            first = process(supervisor, "a").machine.pid
            files.problem = True
            with pytest.raises(CommandError) as info:
                await life.reload(wait=True)
            assert info.value.fault is Fault.CANT_REREAD
            assert info.value.detail == "x.conf:3: expected a number"
            assert process(supervisor, "a").machine.pid == first
            assert supervisor.state is DaemonState.RUNNING
        assert "reload refused, nothing has been changed: x.conf:3: expected a number" in caplog.messages

    run(story)


def test_a_shutdown_overtakes_a_reload(tmp_path: Path) -> None:
    async def story() -> None:
        deaf = sh("deaf", "trap '' TERM; echo deaf; while :; do sleep 0.02; done", stopwaitsecs=0.3)
        files = Files(group(deaf))
        async with living(tmp_path, files) as (supervisor, life):
            await eventually(lambda: b"deaf" in process(supervisor, "deaf").logs.stdout.tail_ring())
            await life.reload(wait=False)
            assert supervisor.state is DaemonState.RESTARTING
            life.shutdown()
            await asyncio.wait_for(life.ended.wait(), 30)
            assert process(supervisor, "deaf").at_rest
            assert files.applied == []

    run(story)
