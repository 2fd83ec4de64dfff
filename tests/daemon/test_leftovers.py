import asyncio
import os
import signal
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from supervise.config.model import GroupConfig
from supervise.core.events import State
from supervise.daemon import leftovers
from supervise.daemon.trees import Trees
from supervise.system.handover import Handover
from supervise.system.journal import Record, start_time, ticks_now
from tests.daemon.running import group, program

TREES = Trees("test", lambda process: None)


def end(*records: Record, groups: Iterable[GroupConfig] = (), handover: Handover | None = None) -> list[Record]:
    """End them; those of which nothing is left."""
    gone: list[Record] = []
    asyncio.run(asyncio.wait_for(leftovers.end(records, TREES, gone.append, groups, handover), 60))
    return gone


def start(script: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(["/bin/sh", "-c", script], start_new_session=True, stdout=subprocess.PIPE)


@contextmanager
def killed(child: "subprocess.Popen[bytes]") -> "Iterator[subprocess.Popen[bytes]]":
    with child:
        try:
            yield child
        finally:
            child.kill()


def record(pid: int) -> dict[str, Any]:
    return {"group": "g", "name": "p", "pid": pid, "start_time": start_time(pid)}


def test_all_of_its_session_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(leftovers, "PATIENCE", 2)
    with killed(start("(trap '' TERM; echo deaf; while :; do sleep 0.02; done) & exec sleep 1000")) as child:
        assert child.stdout is not None
        child.stdout.readline()
        facts = record(child.pid)
        assert end(facts) == [facts]
        assert child.wait(30) == -15
        assert child.stdout.read() == b""  # nobody has it any more


def test_a_foreign_process_with_the_same_pid_is_left_alone() -> None:
    with killed(start("exec sleep 1000")) as child:
        facts = record(child.pid)
        assert leftovers.find(facts, TREES)
        for other in (facts | {"start_time": 1}, facts | {"start_time": None}, facts | {"pid": None}):
            assert not leftovers.find(other, TREES)
            assert end(other) == [other]
        assert child.poll() is None


def test_nothing_to_do() -> None:
    assert end() == []


def configured(**options: Any) -> list[GroupConfig]:
    """The program of `record`."""
    return [group(program("p", "x", group_name="g", **options))]


def test_it_may_take_as_long_as_it_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "PATIENCE", 3600)
    with killed(start("trap '' TERM; echo deaf; while :; do sleep 0.02; done")) as child:
        assert child.stdout is not None
        child.stdout.readline()
        end(record(child.pid), groups=configured(stopwaitsecs=0.1))
        assert child.wait(30) == -signal.SIGKILL


def test_it_is_asked_by_the_signal_that_is_configured() -> None:
    with killed(start("trap '' TERM; trap 'exit 7' QUIT; echo ready; while :; do sleep 0.02; done")) as child:
        assert child.stdout is not None
        child.stdout.readline()
        end(record(child.pid), groups=configured(stopsignal=signal.SIGQUIT, stopwaitsecs=60))
        assert child.wait(30) == 7


def test_it_is_ended_as_it_was_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is not any more; what it has started is not signalled before it has ended, unless that was wanted."""
    monkeypatch.setattr(leftovers, "PATIENCE", 3600)
    helper = "(trap 'kill -9 $$; exit' USR1; echo helps; while :; do sleep 0.02; done)"
    asks = f"trap '' TERM; trap 'exit 7' USR1; {helper} & while :; do sleep 0.02; done"
    for together, status in ((False, 7), (True, -signal.SIGKILL)):
        script = asks if not together else asks.replace("exit 7", ":")
        with killed(start(script)) as child:
            assert child.stdout is not None
            child.stdout.readline()
            facts = record(child.pid) | {"stop": [signal.SIGUSR1, 60.0, together, "process"]}
            assert end(facts) == [facts]
            assert child.wait(30) == status


def test_what_is_left_of_a_tree_that_was_being_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its leader has ended before the daemon did, or after; one that was at rest is not looked for."""
    monkeypatch.setattr(leftovers, "PATIENCE", 0.5)
    for sweeping in (True, False):
        with killed(start("(trap '' TERM; echo deaf; while :; do sleep 0.02; done) & read x; exit")) as child:
            assert child.stdout is not None
            child.stdout.readline()
            state = {"state": int(State.STOPPING), "seen": ticks_now(), "stop": [15, 0.2, False, "tree"]}
            facts = record(child.pid) | state
            if sweeping:
                facts |= {"pid": None, "sweeping": child.pid}
            child.kill()
            child.wait()
            rest = facts | {"state": int(State.STOPPED)}
            other = facts | {"seen": 0.0}  # nobody knows whose session that is
            assert end(rest, other) == [rest, other]
            assert end(facts) == [facts]
            assert child.stdout.read() == b"", "nobody has it any more"


def test_a_child_that_was_just_being_spawned() -> None:
    """Nobody wrote down its pid: it is found by its pipe."""
    with killed(start("exec sleep 1000")) as child:
        assert child.stdout is not None
        pipe = os.fstat(child.stdout.fileno()).st_ino
        facts: dict[str, Any] = {"group": "g", "name": "p", "pid": None, "state": int(State.STARTING)}
        assert end(facts | {"pipes": {"stdout": []}}, handover=Handover())
        assert child.poll() is None
        assert end(facts | {"pipes": {"stdout": [pipe]}}, handover=Handover())
        assert child.wait(30) == -signal.SIGTERM


def test_all_are_ended_at_the_same_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither ends before the other has been told to."""
    monkeypatch.setattr(leftovers, "PATIENCE", 50)
    last = "touch {0}; while ! test -e {1}; do sleep 0.02; done; exit 7"
    script = f"trap '{last}' TERM; echo ready; while :; do sleep 0.02; done"
    with (
        killed(start(script.format(tmp_path / "a", tmp_path / "b"))) as one,
        killed(start(script.format(tmp_path / "b", tmp_path / "a"))) as other,
    ):
        for child in (one, other):
            assert child.stdout is not None
            child.stdout.readline()
        end(record(one.pid) | {"name": "a"}, record(other.pid) | {"name": "b"})
        assert (one.wait(30), other.wait(30)) == (7, 7)
