import asyncio
import signal
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from supervise.config.model import GroupConfig
from supervise.daemon import leftovers
from supervise.daemon.trees import Trees
from supervise.system.journal import Record, start_time
from tests.daemon.running import group, program

TREES = Trees("test", lambda process: None)


def end(*records: Record, groups: Iterable[GroupConfig] = ()) -> list[Record]:
    """End them; those of which nothing is left."""
    gone: list[Record] = []
    asyncio.run(asyncio.wait_for(leftovers.end(records, TREES, gone.append, groups), 60))
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
        assert leftovers.is_there(facts)
        for other in (facts | {"start_time": 1}, facts | {"start_time": None}, facts | {"pid": None}):
            assert not leftovers.is_there(other)
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
