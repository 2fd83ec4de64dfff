"""The supervisor against real processes."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from supervise.config.model import AutoRestart, StopScope
from supervise.core.events import Spawned, Start, State, Stop
from supervise.daemon.logs import ProcessLogs
from supervise.daemon.supervisor import Supervisor
from supervise.system.tree import Session, leftovers
from tests.daemon.running import eventually, group, process, program, reach, record, run, sh, supervising
from tests.tools import alive

SLEEP = "exec sleep 1000"


def test_start_and_stop(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "supervise")

    async def story() -> None:
        async with supervising(tmp_path, group(sh("p", SLEEP))) as supervisor:
            seen = record(supervisor)
            one = process(supervisor, "p")
            supervisor.tell(one, Start())
            await reach(supervisor, "p", State.RUNNING)
            pid = one.machine.pid
            assert pid is not None
            assert os.getpgid(pid) == os.getsid(pid) == pid
            await supervisor.stop([one])
            assert one.machine.status == -signal.SIGTERM
            assert seen == ["p STARTING", "p RUNNING", "p STOPPING", "p STOPPED"]
            told = [record.getMessage() for record in caplog.records if record.name == "supervise"]
            assert [text for text in told if text.startswith(("spawned", "success"))] == [
                f"spawned: 'p' with pid {pid}",
                "success: p entered RUNNING state, process has stayed up for > than 0.05 seconds (startsecs)",
            ]
            assert "stopped: p (terminated by SIGTERM)" in caplog.messages
            assert f"killing p (pid {pid}) with signal SIGTERM" in caplog.messages

    run(story)


def test_sigkill_follows_stopwaitsecs(tmp_path: Path) -> None:
    async def story() -> None:
        deaf = sh("p", "trap '' TERM; echo deaf; while :; do sleep 0.05; done", stopwaitsecs=0.2)
        async with supervising(tmp_path, group(deaf)) as supervisor:
            one = process(supervisor, "p")
            supervisor.tell(one, Start())
            await eventually(lambda: one.logs.stdout.tail_ring() == b"deaf\n")
            await supervisor.stop([one])
            assert one.machine.status == -signal.SIGKILL
            assert one.exits[-1].text == "terminated by SIGKILL"

    run(story)


def test_a_deaf_tree_is_gone_when_it_is_killed(tmp_path: Path) -> None:
    """Its end may be seen before that of its leader is told, and is not waited for once more."""

    async def story() -> None:
        deaf = sh(
            "p", "trap '' TERM; echo deaf; while :; do sleep 0.05; done", stopwaitsecs=0.2, stop_scope=StopScope.TREE
        )
        async with supervising(tmp_path, group(deaf)) as supervisor:
            one = process(supervisor, "p")
            for count in range(1, 4):
                supervisor.tell(one, Start())
                await eventually(lambda count=count: one.logs.stdout.tail_ring() == b"deaf\n" * count)
                await supervisor.stop([one])
                assert (one.machine.status, one.machine.reason) == (-signal.SIGKILL, "")

    run(story)


def test_a_stop_of_many_ends_when_all_are_at_rest(tmp_path: Path) -> None:
    """Also those that somebody has started again while it waited for others."""

    async def story() -> None:
        go = tmp_path / "go"
        deaf = sh("deaf", f"trap '' TERM; echo deaf; while ! test -e {go}; do sleep 0.02; done", stopwaitsecs=600)
        async with supervising(tmp_path, group(sh("p", SLEEP)), group(deaf)) as supervisor:
            both = list(supervisor.processes())
            for one in both:
                supervisor.tell(one, Start())
            await eventually(lambda: both[1].logs.stdout.tail_ring() == b"deaf\n")
            stopping = asyncio.create_task(supervisor.stop(both))
            await reach(supervisor, "p", State.STOPPED)
            supervisor.tell(both[0], Start())
            go.touch()
            await stopping
            assert [one.state for one in both] == [State.STOPPED] * 2

    run(story)


def test_a_crash_loop_ends_in_fatal(tmp_path: Path) -> None:
    async def story() -> None:
        async with supervising(tmp_path, group(sh("p", "exit 3", startretries=1, startsecs=600))) as supervisor:
            seen = record(supervisor)
            supervisor.tell(process(supervisor, "p"), Start())
            await reach(supervisor, "p", State.FATAL)
            assert seen == ["p STARTING", "p BACKOFF", "p STARTING", "p BACKOFF", "p FATAL"]
            ends = [(end.text, end.expected) for end in process(supervisor, "p").exits]
            assert ends == [("exit status 3", False)] * 2, "the last failed start is one, too"

    run(story)


@pytest.mark.parametrize("scope", StopScope)
def test_an_end_that_was_ordered_is_expected(tmp_path: Path, scope: StopScope) -> None:
    async def story() -> None:
        async with supervising(tmp_path, group(sh("p", SLEEP, stop_scope=scope))) as supervisor:
            one = process(supervisor, "p")
            supervisor.tell(one, Start())
            await reach(supervisor, "p", State.RUNNING)
            await supervisor.stop([one])
            assert [(end.text, end.expected) for end in one.exits] == [("terminated by SIGTERM", True)]

    run(story)


def test_killed_from_outside_restarts(tmp_path: Path) -> None:
    async def story() -> None:
        async with supervising(tmp_path, group(sh("p", SLEEP))) as supervisor:
            one = process(supervisor, "p")
            supervisor.tell(one, Start())
            await reach(supervisor, "p", State.RUNNING)
            first = one.machine.pid
            assert first is not None
            os.kill(first, signal.SIGKILL)
            await eventually(lambda: one.machine.pid not in (first, None) and one.state is State.RUNNING)
            assert one.restarts == 1

    run(story)


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("/no/such/file", "can't find command '/no/such/file'"),
        ("/", "command at '/' is a directory"),
        ("/etc/passwd", "command at '/etc/passwd' is not executable"),
        ("sh -c 'unbalanced", "can't parse command \"sh -c 'unbalanced\": No closing quotation"),
    ],
)
def test_what_cannot_be_spawned_backs_off(tmp_path: Path, command: str, reason: str) -> None:
    async def story() -> None:
        async with supervising(tmp_path, group(program("p", command))) as supervisor:
            supervisor.tell(process(supervisor, "p"), Start())
            await reach(supervisor, "p", State.BACKOFF)
            assert process(supervisor, "p").machine.reason == reason

    run(story)


def test_the_last_output_comes_before_the_end(tmp_path: Path) -> None:
    log = tmp_path / "p.log"

    async def story() -> None:
        config = sh("p", "echo last words; exit 0", startsecs=0, stdout_logfile=str(log), autorestart=AutoRestart.NEVER)
        async with supervising(tmp_path, group(config)) as supervisor:
            supervisor.tell(process(supervisor, "p"), Start())
            await reach(supervisor, "p", State.EXITED)
            assert log.read_text() == "last words\n"

    run(story)


def test_nobody_is_signalled_by_the_pid_of_who_has_been_reaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its end is told when its last output is there; its number may be another process's before that."""
    held = list[Callable[[], None]]()
    monkeypatch.setattr(ProcessLogs, "drain", lambda _, over: held.append(over))  # a log thread that is late

    async def story() -> None:
        async with supervising(tmp_path, group(sh("p", "exit 0", startsecs=0))) as supervisor:
            one = process(supervisor, "p")
            supervisor.tell(one, Start())
            await eventually(lambda: bool(held))
            assert one.machine.pid is not None
            with monkeypatch.context() as patched:
                for name in ("kill", "killpg"):
                    patched.setattr(os, name, lambda *_: pytest.fail("it may be anybody"))
                for whole_group in (False, True):
                    with pytest.raises(ProcessLookupError):
                        supervisor.send(one, signal.SIGUSR1, whole_group)
            held.pop()()
            await reach(supervisor, "p", State.EXITED)

    run(story)


