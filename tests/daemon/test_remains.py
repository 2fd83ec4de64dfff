"""What a stopped program has left behind."""

import os
import signal
from pathlib import Path

import pytest

from supervise.config.model import StopScope
from supervise.core.events import Start, State
from supervise.daemon.remains import inhabited
from tests.daemon.running import eventually, group, process, reach, run, sh, supervising
from tests.tools import alive


@pytest.mark.parametrize("scope", [StopScope.PROCESS, StopScope.TREE])
def test_it_is_told_and_goes_on(tmp_path: Path, scope: StopScope, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "supervise")

    async def story() -> None:
        script = "sleep 1000 & echo $!; exec sleep 1000"
        programs = sh("p", script, stop_scope=scope), sh("tidy", "exec sleep 1000", group_name="p")
        async with supervising(tmp_path, group(*programs)) as supervisor:
            both = [process(supervisor, "p"), process(supervisor, "p:tidy")]
            for one in both:
                supervisor.tell(one, Start())
                await reach(supervisor, f"p:{one.name}", State.RUNNING)
            await eventually(lambda: both[0].logs.stdout.tail_ring().endswith(b"\n"))
            child = int(both[0].logs.stdout.tail_ring())
            await supervisor.stop(both)
            if scope is StopScope.TREE:
                assert not alive(child)
                return
            await eventually(lambda: bool(both[0].leftovers))
            assert (both[0].leftovers, both[1].leftovers) == ((child,), ())
            assert f"p left processes behind: {child} (sleep); stop_scope=tree would end them" in caplog.messages
            assert alive(child)
            os.kill(child, signal.SIGKILL)

    run(story)


def test_sessions_that_have_somebody() -> None:
    assert os.getpid() in inhabited()[os.getsid(0)]
