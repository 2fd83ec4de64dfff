import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from supervise.daemon import leftovers
from supervise.daemon.trees import Trees
from supervise.system.journal import start_time

TREES = Trees("test", lambda process: None)


def start(script: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(["/bin/sh", "-c", script], start_new_session=True, stdout=subprocess.PIPE)


@contextmanager
def killed(child: "subprocess.Popen[bytes]") -> "Iterator[subprocess.Popen[bytes]]":
    with child:
        try:
            yield child
        finally:
            child.kill()


def record(pid: int) -> dict[str, object]:
    return {"group": "g", "name": "p", "pid": pid, "start_time": start_time(pid)}


def test_all_of_its_session_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(leftovers, "PATIENCE", 0.3)
    with killed(start("(trap '' TERM; echo deaf; while :; do sleep 0.02; done) & exec sleep 1000")) as child:
        assert child.stdout is not None
        child.stdout.readline()
        asyncio.run(asyncio.wait_for(leftovers.end([record(child.pid)], TREES), 30))
        assert child.wait(30) == -15
        assert child.stdout.read() == b""  # nobody has it any more


def test_a_foreign_process_with_the_same_pid_is_left_alone() -> None:
    with killed(start("exec sleep 1000")) as child:
        facts = record(child.pid)
        assert leftovers.is_there(facts)
        for other in (facts | {"start_time": 1}, facts | {"start_time": None}, facts | {"pid": None}):
            assert not leftovers.is_there(other)
            asyncio.run(leftovers.end([other], TREES))
        assert child.poll() is None


def test_nothing_to_do() -> None:
    asyncio.run(leftovers.end([], TREES))
