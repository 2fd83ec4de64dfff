"""Updates touch only what changed."""

import asyncio
import dataclasses
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from supervise.config.model import Config, DaemonConfig, GroupConfig, ProgramConfig
from supervise.core.events import State
from supervise.daemon.supervisor import Supervisor
from supervise.daemon.update import Step, Updater
from supervise.errors import CommandError, ConfigError, ConfigErrors, Fault
from tests.daemon.running import eventually, group, process, reach, run, sh, supervising

SLEEP = "exec sleep 1000"


def config(*groups: GroupConfig) -> Config:
    return Config(daemon=DaemonConfig(), groups=groups, file="/etc/supervisord.conf", here="/etc")


class Files:
    """What the files say; set `groups`, or `problem` to make them unreadable."""

    def __init__(self, *groups: GroupConfig) -> None:
        self.groups: Sequence[GroupConfig] = groups
        self.problem: ConfigError | None = None

    def load(self) -> Config:
        if self.problem:
            raise ConfigErrors([self.problem])
        return config(*self.groups)


def members(count: int, **options: Any) -> list[ProgramConfig]:
    return [sh(f"web-{i}", SLEEP, group_name="web", process_num=i, **options) for i in range(count)]


async def begin(supervisor: Supervisor, *groups: GroupConfig) -> tuple[Files, Updater]:
    files = Files(*groups)
    supervisor.autostart(list(supervisor.processes()))
    for one in supervisor.processes():
        await reach(supervisor, f"{one.group}:{one.name}", State.RUNNING)
    return files, Updater(supervisor, files.load(), files.load)


def texts(steps: Sequence[Step]) -> list[str]:
    return [step.text for step in steps if step.process is None]


def pids(supervisor: Supervisor) -> dict[str, int | None]:
    return {one.name: one.machine.pid for one in supervisor.processes()}


def test_growing_and_shrinking_leave_the_others_alone(tmp_path: Path) -> None:
    async def story() -> None:
        four, six, two = (group(*members(count)) for count in (4, 6, 2))
        async with supervising(tmp_path, four) as supervisor:
            files, updater = await begin(supervisor, four)
            before = pids(supervisor)
            files.groups = [six]
            assert texts(await updater.update([], dry_run=False)) == ["web: updated process group"]
            assert list(supervisor.groups["web"].processes) == [f"web-{i}" for i in range(6)]
            await reach(supervisor, "web:web-5", State.RUNNING)
            assert {name: pid for name, pid in pids(supervisor).items() if name in before} == before
            files.groups = [two]
            assert texts(await updater.update([], dry_run=False)) == ["web: stopped", "web: updated process group"]
            assert pids(supervisor) == {"web-0": before["web-0"], "web-1": before["web-1"]}
            assert await updater.update([], dry_run=False) == []

    run(story)


def test_a_live_option_restarts_nothing_and_applies(tmp_path: Path) -> None:
    async def story() -> None:
        old = group(*members(2))
        async with supervising(tmp_path, old) as supervisor:
            files, updater = await begin(supervisor, old)
            before = pids(supervisor)
            files.groups = [group(*members(2, stopwaitsecs=77))]
            plan = await updater.update([], dry_run=True)
            assert [step.kind for step in plan] == ["live", "live", "updated"]
            assert process(supervisor, "web:web-0").config.stopwaitsecs == 10
            await updater.update([], dry_run=False)
            assert pids(supervisor) == before
            assert process(supervisor, "web:web-0").config.stopwaitsecs == 77

    run(story)


def test_a_new_command_restarts_that_process_only(tmp_path: Path) -> None:
    async def story() -> None:
        old = group(*members(2))
        async with supervising(tmp_path, old) as supervisor:
            files, updater = await begin(supervisor, old)
            before = pids(supervisor)
            changed = dataclasses.replace(old.processes[1], command="sleep 2000")
            files.groups = [group(old.processes[0], changed)]
            steps = await updater.update([], dry_run=False)
            assert texts(steps) == ["web: stopped", "web: updated process group"]
            await reach(supervisor, "web:web-1", State.RUNNING)
            after = pids(supervisor)
            assert after["web-0"] == before["web-0"]
            assert after["web-1"] != before["web-1"]

    run(story)


def test_a_stopped_process_that_does_not_start_by_itself_stays_stopped(tmp_path: Path) -> None:
    async def story() -> None:
        old = group(sh("p", SLEEP, autostart=False))
        async with supervising(tmp_path, old) as supervisor:
            files = Files(group(sh("p", "exec sleep 2000", autostart=False)))
            updater = Updater(supervisor, config(old), files.load)
            steps = await updater.update([], dry_run=False)
            down = "p: does not run; its new options count from its next start"
            assert [step.text for step in steps] == ["p: stopped", down, "p: updated process group"]
            assert process(supervisor, "p").state is State.STOPPED
            assert process(supervisor, "p").config.command.endswith("2000'")

    run(story)