def test_tree_scope_leaves_nothing_behind(tmp_path: Path) -> None:
    async def story() -> None:
        script = "(trap '' TERM; exec sleep 1000) & (exec sleep 1000) & echo $!; exec sleep 1000"
        config = sh("p", script, stopwaitsecs=0.3, stop_scope=StopScope.TREE)
        async with supervising(tmp_path, group(config)) as supervisor:
            one = process(supervisor, "p")
            supervisor.tell(one, Start())
            await eventually(lambda: one.logs.stdout.tail_ring().endswith(b"\n"))
            child = int(one.logs.stdout.tail_ring())
            sid = one.machine.pid or 0
            await supervisor.stop([one])
            assert not alive(child)
            assert leftovers([Session(sid)]) == set()
            assert one.leftovers == ()

    run(story)


def test_autostart_goes_by_priority(tmp_path: Path) -> None:
    async def story() -> None:
        late, early, never = sh("late", SLEEP, priority=2), sh("early", SLEEP), sh("never", SLEEP, autostart=False)
        groups = [group(late, priority=2), group(early, priority=1), group(never)]
        async with supervising(tmp_path, *groups) as supervisor:
            seen = record(supervisor)
            supervisor.autostart(list(supervisor.processes()))
            await reach(supervisor, "late", State.RUNNING)
            await reach(supervisor, "early", State.RUNNING)
            assert seen[:2] == ["early STARTING", "late STARTING"]
            assert process(supervisor, "never").state is State.STOPPED

    run(story)


