import asyncio
import logging
from pathlib import Path

import pytest

from supervise.config.endings import OnEnd
from supervise.config.model import AutoRestart, Config, DaemonConfig, GroupConfig
from supervise.core.events import Notification, State
from supervise.daemon.endings import Endings
from supervise.daemon.lifecycle import Lifecycle
from supervise.daemon.mainlog import MainLog
from tests.daemon.running import group, process, reach, run, sh, supervising

SLEEP = "exec sleep 1000"
ONCE: dict[str, object] = {"startsecs": 0, "autorestart": AutoRestart.NEVER, "on_exit": OnEnd.SHUTDOWN}


def ends_with(tmp_path: Path, *groups: GroupConfig, by_order: str = "", heard: list[Notification] | None = None) -> int:
    """The exit status of a daemon with these groups, which ends by itself or after `by_order` was stopped. `heard`:
    what listeners of the bus are told."""
    heard = [] if heard is None else heard
    config = Config(daemon=DaemonConfig(), groups=groups, file="/x.conf", here="/")
    found: list[int] = []

    async def apply(_: Config) -> None:
        pass

    async def story() -> None:
        async with supervising(tmp_path) as supervisor:
            life = Lifecycle(supervisor, MainLog(logging.getLogger("nobody")), lambda: config, apply)
            Endings(supervisor, life)
            supervisor.bus.listen(heard.append)
            life.begin(config)
            if by_order:
                await reach(supervisor, by_order, State.RUNNING)
                await supervisor.stop([process(supervisor, by_order)])
                life.shutdown()
            await asyncio.wait_for(life.ended.wait(), 30)
            assert all(one.at_rest for one in supervisor.processes())
            found.append(life.exit_status)

    run(story)
    return found[0]


@pytest.mark.parametrize(("script", "status"), [("exit 3", 3), ("exit 0", 0), ("kill -TERM $$", 143)])
def test_the_main_program_takes_the_daemon_with_it(tmp_path: Path, script: str, status: int) -> None:
    assert ends_with(tmp_path, group(sh("main", script, **ONCE)), group(sh("side", SLEEP))) == status


def test_a_restart_is_no_end(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    script = f"test -e {flag} && exit 0; touch {flag}; exit 5"
    config = sh("main", script, startsecs=0, autorestart=AutoRestart.UNEXPECTED, on_exit=OnEnd.SHUTDOWN)
    assert ends_with(tmp_path, group(config)) == 0


def test_listeners_hear_of_its_end_before_they_hear_of_the_daemons(tmp_path: Path) -> None:
    """So nothing is done in the midst of anything else; at the daemon's start, for one that has ended before that."""
    heard: list[Notification] = []
    ends_with(tmp_path, group(sh("main", "exit 3", **ONCE)), heard=heard)
    types = [each.type for each in heard]
    assert types.index("PROCESS_STATE_EXITED") < types.index("SUPERVISOR_STATE_CHANGE_STOPPING")


@pytest.mark.parametrize(("command", "status"), [("exit 7", 7), ("exit 0", 1)])
def test_giving_up_does_too(tmp_path: Path, command: str, status: int, caplog: pytest.LogCaptureFixture) -> None:
    config = sh("main", command, startsecs=600, startretries=0, on_fatal=OnEnd.SHUTDOWN)
    assert ends_with(tmp_path, group(config)) == status
    assert f"main is FATAL (exit status {command[-1]}): shutting down" in caplog.messages


def test_what_could_not_even_be_spawned(tmp_path: Path) -> None:
    config = sh("main", "true", startretries=0, on_fatal=OnEnd.SHUTDOWN, directory="/no/such")
    assert ends_with(tmp_path, group(config)) == 1


def test_what_is_stopped_by_order_ends_nothing(tmp_path: Path) -> None:
    assert ends_with(tmp_path, group(sh("main", SLEEP, on_exit=OnEnd.SHUTDOWN)), by_order="main") == 0
