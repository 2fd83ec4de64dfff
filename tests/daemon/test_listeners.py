"""Listeners over the death of their daemon. (How they are talked to: test_dialogue.)"""

import os
import subprocess
import sys

import pytest

from supervise.daemon.dialogue import Pipes
from supervise.daemon.eventlog import Standing
from supervise.daemon.listeners import left_to_send
from tests.tools import ROOT, wait_for

pytestmark = pytest.mark.timeout(240)


def perishing(*words: str) -> tuple[int, int]:
    """How many lives were killed, and how many listeners had to be restarted for that."""
    argv = [sys.executable, "-m", "tests.daemon.perishing", *words]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    tries, restarted = done.stdout.split()
    return int(tries), int(restarted)


def test_killed_at_many_a_line() -> None:
    """Every event is acknowledged, and by the same listener, but where the death came over a write and the listener is
    busy yet. At all lines: `python -m tests.daemon.perishing every`."""
    tries, restarted = perishing("every", "83")
    assert tries > 15
    assert restarted <= 2


def test_killed_while_taking_up_what_was_left() -> None:
    tries, restarted = perishing("twice", "3", "20")
    assert tries == 20
    assert restarted <= 2


@pytest.fixture
def pipes() -> Pipes:
    """Of a listener that sleeps; our ends twice, for the other ends."""
    stdin, stdout = os.pipe(), os.pipe()
    return Pipes(stdin[1], stdout[0], stdout[1])


def test_what_is_left_to_send_after_a_death_in_the_middle_of_a_write(pipes: Pipes) -> None:
    sleeper = subprocess.Popen(["sleep", "100"])
    reader = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    begun = Standing(1, 2, 20, 0, item=0, length=10, unsent=10, sure=False)

    def left(standing: Standing, pid: int = sleeper.pid, *, said: bool = False) -> int | None:
        return left_to_send(standing, pipes, pid, said=said)

    try:
        assert left(Standing(1, 2, 20, 0, item=0, length=10, unsent=4)) == 4
        assert left(begun) is None  # it is busy with something else: nobody knows
        wait_for(lambda: left(begun, reader.pid) is not None, "a read(2) of its stdin")
        assert left(begun, reader.pid) == 10
        assert left(Standing(1, 2, 20, 0, item=0, length=10, unsent=4, sure=False), reader.pid) is None
        assert left(begun, said=True) == 0
        os.write(pipes.tee, b"RESULT")  # it has said something
        assert left(begun) == 0
        os.read(pipes.stdout, 6)
        os.write(pipes.stdin, b"x" * 10)
        assert left(begun) == 0
    finally:
        for child in (sleeper, reader):
            child.kill()
            child.wait()
        assert reader.stdin is not None
        reader.stdin.close()