def test_what_is_to_start_by_itself_now_is_started(tmp_path: Path) -> None:
    """As supervisord does, which replaces the group. What has been stopped stays so where that was not changed."""

    async def story() -> None:
        old = group(sh("off", SLEEP, group_name="g", autostart=False), sh("stopped", SLEEP, group_name="g"))
        async with supervising(tmp_path, old) as supervisor:
            files = Files(old)
            updater = Updater(supervisor, config(old), files.load)
            files.groups = [group(*(dataclasses.replace(one, autostart=True, startsecs=0) for one in old.processes))]
            for dry_run in (True, False):
                steps = await updater.update([], dry_run=dry_run)
                assert [(step.kind, step.process) for step in steps[:-1]] == [
                    ("start", "off"),
                    ("next-start", "stopped"),
                ]
                assert steps[0].text == "g:off: started: it starts by itself now"
                assert (process(supervisor, "g:off").machine.pid is None) is dry_run
            await reach(supervisor, "g:off", State.RUNNING)
            assert process(supervisor, "g:stopped").state is State.STOPPED

    run(story)


def test_added_removed_and_only_some(tmp_path: Path) -> None:
    async def story() -> None:
        a, b, c = (group(sh(name, SLEEP)) for name in "abc")
        async with supervising(tmp_path, a, b) as supervisor:
            files, updater = await begin(supervisor, a, b)
            files.groups = [b, c]
            assert texts(await updater.update(["c", "x"], dry_run=False)) == [
                "ERROR: no such group: x",
                "c: added process group",
            ]
            await reach(supervisor, "c", State.RUNNING)
            assert texts(await updater.update(["all"], dry_run=True)) == ["a: stopped", "a: removed process group"]
            assert "a" in supervisor.groups
            assert texts(await updater.update(["all"], dry_run=False)) == ["a: stopped", "a: removed process group"]
            assert sorted(supervisor.groups) == ["b", "c"]

    run(story)


def test_what_other_clients_do_meanwhile(tmp_path: Path) -> None:
    """While an update waits for a slow stop, others add and remove groups: nothing runs twice or is lost."""

    async def story() -> None:
        deaf, go = "trap '' TERM; echo deaf; while ! test -e {0}; do sleep 0.02; done", tmp_path / "go"
        slow = [sh(f"slow-{i}", deaf.format(go), group_name="slow", stopwaitsecs=600) for i in range(2)]
        a, b, old, changed = group(sh("a", SLEEP)), group(sh("b", SLEEP)), group(*slow), group(*slow[:1])
        async with supervising(tmp_path, a, old) as supervisor:
            files, updater = await begin(supervisor, a, old)
            for one in supervisor.groups["slow"].processes.values():
                await eventually(lambda one=one: one.logs.stdout.tail_ring() == b"deaf\n")
            files.groups = [b, changed]
            updating = asyncio.create_task(updater.update([], dry_run=False))
            await reach(supervisor, "slow:slow-1", State.STOPPING)
            await eventually(lambda: "a" not in supervisor.groups)
            updater.add("b")
            await reach(supervisor, "b", State.RUNNING)
            before, removed = pids(supervisor)["b"], list(supervisor.groups["slow"].processes.values())
            stopping = asyncio.create_task(supervisor.stop(removed))
            await eventually(lambda: all(one.state is State.STOPPING for one in removed))
            go.touch()
            await stopping
            updater.remove("slow")
            await updating
            assert pids(supervisor) == {"b": before}
            assert [one.machine.pid for one in removed] == [None, None]

    run(story)


def test_another_kind_of_group_is_built_anew(tmp_path: Path) -> None:
    async def story() -> None:
        old = group(sh("p", SLEEP))
        async with supervising(tmp_path, old) as supervisor:
            files, updater = await begin(supervisor, old)
            before = pids(supervisor)
            files.groups = [group(sh("p", SLEEP, kind="eventlistener"), kind="pool", events=("TICK_5",))]
            assert texts(await updater.update([], dry_run=False)) == ["p: stopped", "p: updated process group"]
            await reach(supervisor, "p", State.RUNNING)
            assert pids(supervisor) != before
            assert supervisor.groups["p"].config.kind == "pool"

    run(story)


