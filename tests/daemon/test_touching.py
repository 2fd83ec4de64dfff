"""Files that are there to be seen: made soon, after programs, and not for what is gone."""

import asyncio
import os
from pathlib import Path

from supervise.core.events import State
from supervise.daemon.logs import Logs
from supervise.daemon.sinks import Sink
from supervise.daemon.touching import SOME
from tests.daemon.running import eventually, group, run, sh, supervising


def sinks(logs: Logs, place: Path, count: int) -> list[Sink]:
    return [logs.sinks.acquire(f"{place}/log{number}", 0, 0) for number in range(count)]


def test_files_are_made_soon_and_in_any_number(tmp_path: Path) -> None:
    async def story() -> None:
        async with supervising(tmp_path / "auto") as supervisor:
            logs = supervisor.logs
            some = sinks(logs, tmp_path, 2 * SOME + 3)
            for sink in (*some, *some):
                logs.touching.add(sink)
            assert os.listdir(tmp_path) == []
            await eventually(lambda: len(os.listdir(tmp_path)) == len(some))
            (late,) = sinks(logs, tmp_path / "sub", 1)
            (tmp_path / "sub").mkdir()
            logs.touching.add(late)
            await eventually(lambda: os.path.exists(late.path))
            logs.sinks.release_all()

    run(story)


def test_what_is_more_urgent_comes_first(tmp_path: Path) -> None:
    async def story() -> None:
        async with supervising(tmp_path / "auto") as supervisor:
            logs = supervisor.logs
            kept, gone = sinks(logs, tmp_path, 2)
            logs.touching.hold()
            logs.touching.add(kept)
            logs.touching.add(gone)
            await asyncio.sleep(0.05)
            passed = logs.loop.create_future()
            logs.pump.call(lambda _: logs.post(lambda: passed.set_result(None)))
            await passed
            assert os.listdir(tmp_path) == []
            logs.sinks.release(gone)
            logs.touching.proceed()
            await eventually(lambda: os.path.exists(kept.path))
            logs.touching.hold()
            logs.touching.proceed()
            await logs.order(kept, lambda: None)
            assert os.listdir(tmp_path) == ["log0"], "nothing is made for what was given up meanwhile"
            logs.sinks.release(kept)

    run(story)


def test_programs_come_before_their_files_and_have_them_in_the_end(tmp_path: Path) -> None:
    silent = group(
        *(sh(f"p{n}", "exec sleep 1000", group_name="g", stdout_logfile=f"{tmp_path}/{n}") for n in range(9))
    )

    async def story() -> None:
        async with supervising(tmp_path / "auto", silent) as supervisor:
            supervisor.autostart(supervisor.processes())
            everybody = list(supervisor.processes())
            await eventually(lambda: all(one.state is State.RUNNING for one in everybody))
            await eventually(lambda: len(os.listdir(tmp_path)) == len(everybody))

    run(story)
