"""How long a supervisor takes: to start programs, to start one again, to end them all."""

import os
import signal
import time

from tests.bench.calls import Caller
from tests.bench.children import until
from tests.bench.gauges import family_time, percentile
from tests.bench.peers import Peer, Program
from tests.bench.rows import TALKING, Figures, Size
from tests.bench.running import Running, running

VICTIMS = 10
REST = 1.2  # seconds that a program may live before it is ended: runsv makes one wait that lived less than one
SPACING = 0.02  # seconds between two kills


def crash(peer: Peer, size: Size, *, words: str = "sit") -> Figures:
    """SIGKILL of a process, to the first instruction of its successor, as that one says itself: `times` kills,
    one after the other, among ten programs, beside `programs` others that rest."""
    victims = Program("victim", words, VICTIMS, "none" if words == "sit" else "file")
    with running(peer, [victims, Program("other", count=size.programs)][: 1 + bool(size.programs)]) as one:
        took = []
        for number in range(size.times if peer.patient else min(size.times, VICTIMS)):
            time.sleep(SPACING if number % VICTIMS else REST)
            took.append(kill_and_wait(one, victims.processes[number % VICTIMS]))
    return {"p50": percentile(took, 0.5), "p99": percentile(took, 0.99)}


def crash_chatty(peer: Peer, size: Size) -> Figures:
    """The same with programs that write a line every millisecond."""
    return crash(peer, size, words="chat 1000")


def kill_and_wait(one: Running, name: str) -> float:
    """Kill a process, and wait for its successor: ms."""
    pid, killed = one.stamps.pids()[name], time.monotonic_ns()
    os.kill(pid, signal.SIGKILL)

    def successor() -> int | None:
        return next(
            (born.value for born in reversed(one.stamps.of("born")) if born.name == name and born.value > killed), None
        )

    return (until(successor, "its successor") - killed) / 1e6


def start(peer: Peer, size: Size, *, user: str = "", logs: bool = False) -> Figures:
    """From the supervisor's exec until the last program's first instruction; and what that cost all processes."""
    programs = [Program("p", count=size.programs, user=user, log="auto" if logs else "none")]
    with running(peer, programs, ready=False) as one:
        born = one.stamps.wait(size.programs)
        cpu = family_time(one.family)
        wall = (max(stamp.value for stamp in born) - one.began) / 1e6
    return {"wall": wall, "cpu": cpu}


def start_as_user(peer: Peer, size: Size) -> Figures:
    """The same with `user=` on every program."""
    return start(peer, size, user="nobody")


def start_with_logs(peer: Peer, size: Size) -> Figures:
    """The same with the logs that one gets without asking."""
    return start(peer, size, logs=True)


def shutdown(peer: Peer, size: Size) -> Figures:
    """Ask the supervisor to end, until it and all its programs have."""
    with running(peer, [Program("p", count=size.programs)]) as one:
        time.sleep(REST)  # runsv again
        return {"wall": one.shut_down()}


def first(peer: Peer, size: Size) -> Figures:
    """From the supervisor's exec to the first instruction of its only program, and to its first answer."""
    alive, answers = [], []
    for _ in range(size.times):
        with running(peer, [Program("p")], ready=False) as one:
            if peer.name in TALKING:
                until(lambda: answered(one), "an answer", 0.001)
                answers.append((time.monotonic_ns() - one.began) / 1e6)
            alive.append((one.stamps.wait(1)[0].value - one.began) / 1e6)
    return {"alive": percentile(alive, 0.5)} | ({"answers": percentile(answers, 0.5)} if answers else {})


def answered(one: Running) -> bool:
    """Whether it answers a call."""
    try:
        with Caller(one.site.socket) as caller:
            return bool(caller.rpc("getState"))
    except OSError:
        return False