def test_a_fault_of_ours_stays_with_its_program(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        async with supervising(tmp_path, group(sh("a", SLEEP)), group(sh("b", SLEEP))) as supervisor:
            supervisor.tell(process(supervisor, "a"), Spawned(1))  # cannot happen while it is STOPPED
            assert "internal error" in caplog.text
            supervisor.tell(process(supervisor, "b"), Start())
            await reach(supervisor, "b", State.RUNNING)

    run(story)


def test_a_process_that_cannot_be_signalled_is_unknown(tmp_path: Path) -> None:
    async def story() -> None:
        async with supervising(tmp_path, group(sh("p", SLEEP, stopsignal=1000))) as supervisor:  # no such signal
            one = process(supervisor, "p")
            supervisor.tell(one, Start())
            await reach(supervisor, "p", State.RUNNING)
            await supervisor.stop([one])
            assert one.state is State.UNKNOWN
            assert "signal 1000 could not be sent" in one.machine.reason
            pid = one.machine.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await reach(supervisor, "p", State.STOPPED)

    run(story)


def test_waiting_for_a_process_ends_when_it_is_removed(tmp_path: Path) -> None:
    async def story() -> None:
        async with supervising(tmp_path, group(sh("p", SLEEP))) as supervisor:
            waiting = asyncio.ensure_future(process(supervisor, "p").until(lambda: False))
            await asyncio.sleep(0)
            supervisor.remove_group("p")
            await asyncio.wait_for(waiting, 30)

    run(story)


def test_descriptors_do_not_leak(tmp_path: Path) -> None:
    async def cycle(supervisor: Supervisor) -> None:
        one = process(supervisor, "p")
        supervisor.tell(one, Start())
        await reach(supervisor, "p", State.RUNNING)
        await supervisor.stop([one])

    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    async def story() -> None:
        async with supervising(tmp_path, group(sh("p", SLEEP, startsecs=0))) as supervisor:
            await cycle(supervisor)
            before = count()
            for _ in range(50):
                await cycle(supervisor)
            await eventually(lambda: count() <= before)

    run(story)


def test_orders_from_several_sides_are_taken_one_by_one(tmp_path: Path) -> None:
    async def story() -> None:
        async with supervising(tmp_path, group(sh("p", SLEEP))) as supervisor:
            one = process(supervisor, "p")
            for event in (Start(), Stop(), Start(), Stop(restart=True), Stop(), Start()):
                supervisor.tell(one, event)
            await reach(supervisor, "p", State.RUNNING)

    run(story)
