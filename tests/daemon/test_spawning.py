"""A queue of spawns that leaves room for others, and what one of them needs."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from supervise.core.events import Start, State
from supervise.daemon import spawning
from supervise.daemon.process import Process
from supervise.daemon.spawning import Spawning
from supervise.daemon.supervisor import Supervisor
from supervise.system.spawn import SpawnError
from tests.daemon.running import eventually, group, no_descriptors, process, program, reach, run, sh, supervising
from tests.tools import need_root


def queue_of(supervisor: Supervisor, act: Callable[[Process], None]) -> Spawning:
    its = supervisor
    return Spawning(its.logs, its.memory, its.sockets, its.trees, its._reaper, act)


def test_many_spawns_take_turns_with_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spawning, "SLICE", 0.0)

    async def story() -> None:
        async with supervising(tmp_path, group(*(sh(f"p{n}", "true", group_name="g") for n in range(5)))) as supervisor:
            seen: list[str] = []

            def act(one: Process) -> None:
                time.sleep(0.001)
                seen.append(one.name)

            queue = queue_of(supervisor, act)
            for one in supervisor.processes():
                queue.add(one)
            assert seen == [], "not before add returns"
            ticks = 0
            while len(seen) < 5:
                await asyncio.sleep(0)
                ticks += 1
            assert seen == [f"p{n}" for n in range(5)]
            assert ticks >= 5

    run(story)


def test_a_fault_of_ours_with_one_program_does_not_keep_others_waiting(tmp_path: Path) -> None:
    async def story() -> None:
        async with supervising(tmp_path, group(*(sh(f"p{n}", "true", group_name="g") for n in range(3)))) as supervisor:
            seen: list[str] = []

            def act(one: Process) -> None:
                seen.append(one.name)
                if one.name == "p0":
                    raise RuntimeError("a fault of ours")

            asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context["message"]))
            queue = queue_of(supervisor, act)
            for one in supervisor.processes():
                queue.add(one)
            await eventually(lambda: len(seen) == 4)
            assert [name for name in seen if name.startswith("p")] == ["p0", "p1", "p2"]

    run(story)


def test_what_cannot_be_spawned_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with supervising(tmp_path, group(program("p", "/no/such"))) as supervisor:
            one = process(supervisor, "p")
            queue = queue_of(supervisor, lambda _: None)
            with pytest.raises(SpawnError, match="can't find command '/no/such'"):
                queue.start(one, None)
            assert one.state is State.STOPPED

    run(story)


def test_without_descriptors_it_says_so_and_tries_again(tmp_path: Path) -> None:
    async def story() -> None:
        async with supervising(tmp_path, group(sh("p", "exec sleep 1000"))) as supervisor:
            one = process(supervisor, "p")
            with no_descriptors():
                supervisor.tell(one, Start())
                await reach(supervisor, "p", State.BACKOFF)
            assert one.machine.reason == "too many open files to spawn 'p'"
            await reach(supervisor, "p", State.RUNNING)

    run(story)


def test_programs_of_other_users_are_children_like_all_others(tmp_path: Path) -> None:
    need_root()
    tmp_path.chmod(0o755)

    async def story() -> None:
        programs = [program(f"p{n}", "id -u", uid=60000 + n, group_name="g", startsecs=0) for n in range(5)]
        async with supervising(tmp_path, group(*programs)) as supervisor:
            for one in supervisor.processes():
                supervisor.tell(one, Start())
            for n in range(5):
                one = process(supervisor, f"g:p{n}")
                await eventually(lambda one=one: bool(one.exits))
                assert one.exits[0].status == 0
                assert one.logs.stdout.run_ring() == f"{60000 + n}\n".encode()

    run(story)