@pytest.mark.parametrize("what", ["removing", "updating"])
def test_what_cannot_be_ended_is_not_forgotten(tmp_path: Path, what: str) -> None:
    async def story() -> None:
        old = group(sh("p", SLEEP, stopsignal=1000))  # no such signal
        async with supervising(tmp_path, old) as supervisor:
            files, updater = await begin(supervisor, old)
            pid = process(supervisor, "p").machine.pid
            assert pid
            pool = group(sh("p", SLEEP, kind="eventlistener"), kind="pool", events=("TICK_5",))
            files.groups = [pool] if what == "updating" else []
            assert texts(await updater.update([], dry_run=False)) == [f"p: has problems; not {what}"]
            assert (process(supervisor, "p").state, pids(supervisor)) == (State.UNKNOWN, {"p": pid})
            os.kill(pid, signal.SIGKILL)
            await reach(supervisor, "p", State.STOPPED)
            last = {"removing": "removed", "updating": "updated"}[what]
            assert texts(await updater.update([], dry_run=False))[-1] == f"p: {last} process group"

    run(story)


def test_a_member_that_cannot_be_ended_is_not_forgotten(tmp_path: Path) -> None:
    """One that is dropped, and one whose command has changed; the others follow the files."""

    async def story() -> None:
        deaf: dict[str, Any] = {"stopsignal": 1000}  # no such signal
        old = group(*members(2), *members(4, **deaf)[2:])
        async with supervising(tmp_path, old) as supervisor:
            files, updater = await begin(supervisor, old)
            before = pids(supervisor)
            changed = [dataclasses.replace(one, command="sleep 2000") for one in members(3, **deaf)[2:]]
            files.groups = [group(*members(1), *changed)]
            steps = await updater.update([], dry_run=False)
            assert [step.text for step in steps] == [
                "web: stopped",
                "web:web-1: stopped and removed",
                "web:web-3: has problems; still there as it was",
                "web:web-2: has problems; still there as it was",
            ]
            assert [step.kind for step in steps][-2:] == ["error", "error"]
            left = {f"web-{i}": before[f"web-{i}"] for i in (0, 2, 3)}
            assert pids(supervisor) == left
            assert (await updater.reread()).changed == ("web",)
            for i in (2, 3):
                os.kill(before[f"web-{i}"] or 0, signal.SIGKILL)
                await reach(supervisor, f"web:web-{i}", State.STOPPED)
            assert texts(await updater.update([], dry_run=False))[-1] == "web: updated process group"
            assert list(supervisor.groups["web"].processes) == ["web-0", "web-2"]
            assert process(supervisor, "web:web-2").config.command == "sleep 2000"
            assert await updater.update([], dry_run=False) == []

    run(story)


def test_update_ends_a_backoff(tmp_path: Path) -> None:
    async def story() -> None:
        old = group(sh("p", "exit 1", startretries=1000, startsecs=600))
        async with supervising(tmp_path, old) as supervisor:
            files = Files()
            updater = Updater(supervisor, config(old), files.load)
            supervisor.autostart(list(supervisor.processes()))
            await reach(supervisor, "p", State.BACKOFF)
            assert texts(await updater.update([], dry_run=False)) == ["p: stopped", "p: removed process group"]

    run(story)


def test_add_and_remove(tmp_path: Path) -> None:
    async def story() -> None:
        a, b = (group(sh(name, SLEEP)) for name in "ab")
        async with supervising(tmp_path, a) as supervisor:
            files, updater = await begin(supervisor, a)
            files.groups = [a, b]
            refusals: list[tuple[Callable[[], object], Fault]] = [
                (lambda: updater.add("a"), Fault.ALREADY_ADDED),
                (lambda: updater.add("b"), Fault.BAD_NAME),  # not reread yet
                (lambda: updater.remove("b"), Fault.BAD_NAME),
                (lambda: updater.remove("a"), Fault.STILL_RUNNING),
            ]
            for refuse, fault in refusals:
                with pytest.raises(CommandError) as info:
                    refuse()
                assert info.value.fault is fault
            diff = await updater.reread()
            assert (diff.added, diff.changed, diff.removed) == (("b",), (), ())
            updater.add("b")
            await reach(supervisor, "b", State.RUNNING)
            await supervisor.stop([process(supervisor, "b")])
            updater.remove("b")
            assert list(supervisor.groups) == ["a"]

    run(story)


def test_a_broken_file_changes_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        a = group(sh("a", SLEEP))
        async with supervising(tmp_path, a) as supervisor:
            files, updater = await begin(supervisor, a)
            before = pids(supervisor)
            files.problem = ConfigError("no such option", file="x.conf", line=3, section="program:a", option="comand")
            with pytest.raises(CommandError, match=r"CANT_REREAD: x.conf:3: \[program:a\] comand: no such option"):
                await updater.update([], dry_run=False)
            assert pids(supervisor) == before
            files.problem = None
            assert await updater.update([], dry_run=False) == []

    run(story)
