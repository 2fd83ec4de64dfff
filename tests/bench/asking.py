"""What an operator waits for: whole commands, and calls on a connection that is kept."""

import json
import time
from collections.abc import Callable

from tests.bench.gauges import percentile
from tests.bench.peers import Ini, Peer, Program
from tests.bench.reaction import REST
from tests.bench.rows import Figures, Size
from tests.bench.running import running


def status(peer: Peer, size: Size) -> Figures:
    """`status`, from fork to exit."""
    with running(peer, [Program("p", count=size.programs)]) as one:
        one.command("status")
        return {"wall": percentile([one.command("status") for _ in range(size.times)], 0.5)}


def restart(peer: Peer, size: Size) -> Figures:
    """`restart` of one program: the whole command, and until the first instruction of the new process."""
    whole, alive = [], []
    with running(peer, [Program("p", count=size.programs)]) as one:
        time.sleep(REST)
        for turn in range(size.times):
            name = f"p{turn % size.programs:04}"
            begin = time.monotonic_ns()
            whole.append(one.command("restart", name))
            alive.append((one.stamps.wait(size.programs + turn + 1)[-1].value - begin) / 1e6)
    return {"wall": percentile(whole, 0.5), "alive": percentile(alive, 0.5)}


def stop_all(peer: Peer, size: Size) -> Figures:
    """`stop all`, from fork to exit."""
    with running(peer, [Program("p", count=size.programs)]) as one:
        time.sleep(REST)
        return {"wall": one.command("stop", "all")}


def update(peer: Peer, size: Size) -> Figures:
    """`update` after one program of a group was given another command: the whole command, and how many processes it
    replaced."""
    assert isinstance(peer, Ini)
    programs = [Program(f"p{number}x") for number in range(size.programs)]
    group = f"[group:all]\nprograms = {','.join(program.name for program in programs)}\n"
    with running(peer, programs, group) as one:
        time.sleep(REST)
        programs[-1] = Program(programs[-1].name, "sit again")
        peer.prepare(one.site, programs, group)
        took = one.command("update")
        one.stamps.wait(size.programs + 1)
        born = 0
        while len(one.stamps.of("born")) > born:  # more may be replaced than should be
            born = len(one.stamps.of("born"))
            time.sleep(0.5)
        return {"wall": took, "touched": born - size.programs}


def all_info(peer: Peer, size: Size) -> Figures:
    """getAllProcessInfo by one client: calls a second."""
    with running(peer, [Program("p", count=size.programs)]) as one, one.call() as caller:
        answer = caller.rpc("getAllProcessInfo")
        assert answer.count(b"<name>statename</name>") == size.programs
        return {"rate": 1000 / percentile(times(lambda: caller.rpc("getAllProcessInfo"), size.seconds), 0.5)}


def json_list(peer: Peer, size: Size) -> Figures:
    """The JSON API's list of processes by one client: calls a second."""
    with running(peer, [Program("p", count=size.programs)]) as one, one.call() as caller:
        assert len(json.loads(caller.get("/processes"))["processes"]) == size.programs
        return {"rate": 1000 / percentile(times(lambda: caller.get("/processes"), size.seconds), 0.5)}


def get_state(peer: Peer, size: Size) -> Figures:
    """getState by one client: calls a second."""
    with running(peer, [Program("p", count=size.programs)]) as one, one.call() as caller:
        time.sleep(min(1.0, size.seconds))
        took = times(lambda: caller.rpc("getState"), size.seconds)
        return {"rate": len(took) / sum(took) * 1000}


def while_flooded(peer: Peer, size: Size) -> Figures:
    """getState while a program writes as much as it can."""
    with running(peer, [Program("w", "flood", log="file")]) as one, one.call() as caller:
        took = times(lambda: caller.rpc("getState"), size.seconds)
    return {"p50": percentile(took, 0.5), "p99": percentile(took, 0.99)}


def times(call: Callable[[], object], seconds: float) -> list[float]:
    """Call again and again for so long, at least three times: ms of each."""
    took: list[float] = []
    end = time.perf_counter() + seconds
    while len(took) < 3 or time.perf_counter() < end:
        begin = time.perf_counter()
        call()
        took.append((time.perf_counter() - begin) * 1000)
    return took
