"""A command beside the loop, through the one reaper."""

import asyncio
import contextlib
import os
import sys
from pathlib import Path

import pytest

from supervise.system.reap import Reaper
from supervise.system.trial import attempt
from tests.tools import alive, wait_for


def trying(*command: str, patience: float = 30.0, directory: str = "/") -> tuple[int | None, str]:
    async def story() -> tuple[int | None, str]:
        reaper = Reaper(asyncio.get_running_loop())
        try:
            return await attempt(command, {"PATH": os.environ["PATH"], "A": "b"}, directory, reaper, patience)
        finally:
            reaper.close()

    before = os.listdir("/proc/self/fd")
    try:
        return asyncio.run(story())
    finally:
        assert set(os.listdir("/proc/self/fd")) <= set(before)


def test_what_it_says_and_how_it_ends(tmp_path: Path) -> None:
    assert trying("sh", "-c", "echo $A; pwd >&2; exit 3", directory=str(tmp_path)) == (3, f"b\n{tmp_path}")
    assert trying("sh", "-c", "kill -9 $$") == (-9, "")
    assert trying("cat") == (0, ""), "nobody says anything to it"


def test_who_takes_too_long_is_killed_with_its_children(tmp_path: Path) -> None:
    pids, said = tmp_path / "pids", ""
    for patience in (0.5, 5.0, 30.0):  # on a slow machine it may not even have begun so soon
        code, said = trying("sh", "-c", f"sleep 1000 & echo $$ $! > {pids}; echo begun; wait", patience=patience)
        assert code is None
        if said:
            break
    assert said == "begun"
    wait_for(lambda: not any(alive(int(pid)) for pid in pids.read_text().split()))
    for pid in pids.read_text().split():  # ours, where this process has become a subreaper
        with contextlib.suppress(ChildProcessError):
            os.waitpid(int(pid), 0)


def test_much_output() -> None:
    code, said = trying(sys.executable, "-c", "print('x' * 10_000_000)")
    assert code == 0
    assert len(said) == 65536


def test_what_cannot_be_executed() -> None:
    with pytest.raises(FileNotFoundError):
        trying("/no/such")
