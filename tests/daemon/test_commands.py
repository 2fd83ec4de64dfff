"""The verbs as adapters call them."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from supervise.config.model import Config, DaemonConfig, GroupConfig
from supervise.core.events import RemoteCommunication, State
from supervise.daemon.commands import Commands
from supervise.daemon.lifecycle import Lifecycle
from supervise.daemon.mainlog import MainLog
from supervise.daemon.update import Updater
from supervise.errors import CommandError, Fault, NeverError, NotInTimeError
from tests.daemon.running import eventually, group, reach, run, sh, supervising

SLEEP = "exec sleep 1000"


@asynccontextmanager
async def commanding(tmp_path: Path, *groups: GroupConfig) -> AsyncIterator[Commands]:
    config = Config(daemon=DaemonConfig(identifier="me"), groups=groups, file="/x.conf", here="/")

    async def apply(config: Config) -> None:
        pass

    async with supervising(tmp_path) as supervisor:
        main_log = MainLog(logging.getLogger("nobody"))
        lifecycle = Lifecycle(supervisor, main_log, lambda: config, apply)
        commands = Commands(supervisor, lifecycle, Updater(supervisor, config, lambda: config))
        lifecycle.begin(config)
        yield commands


def fault(call: Callable[[], object]) -> Fault:
    with pytest.raises(CommandError) as info:
        call()
    return info.value.fault


async def refusal(call: Coroutine[None, None, object]) -> Fault:
    with pytest.raises(CommandError) as info:
        await call
    return info.value.fault


def test_what_is(tmp_path: Path) -> None:
    async def story() -> None:
        idle = group(sh("b", SLEEP, autostart=False, group_name="g"), sh("a", SLEEP, autostart=False, group_name="g"))
        async with commanding(tmp_path, idle, group(sh("p", SLEEP))) as commands:
            await commands.wait_for("p", "running", 30)
            assert [info.namespec for info in commands.processes()] == ["g:a", "g:b", "p"]
            assert [info.namespec for info in commands.processes(["p", "g:b"])] == ["g:b", "p"]
            assert fault(lambda: commands.processes(["nobody"])) is Fault.BAD_NAME
            assert commands.info("p").statename == "RUNNING"
            assert fault(lambda: commands.info("g:*")) is Fault.BAD_NAME
            assert commands.explain("p")["summary"]
            told = commands.daemon_info()
            assert told.counts == {"RUNNING": 1, "STOPPED": 2}
            assert (told.identification, told.config_file, told.statename) == ("me", "/x.conf", "RUNNING")
            assert commands.state == (1, "RUNNING")
            assert [(item.config.name, item.group, item.inuse) for item in commands.config_info()] == [
                ("a", "g", True),
                ("b", "g", True),
                ("p", "p", True),
            ]
            json.dumps(commands.effective_config())
            assert commands.has_group("g")
            assert not commands.has_group("x")

    run(story)


def test_waiting(tmp_path: Path) -> None:
    async def story() -> None:
        failing = sh("bad", "exit 1", startretries=0, startsecs=600)
        async with commanding(tmp_path, group(sh("p", SLEEP)), group(failing)) as commands:
            assert (await commands.wait_for("p", "running", 30)).statename == "RUNNING"
            with pytest.raises(NotInTimeError, match=r"p is RUNNING, not stopped, after 0\.05 seconds"):
                await commands.wait_for("p", "stopped", 0.05)
            with pytest.raises(NeverError, match="SPAWN_ERROR: bad is FATAL: Exited too quickly"):
                await commands.wait_for("bad", "running", 30)
            with pytest.raises(CommandError, match="BAD_ARGUMENTS"):
                await commands.wait_for("p", "happy", 1)
            stopping = asyncio.ensure_future(commands.wait_for("p", "stopped", 30))
            await commands.stop(["p"])
            assert (await stopping).statename == "STOPPED"
            waiting = asyncio.ensure_future(commands.wait_for("p", "running", 30))
            await asyncio.sleep(0)
            await commands.remove("p")
            with pytest.raises(CommandError, match="BAD_NAME: p"):
                await waiting

    run(story)


def test_waiting_for_the_end_of_what_nothing_ends(tmp_path: Path) -> None:
    async def story() -> None:
        async with commanding(tmp_path, group(sh("p", SLEEP, stopsignal=1000))) as commands:  # no such signal
            await commands.wait_for("p", "running", 30)
            await commands.stop(["p"])
            with pytest.raises(NeverError, match="FAILED: p is UNKNOWN: signal 1000 could not be sent"):
                await commands.wait_for("p", "stopped", 30)

    run(story)


def test_stdin(tmp_path: Path) -> None:
    async def story() -> None:
        echo = sh("p", "read line; echo got $line; exec sleep 1000", stdout_logfile=str(tmp_path / "out"))
        closed = sh("closed", "exec <&-; echo closed; exec sleep 1000", stdout_logfile=str(tmp_path / "closed"))
        async with commanding(tmp_path, group(echo), group(closed), group(sh("idle", SLEEP, autostart=False))) as c:
            await c.wait_for("p", "running", 30)
            await c.send_stdin("p", b"hello\n")
            while b"got hello" not in await c.read_log("p", "stdout", 0, 0):
                await asyncio.sleep(0.01)
            while b"closed" not in await c.read_log("closed", "stdout", 0, 0):
                await asyncio.sleep(0.01)
            assert await refusal(c.send_stdin("idle", b"x")) is Fault.NOT_RUNNING
            assert await refusal(c.send_stdin("closed", b"x")) is Fault.NO_FILE
            assert await refusal(c.send_stdin("p", b"x" * (1 << 21))) is Fault.FAILED
            await c.send_stdin("p", b"x" * (1 << 20))
            assert await refusal(c.send_stdin("p", b"x" * (1 << 20))) is Fault.FAILED

    run(story)


def test_logs(tmp_path: Path) -> None:
    async def story() -> None:
        config = sh("p", "echo one; exec sleep 1000", stdout_logfile=str(tmp_path / "out"))
        async with commanding(tmp_path, group(config)) as commands:
            await commands.wait_for("p", "running", 30)
            await eventually(lambda: (tmp_path / "out").read_bytes() == b"one\n")
            assert await commands.tail_log("p", "stdout", 0, 100) == (b"one\n", 4, False)
            assert await commands.tail_lines("p", "stdout", 5) == b"one\n"
            assert [result.status for result in await commands.rotate_logs(["p"])] == [Fault.SUCCESS]
            assert (tmp_path / "out.1").read_bytes() == b"one\n"
            await commands.stop(["p"])
            (tmp_path / "out").write_bytes(b"left\n")
            assert [result.status for result in await commands.clear_logs(["p"])] == [Fault.SUCCESS]
            assert (tmp_path / "out").read_bytes() == b""
            for bad, expected in [(("p", "stdfoo"), Fault.BAD_ARGUMENTS), (("x", "stdout"), Fault.BAD_NAME)]:
                with pytest.raises(CommandError) as info:
                    await commands.read_log(*bad, 0, 0)
                assert info.value.fault is expected
            with pytest.raises(CommandError, match="NO_FILE"):
                await commands.clear_main_log()

    run(story)


def test_events_reach_subscribers(tmp_path: Path) -> None:
    async def story() -> None:
        async with commanding(tmp_path) as commands:
            with commands.events() as subscription:
                commands.send_event(RemoteCommunication("kind", "data"))
                async for item in subscription:
                    assert item == RemoteCommunication("kind", "data")
                    break

    run(story)


def test_nothing_but_reading_while_it_ends(tmp_path: Path) -> None:
    async def story() -> None:
        async with commanding(tmp_path, group(sh("p", SLEEP))) as commands:
            await reach(commands.supervisor, "p", State.RUNNING)
            commands.shutdown()
            assert commands.processes()
            assert fault(commands.shutdown) is Fault.SHUTDOWN_STATE
            for call in (
                lambda: commands.start(["p"]),
                lambda: commands.stop(["p"]),
                lambda: commands.restart(["p"]),
                lambda: commands.signal(["p"], "HUP"),
                commands.update,
                commands.reread,
                commands.reload,
                lambda: commands.add("p"),
                lambda: commands.remove("p"),
            ):
                with pytest.raises(CommandError) as info:
                    await call()
                assert info.value.fault is Fault.SHUTDOWN_STATE

    run(story)
