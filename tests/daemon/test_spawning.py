"""A queue of spawns that leaves room for others, and what one of them needs."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from supervise.config.model import StopScope
from supervise.core.events import Start, State
from supervise.daemon import spawning
from supervise.daemon.memory import fingerprint
from supervise.daemon.process import Process
from supervise.daemon.spawning import Spawning
from supervise.daemon.supervisor import Supervisor
from supervise.system.cgroup import name_of
from supervise.system.spawn import SpawnError
from tests.daemon.running import eventually, group, no_descriptors, process, program, reach, run, sh, supervising
from tests.tools import alive, need_cgroup, need_root, wait_for


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


def test_who_waits_for_all_of_them_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spawning, "SLICE", 0.0)

    async def story() -> None:
        async with supervising(tmp_path, group(*(sh(f"p{n}", "true", group_name="g") for n in range(5)))) as supervisor:
            seen: list[str] = []

            def again(one: Process) -> None:
                seen.append(one.name)
                queue.add(one)

            queue = queue_of(supervisor, lambda one: seen.append(one.name))
            for one in supervisor.processes():
                queue.add(one)
            await queue.settled(1e9)
            assert len(seen) == 5
            await queue.settled(1e9)
            queue = queue_of(supervisor, again)
            queue.add(process(supervisor, "g:p0"))
            await queue.settled(0.05)
            assert len(seen) > 5
            one = process(supervisor, "g:p0")
            one.removed = True  # so that this ends
            await queue.settled(1e9)
            one.removed = False

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


def test_a_tree_of_another_user_is_born_in_its_cgroup(tmp_path: Path) -> None:
    """And the forker is not there, though it was begun anew just now."""
    need_root()
    need_cgroup()

    async def story() -> None:
        options = {"uid": 60001, "stop_scope": StopScope.TREE, "group_name": "g"}
        programs = [program(f"p{n}", "sleep 1000", **options) for n in range(2)]
        async with supervising(tmp_path, group(*programs)) as supervisor:
            pids, forkers = list[int](), set[int]()
            for one in supervisor.processes():
                supervisor.tell(one, Start())
                await reach(supervisor, one.namespec, State.RUNNING)
                assert one.machine.pid
                assert one.cgroup
                assert name_of(one.machine.pid) == one.cgroup.name
                forker = supervisor.spawning._forker
                assert forker._link is not None, "it was there when it was needed"
                assert name_of(forker._pid) == name_of(os.getpid())
                pids.append(one.machine.pid)
                forkers.add(forker._pid)
                os.kill(forker._pid, signal.SIGKILL)
                wait_for(lambda forker=forker: not alive(forker._pid))
            assert len({*pids, *forkers}) == 4

    run(story)


def test_only_root_has_a_use_for_a_forker(tmp_path: Path) -> None:
    need_root()

    async def story() -> None:
        async with supervising(tmp_path, group(program("p", "sleep 1000", uid=60001))) as supervisor:
            os.seteuid(60002)
            try:
                supervisor.tell(process(supervisor, "p"), Start())
                await reach(supervisor, "p", State.BACKOFF)
            finally:
                os.seteuid(0)
            assert supervisor.spawning._forker._link is None

    run(story)


def test_what_could_be_a_leftover_waits_for_its_end(tmp_path: Path) -> None:
    """What has never run as it is configured; who is stopped meanwhile does not wait, nor what did run."""

    async def story() -> None:
        names = ("new", "stopped", "old")
        programs = [group(sh(name, "exec sleep 1000")) for name in names]
        async with supervising(tmp_path, *programs) as supervisor:
            new, stopped, old = (process(supervisor, name) for name in names)
            old.made_from = fingerprint(old.config)
            ending: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            supervisor.spawning.follow(ending)
            for one in (new, stopped, old):
                supervisor.tell(one, Start())
            await reach(supervisor, "old", State.RUNNING)
            await supervisor.stop([stopped])
            assert (stopped.started, new.started, new.state) == (0.0, 0.0, State.STARTING)
            ending.set_result(None)
            await reach(supervisor, "new", State.RUNNING)
            supervisor.tell(stopped, Start())
            await reach(supervisor, "stopped", State.RUNNING)

    run(story)
