"""What a program has started, found and ended."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from supervise.config.model import StopScope
from supervise.core.events import Start, State
from supervise.daemon.process import Process
from supervise.daemon.trees import Trees
from supervise.system.cgroup import name_of
from supervise.system.journal import start_time, ticks_now
from supervise.system.tree import MARK, Session
from tests.daemon.running import eventually, group, process, reach, run, sh, supervising
from tests.tools import alive, need_cgroup


def started(place: Path, scope: StopScope, script: str = "env; exec sleep 1000") -> tuple[str, bool, bool]:
    """Its environment, whether it has a cgroup of its own, and whether that is gone in the end."""
    seen: list[tuple[str, bool, bool]] = []

    async def story() -> None:
        async with supervising(place, group(sh("p", script, stop_scope=scope))) as supervisor:
            one = process(supervisor, "p")
            supervisor.tell(one, Start())
            await reach(supervisor, "p", State.RUNNING)
            await eventually(lambda: b"SUPERVISOR_ENABLED" in one.logs.stdout.tail_ring())
            own = name_of(one.machine.pid or 0) != name_of(os.getpid())
            assert own == (one.cgroup is not None)
            await supervisor.stop([one])
            gone = one.cgroup is None or not os.path.exists(one.cgroup.path)
            seen.append((one.logs.stdout.tail_ring().decode(), own, gone))

    run(story)
    return seen[0]


def forget(one: Process) -> None:
    assert one.sweeper is not None
    one.sweeper.close()
    one.sweeper = None


def test_programs_of_other_scopes_are_as_they_were(tmp_path: Path) -> None:
    environment, own, _ = started(tmp_path, StopScope.PROCESS)
    assert MARK not in environment
    assert not own


def test_tree_scope_means_a_cgroup(tmp_path: Path) -> None:
    need_cgroup()
    environment, own, gone = started(tmp_path, StopScope.TREE)
    assert MARK not in environment
    assert own
    assert gone


def test_a_mark_of_our_own_is_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of ours has started this daemon: what it starts is not that program's."""
    monkeypatch.setenv(MARK, "supervise-me-web")
    Trees("other", lambda _: None)
    assert os.environ[MARK] == "supervise-me-web", "but for other daemons it counts"
    Trees("me", lambda _: None)
    assert MARK not in os.environ


@pytest.mark.parametrize("leads", [True, False])
def test_a_session_whose_number_is_another_ones_by_now(tmp_path: Path, leads: bool) -> None:
    """It was empty when ours had ended, and a stranger got its number."""

    async def story() -> None:
        script = "exec sleep 1000" if leads else "sleep 1000 & echo $!"
        command = ["sh", "-c", script]
        begun = ticks_now()
        with subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, text=True) as stranger:
            assert stranger.stdout is not None
            pid = stranger.pid if leads else int(stranger.stdout.readline())
            stranger.stdout.close()
            start = start_time(stranger.pid) if leads else 1
            if not leads:
                stranger.wait()
            try:
                async with supervising(tmp_path, group(sh("p", "exit", stop_scope=StopScope.TREE))) as supervisor:
                    one = process(supervisor, "p")

                    async def is_swept(start_time: int | None, seen: float) -> bool:
                        told: list[Process] = []
                        one.start_time, one.seen = start_time, seen
                        Trees("test", told.append).sweep(one, stranger.pid, signal.SIGKILL)
                        await eventually(lambda: told == [one])
                        forget(one)
                        return not alive(pid)

                    assert not await is_swept(None, begun - 100), "nothing is known of ours"
                    assert not await is_swept(1, begun - 100), "ours was another one"
                    if leads:
                        assert not await is_swept(1, ticks_now()), "a leader that lives is not the one that has ended"
                    assert await is_swept(start, ticks_now()), "it leads, or it was there with ours"
            finally:
                if alive(pid):
                    os.kill(pid, signal.SIGKILL)

    run(story)


def test_all_ways_to_find_a_program(tmp_path: Path) -> None:
    trees = Trees("me", lambda _: None)
    assert trees.known("web", (7, 5, 9.0)) == (Session(7, "supervise-me-web", 5, 9.0),)
