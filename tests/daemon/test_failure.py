"""Ending processes that are of no use."""

import signal
from pathlib import Path

from supervise.config.model import AutoRestart
from supervise.core.events import Start, State
from supervise.daemon.failure import fail
from tests.daemon.running import eventually, group, process, reach, run, sh, supervising


def test_the_restart_policy_decides(tmp_path: Path) -> None:
    async def story() -> None:
        polite = "trap 'exit 0' TERM; echo; while :; do sleep 0.01; done"
        never = sh("never", polite, autorestart=AutoRestart.NEVER)
        unexpected = sh("unexpected", polite)
        async with supervising(tmp_path, group(never), group(unexpected)) as supervisor:
            for name in ("never", "unexpected"):
                one = process(supervisor, name)
                supervisor.tell(one, Start())
                await reach(supervisor, name, State.RUNNING)
                await eventually(lambda one=one: one.logs.stdout.tail_ring() == b"\n")
                pid = one.machine.pid
                fail(supervisor, one, "of no use")
                fail(supervisor, one, "still of no use")  # it is ending already
                if name == "never":
                    await reach(supervisor, name, State.EXITED)
                    assert (one.machine.reason, one.machine.status) == ("of no use", 0)
                    assert not one.exits[-1].expected
                else:
                    await eventually(lambda one=one, pid=pid: one.machine.pid not in (None, pid))
                    assert one.restarts == 1
                assert one.failure == ""
            fail(supervisor, process(supervisor, "never"), "there is nothing to end")
            assert process(supervisor, "never").failure == ""

    run(story)


def test_a_process_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    async def story() -> None:
        deaf = sh(
            "p", "trap '' TERM; echo; while :; do sleep 0.05; done", stopwaitsecs=0.1, autorestart=AutoRestart.NEVER
        )
        async with supervising(tmp_path, group(deaf)) as supervisor:
            one = process(supervisor, "p")
            supervisor.tell(one, Start())
            await eventually(lambda: one.logs.stdout.tail_ring() == b"\n")
            await reach(supervisor, "p", State.RUNNING)
            fail(supervisor, one, "of no use")
            await reach(supervisor, "p", State.EXITED)
            assert one.machine.status == -signal.SIGKILL

    run(story)
