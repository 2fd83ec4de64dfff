"""What is owed a start gets it from the next daemon. (With real daemons: tests/e2e/test_survival.)"""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from supervise.core.events import Start, State
from supervise.daemon.memory import Memory
from supervise.daemon.owed import make_good, owed
from supervise.daemon.supervisor import Supervisor
from supervise.system.handover import Handover
from supervise.system.journal import Journal
from tests.daemon.running import eventually, group, process, reach, run, sh, supervising
from tests.tools import children

CONFIG = group(sh("p", "exec sleep 1000"), sh("q", "exec sleep 1000"))


@asynccontextmanager
async def remembering(place: Path) -> AsyncIterator[Supervisor]:
    async with supervising(place, memory=Memory(Journal(str(place / "state")), Handover())) as supervisor:
        supervisor.add_group(CONFIG)
        yield supervisor


def owing(place: Path) -> dict[str, bool]:
    """What the next daemon would find."""
    return {record["name"]: record["owed"] for record in Journal(str(place / "state")).records.values()}


def test_only_for_as_long_as_it_lasts(tmp_path: Path) -> None:
    async def story() -> None:
        async with remembering(tmp_path) as supervisor:
            one, other = process(supervisor, "p"), process(supervisor, "p:q")
            supervisor.tell(one, Start())
            supervisor.tell(other, Start())
            await reach(supervisor, "p", State.RUNNING)
            with owed(supervisor, [one]):
                assert owing(tmp_path) == {"p": False, "q": False}, "the next daemon would find it running"
                await supervisor.stop([one])
                assert owing(tmp_path) == {"p": True, "q": False}
                supervisor.tell(one, Start())
                assert owing(tmp_path) == {"p": False, "q": False}, "paid"
            assert owing(tmp_path) == {"p": False, "q": False}
            with owed(supervisor, [one]):
                await supervisor.stop([other])
                pid = one.machine.pid
                supervisor.remove_group("p")
            assert owing(tmp_path) == {}
            if pid is not None:  # nobody else would, now
                os.kill(pid, signal.SIGKILL)
                await eventually(lambda: pid not in children())

    run(story)


def test_the_next_daemon_starts_it(tmp_path: Path) -> None:
    async def first() -> None:
        async with remembering(tmp_path) as supervisor:
            one, other = process(supervisor, "p"), process(supervisor, "p:q")
            for each in (one, other):
                supervisor.tell(each, Start())
            await reach(supervisor, "p", State.RUNNING)
            with owed(supervisor, [one]):
                await supervisor.stop([one, other])
                (tmp_path / "then").write_bytes((tmp_path / "state").read_bytes())
        (tmp_path / "state").write_bytes((tmp_path / "then").read_bytes())

    async def second() -> None:
        async with remembering(tmp_path) as supervisor:
            make_good(supervisor)
            await reach(supervisor, "p", State.RUNNING)
            assert process(supervisor, "p:q").state is State.STOPPED
            assert owing(tmp_path) == {"p": False, "q": False}

    run(first)
    run(second)
