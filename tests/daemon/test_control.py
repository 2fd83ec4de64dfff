"""Start, stop, restart and signal as operators order them, against real processes."""

import asyncio
import dataclasses
import logging
import subprocess
from pathlib import Path

import pytest

from supervise.core.events import State
from supervise.daemon import control
from supervise.daemon.control import Control
from supervise.daemon.info import Result
from supervise.errors import Fault
from tests.daemon.running import PATIENCE, eventually, group, process, program, reach, record, run, sh, supervising

SLEEP = "exec sleep 1000"


def brief(results: list[Result]) -> list[str]:
    return [f"{result.action} {result.namespec} {result.description}" for result in results]


def test_many_at_once(tmp_path: Path) -> None:
    async def story() -> None:
        members = [sh(f"m{i}", SLEEP, group_name="g") for i in range(3)]
        async with supervising(tmp_path, group(*members), group(sh("p", SLEEP))) as supervisor:
            verbs = Control(supervisor)
            started = await verbs.start(["g:*", "p", "nobody", "p"], wait=True, now=False)
            assert brief(started) == [
                *("start g:m0 OK", "start g:m1 OK", "start g:m2 OK", "start p OK"),
                "start nobody BAD_NAME: nobody",
            ]
            assert brief(await verbs.start(["p"], True, False)) == ["start p ALREADY_STARTED: p"]
            assert brief(await verbs.stop(["g:m1", "p"], wait=True)) == ["stop g:m1 OK", "stop p OK"]
            assert brief(await verbs.stop(["p"], wait=True)) == ["stop p NOT_RUNNING: p"]

    run(story)


@pytest.mark.parametrize(
    ("command", "options", "expected"),
    [
        ("/no/such", {}, "NO_FILE: can't find command '/no/such'"),
        ("/etc/passwd", {}, "NOT_EXECUTABLE: command at '/etc/passwd' is not executable"),
        ("sh -c 'exit 1'", {"startsecs": 600}, "SPAWN_ERROR: p"),
        ("sleep 1000", {"directory": "/no/such"}, "SPAWN_ERROR: p"),
    ],
)
def test_starts_that_fail(tmp_path: Path, command: str, options: dict[str, object], expected: str) -> None:
    async def story() -> None:
        async with supervising(tmp_path, group(program("p", command, startretries=0, **options))) as supervisor:
            assert brief(await Control(supervisor).start(["p"], wait=True, now=False)) == [f"start p {expected}"]

    run(story)


def test_what_nothing_ends_is_not_started_beside_itself(tmp_path: Path) -> None:
    async def story() -> None:
        async with supervising(tmp_path, group(sh("p", SLEEP, stopsignal=1000))) as supervisor:  # no such signal
            verbs = Control(supervisor)
            await verbs.start(["p"], wait=True, now=False)
            pid = process(supervisor, "p").machine.pid
            (stopped,) = await verbs.stop(["p"], wait=True)
            assert stopped.status is Fault.FAILED
            started = await verbs.start(["p"], wait=True, now=False)
            assert brief(started) == ["start p FAILED: p is in an unknown process state"]  # supervisord's words
            assert (process(supervisor, "p").state, process(supervisor, "p").machine.pid) == (State.UNKNOWN, pid)

    run(story)


def test_without_waiting_a_start_answers_at_the_spawn(tmp_path: Path) -> None:
    async def story() -> None:
        async with supervising(tmp_path, group(sh("p", SLEEP, startsecs=1000))) as supervisor:
            assert brief(await Control(supervisor).start(["p"], wait=False, now=False)) == ["start p OK"]
            assert process(supervisor, "p").state is State.STARTING
            assert process(supervisor, "p").machine.pid
            assert brief(await Control(supervisor).stop(["p"], wait=False)) == ["stop p OK"]
            await reach(supervisor, "p", State.STOPPED)

    run(story)


