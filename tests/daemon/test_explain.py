import asyncio
import json
from pathlib import Path

from supervise.config.model import AutoRestart
from supervise.core.events import Start, State
from supervise.daemon.explain import explain
from supervise.daemon.info import Moment, describe, facts
from supervise.daemon.supervisor import Supervisor
from tests.daemon.running import group, process, reach, run, sh, supervising


def tell(supervisor: Supervisor, name: str) -> dict[str, object]:
    one = process(supervisor, name)
    now = asyncio.get_running_loop().time()
    told = explain(one, describe(facts(one, 999), Moment(now, now)))
    json.dumps(told)
    return told


def test_a_life(tmp_path: Path) -> None:
    async def story() -> None:
        config = sh("p", "echo about to crash >&2; exit 3", startsecs=600, startretries=1)
        async with supervising(tmp_path, group(config)) as supervisor:
            assert tell(supervisor, "p")["summary"] == "not started yet"
            supervisor.tell(process(supervisor, "p"), Start())
            assert tell(supervisor, "p")["summary"] == "about to be spawned"
            await reach(supervisor, "p", State.BACKOFF)
            told = tell(supervisor, "p")
            assert str(told["summary"]).startswith("start 1 of 2 failed: Exited too quickly")
            assert str(told["next"]).startswith("it is started again in ")
            await reach(supervisor, "p", State.FATAL)
            told = tell(supervisor, "p")
            assert str(told["summary"]).startswith("gave up after 2 failed starts")
            assert told["next"] == "nothing, until it is told to start"
            exits = told["exits"]
            assert isinstance(exits, list)
            assert [(end["code"], end["last_lines"]) for end in exits] == [(3, ["about to crash"])] * 2

    run(story)


def test_up_and_down(tmp_path: Path) -> None:
    async def story() -> None:
        config = sh("p", "exec sleep 1000", autorestart=AutoRestart.NEVER, autostart=False)
        async with supervising(tmp_path, group(config)) as supervisor:
            one = process(supervisor, "p")
            assert "autostart is false" in str(tell(supervisor, "p")["summary"])
            supervisor.tell(one, Start())
            await reach(supervisor, "p", State.RUNNING)
            assert f"up with pid {one.machine.pid}" in str(tell(supervisor, "p")["summary"])
            assert tell(supervisor, "p")["next"] == "if it ends: autorestart = false, exitcodes = 0"
            await supervisor.stop([one])
            assert tell(supervisor, "p")["summary"] == "stopped because it was told to"

    run(story)
