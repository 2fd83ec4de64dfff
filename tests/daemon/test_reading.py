import asyncio
from collections.abc import Awaitable
from contextlib import aclosing
from pathlib import Path

import pytest

from supervise.core.events import Start, State
from supervise.daemon import reading
from supervise.daemon.channel import Channel
from supervise.daemon.supervisor import Supervisor
from supervise.errors import CommandError, Fault
from tests.daemon.running import group, process, reach, run, sh, supervising


async def fault(reading_it: Awaitable[object]) -> Fault:
    with pytest.raises(CommandError) as info:
        await reading_it
    return info.value.fault


async def written(supervisor: Supervisor) -> Channel:
    supervisor.tell(process(supervisor, "p"), Start())
    await reach(supervisor, "p", State.EXITED)
    return process(supervisor, "p").logs.stdout


def test_a_file(tmp_path: Path) -> None:
    async def story() -> None:
        config = sh("p", "echo one; echo two", startsecs=0, stdout_logfile=str(tmp_path / "out"))
        async with supervising(tmp_path, group(config)) as supervisor:
            out = await written(supervisor)
            assert await reading.read(out, 0, 0) == b"one\ntwo\n"
            assert await reading.read(out, -4, 0) == b"two\n"
            assert await reading.read(out, 1, 2) == b"ne"
            assert await reading.read(out, 100, 0) == b""
            assert await fault(reading.read(out, -4, 1)) is Fault.BAD_ARGUMENTS
            assert await fault(reading.read(out, 0, -1)) is Fault.BAD_ARGUMENTS
            assert await reading.tail(out, 0, 4) == (b"two\n", 8, True)
            assert await reading.tail_lines(out, 1) == b"two\n"
            assert await fault(reading.tail_lines(out, -1)) is Fault.BAD_ARGUMENTS
            (tmp_path / "out").unlink()
            assert await fault(reading.read(out, 0, 0)) is Fault.NO_FILE
            assert await reading.tail(out, 0, 4) == (b"", 0, False)
            assert await fault(reading.tail_lines(out, 1)) is Fault.NO_FILE

    run(story)


def test_no_log_at_all(tmp_path: Path) -> None:
    async def story() -> None:
        async with supervising(tmp_path, group(sh("p", "echo one", startsecs=0))) as supervisor:
            out = await written(supervisor)
            assert await fault(reading.read(out, 0, 0)) is Fault.NO_FILE
            assert await reading.tail(out, 0, 10) == (b"", 0, False)
            assert await fault(reading.tail_lines(out, 1)) is Fault.NO_FILE
            with pytest.raises(CommandError, match="NO_FILE"):
                reading.follow(out, 10)

    run(story)


def test_what_cannot_be_read_back_comes_from_memory(tmp_path: Path) -> None:
    async def story() -> None:
        config = sh("p", "echo one; echo two", startsecs=0, stdout_logfile="/dev/null")
        async with supervising(tmp_path, group(config)) as supervisor:
            out = await written(supervisor)
            assert await reading.read(out, -4, 0) == b"two\n"
            assert await reading.read(out, 0, 3) == b"one"
            assert await reading.tail(out, 0, 4) == (b"two\n", 8, True)
            assert await reading.tail_lines(out, 1) == b"two\n"

    run(story)


def test_answers_are_bounded(tmp_path: Path) -> None:
    async def story() -> None:
        big = tmp_path / "out"
        async with supervising(tmp_path, group(sh("p", "true", startsecs=0, stdout_logfile=str(big)))) as supervisor:
            out = await written(supervisor)
            with big.open("wb") as file:
                file.truncate(reading.MOST + 1)
            assert await fault(reading.read(out, 0, 0)) is Fault.FAILED
            assert len(await reading.read(out, 1, 0)) == reading.MOST
            assert len((await reading.tail(out, 0, 10 * reading.MOST))[0]) == reading.MOST

    run(story)


def test_following(tmp_path: Path) -> None:
    async def story() -> None:
        config = sh("p", "echo one; echo two; read x; echo three", startsecs=0, stdout_logfile=str(tmp_path / "out"))
        async with supervising(tmp_path, group(config)) as supervisor:
            one = process(supervisor, "p")
            supervisor.tell(one, Start())
            await reach(supervisor, "p", State.RUNNING)
            got = b""
            async with asyncio.timeout(30), aclosing(reading.follow(one.logs.stdout, 1024)) as items:
                async for item in items:
                    assert isinstance(item, bytes)
                    got += item
                    if got == b"one\ntwo\n":
                        assert one.child is not None
                        assert one.child.stdin is not None
                        one.child.stdin.write(one.child.pid, b"go\n")
                    if got.endswith(b"three\n"):
                        break
            assert got == b"one\ntwo\nthree\n"

    run(story)