def test_backoff_counts_as_started_unless_it_is_to_be_now(tmp_path: Path) -> None:
    flag = tmp_path / "flag"

    async def story() -> None:
        config = sh("p", f"test -e {flag} && exec sleep 1000", startsecs=600, startretries=100)
        async with supervising(tmp_path, group(config)) as supervisor:
            verbs, one = Control(supervisor), process(supervisor, "p")
            assert brief(await verbs.start(["p"], True, False)) == ["start p SPAWN_ERROR: p"]
            assert brief(await verbs.start(["p"], True, False)) == ["start p ALREADY_STARTED: p"]
            flag.touch()
            one.machine.config = dataclasses.replace(config, startsecs=0.3)  # what runs from now on is quick to count
            assert brief(await verbs.start(["p"], True, now=True)) == ["start p OK"]
            assert one.state is State.RUNNING

    run(story)


@pytest.mark.parametrize("wait", [True, False])
def test_who_is_removed_while_it_is_to_be_started_does_not_start(tmp_path: Path, wait: bool) -> None:
    async def story() -> None:
        async with supervising(tmp_path, group(sh("p", SLEEP))) as supervisor:
            one = process(supervisor, "p")
            starting = asyncio.create_task(Control(supervisor).start(["p"], wait=wait, now=False))
            await asyncio.sleep(0)  # it knows which process is meant
            supervisor.remove_group("p")
            async with asyncio.timeout(PATIENCE):
                assert brief(await starting) == ["start p BAD_NAME: p"]
            assert (one.state, one.machine.pid) == (State.STOPPED, None)

    run(story)


def test_restart_answers_stops_then_starts(tmp_path: Path) -> None:
    async def story() -> None:
        groups = [group(sh(name, SLEEP)) for name in ("a", "b", "idle")]
        async with supervising(tmp_path, *groups) as supervisor:
            verbs = Control(supervisor)
            await verbs.start(["a", "b"], True, False)
            before = process(supervisor, "a").machine.pid
            results = await verbs.restart(["a", "b", "idle", "x"], wait=True, only_running=False)
            assert brief(results) == [
                *("stop a OK", "stop b OK", "stop idle NOT_RUNNING: idle"),
                *("start a OK", "start b OK", "start idle OK"),
                *("stop x BAD_NAME: x", "start x BAD_NAME: x"),
            ]
            assert process(supervisor, "a").machine.pid != before

    run(story)


def test_restart_of_the_running_leaves_the_others_alone(tmp_path: Path) -> None:
    async def story() -> None:
        async with supervising(tmp_path, group(sh("a", SLEEP)), group(sh("idle", SLEEP))) as supervisor:
            verbs = Control(supervisor)
            await verbs.start(["a"], True, False)
            assert brief(await verbs.restart(["all"], wait=True, only_running=True)) == ["stop a OK", "start a OK"]
            assert process(supervisor, "idle").state is State.STOPPED

    run(story)


def test_what_is_removed_before_its_turn_is_not_started(tmp_path: Path) -> None:
    go = tmp_path / "go"

    async def story() -> None:
        last = f"while ! test -e {go}; do sleep 0.02; done; exit"
        stubborn = sh("b", f"trap '{last}' TERM; echo; while :; do sleep 0.02; done", stopwaitsecs=600)
        async with supervising(tmp_path, group(sh("a", SLEEP)), group(stubborn)) as supervisor:
            verbs, one = Control(supervisor), process(supervisor, "a")
            await verbs.start(["all"], True, False)
            await eventually(lambda: process(supervisor, "b").logs.stdout.tail_ring() != b"")
            restart = asyncio.ensure_future(verbs.restart(["all"], wait=True, only_running=False))
            await reach(supervisor, "a", State.STOPPED)
            supervisor.remove_group("a")
            go.touch()
            assert brief(await restart)[2:] == ["start a BAD_NAME: a", "start b OK"]
            assert one.state is State.STOPPED

    run(story)


