"""Listeners over the death of their daemon. (How they are talked to: test_dialogue.)"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from supervise.core.pool import Item
from supervise.core.wire import Event
from supervise.daemon.dialogue import Pipes
from supervise.daemon.eventlog import Standing
from supervise.daemon.listeners import left_to_send
from supervise.daemon.pools import Pool
from supervise.system.handover import Handover
from tests.daemon.listening import listener, listening, pool, wiring
from tests.daemon.running import eventually, run
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


def test_killed_at_many_a_line_of_a_life_with_a_reload() -> None:
    """No serial is given twice. At all lines: `python -m tests.daemon.perishing reload`."""
    tries, _ = perishing("reload", "131")
    assert tries > 25


def test_killed_while_taking_up_what_was_left() -> None:
    tries, restarted = perishing("twice", "3", "20")
    assert tries == 20
    assert restarted <= 2


def test_pipes_that_are_of_no_use_are_not_handed_on(tmp_path: Path) -> None:
    """By the time of an upgrade, their numbers may be those of other descriptors."""

    async def story() -> None:
        async with listening(tmp_path, pool(listener(tmp_path), events=("TICK_3600",))) as supervisor:
            await eventually(lambda: wiring(supervisor).state.name == "READY")
            one = wiring(supervisor)
            assert isinstance(one.pool, Pool)
            held, stood = supervisor.memory.handover.held, one.pool.log.stood("l")
            assert stood is not None
            found = Handover({name: os.dup(fd) for name, fd in held.items() if name.startswith(("stdin-", "tee-"))})
            one.close()
            one.pool.log.put(item := Item(Event(0, "TICK_3600", b"when:0"), 0), [])
            length = len(one.pool.envelope(item, False))
            doubtful = stood.standing._replace(item=0, length=length, unsent=length - 1, sure=False)
            one.pool.log.stand("l", doubtful, b"")
            one.pool.handover = found
            one.adopt()
            assert one.cut_off
            assert found.held == {}
            rest = stood.standing._replace(length=length, unsent=length - 1)  # of an event that it has answered
            one.pool.log.stand("l", rest, b"")
            one.adopt()
            assert one.cut_off
            one.pool.handover = Handover({"stdin-1": os.dup(0)})
            one.pool.log.stand("l", doubtful._replace(stdin=1), b"")
            one.adopt()  # there is no other pipe
            assert one.cut_off
            assert one.pool.handover.held == {}

    run(story)


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