def test_all_stops_by_descending_priority_and_listeners_last(tmp_path: Path) -> None:
    async def story() -> None:
        listener = sh("ear", SLEEP, kind="eventlistener")
        groups = [
            group(sh("low", SLEEP), priority=1),
            group(sh("high", SLEEP), priority=9),
            group(listener, priority=-1, kind="pool"),
        ]
        async with supervising(tmp_path, *groups) as supervisor:
            verbs = Control(supervisor)
            await verbs.start(["all"], True, False)
            seen = record(supervisor)
            assert brief(await verbs.stop(["all"], wait=True)) == ["stop high OK", "stop low OK", "stop ear OK"]
            assert seen[:2] == ["high STOPPING", "low STOPPING"]
            assert seen.index("ear STOPPING") > max(seen.index("high STOPPED"), seen.index("low STOPPED"))

    run(story)


def ended() -> int:
    """The pid of a process that is no more."""
    with subprocess.Popen(["true"]) as child:
        return child.pid


def test_signals(tmp_path: Path) -> None:
    async def story() -> None:
        config = sh("p", "trap 'echo hup' HUP; echo ready; while :; do sleep 0.02; done")
        async with supervising(tmp_path, group(config)) as supervisor:
            verbs, one = Control(supervisor), process(supervisor, "p")
            assert brief(await verbs.signal(["p"], "HUP")) == ["signal p NOT_RUNNING: p"]
            await verbs.start(["p"], True, False)
            await eventually(lambda: b"ready" in one.logs.stdout.tail_ring())
            for name in ("HUP", "sighup", 1, "1"):
                assert brief(await verbs.signal(["p"], name)) == ["signal p OK"]
            await eventually(lambda: b"hup" in one.logs.stdout.tail_ring())
            assert brief(await verbs.signal(["p"], "NONSENSE")) == ["signal p BAD_SIGNAL: NONSENSE"]
            pid, one.machine.pid = one.machine.pid, ended()  # as if it had, and its end had still to be told
            assert brief(await verbs.signal(["p"], "HUP")) == ["signal p NOT_RUNNING: p"]
            one.machine.pid = pid
            await verbs.stop(["p"], True)
            assert brief(await verbs.signal(["p"], "NONSENSE")) == ["signal p BAD_SIGNAL: NONSENSE"]
            assert brief(await verbs.signal(["p:*"], "NONSENSE")) == ["signal p NOT_RUNNING: p"]

    run(story)


def test_two_stops_and_a_start_from_three_clients(tmp_path: Path) -> None:
    async def story() -> None:
        async with supervising(
            tmp_path, group(sh("p", "trap 'sleep 0.2; exit' TERM; while :; do sleep 0.02; done"))
        ) as s:
            verbs = Control(s)
            await verbs.start(["p"], True, False)
            results = await asyncio.gather(
                verbs.stop(["p"], True), verbs.stop(["p"], True), verbs.start(["p"], True, False)
            )
            assert [brief(result) for result in results] == [["stop p OK"], ["stop p OK"], ["start p OK"]]

    run(story)


def test_a_long_stop_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level(logging.INFO, "supervise")
    monkeypatch.setattr(control, "STOP_NOTICE", 0.05)

    async def story() -> None:
        go = tmp_path / "go"
        deaf = sh("p", f"trap '' TERM; echo deaf; while ! test -e {go}; do sleep 0.02; done", stopwaitsecs=600)
        async with supervising(tmp_path, group(deaf)) as supervisor:
            verbs = Control(supervisor)
            await verbs.start(["p"], True, False)
            await eventually(lambda: b"deaf" in process(supervisor, "p").logs.stdout.tail_ring())
            stopping = asyncio.create_task(verbs.stop(["p"], True))
            await eventually(lambda: "waiting for p to stop" in caplog.messages)
            go.touch()
            assert (await stopping)[0].status is Fault.SUCCESS

    run(story)
