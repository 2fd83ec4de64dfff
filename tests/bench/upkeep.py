"""What a supervisor costs while nothing happens: processor, memory, descriptors; and what its memory of it costs."""

import asyncio
import logging
import os
import tempfile
import time
from pathlib import Path

from supervise.core.events import Start, State, StateChanged, Stop
from supervise.daemon.memory import Memory
from supervise.daemon.process import Process
from supervise.system.handover import Handover
from supervise.system.journal import Journal
from tests.bench.gauges import descriptors, proportional, usage
from tests.bench.peers import Peer, Program
from tests.bench.rows import Figures, Size
from tests.bench.running import MEMORY, running
from tests.daemon.running import group, program, reach, supervising

SETTLING = 3.0  # seconds after the start until it is said to be idle


def idle(peer: Peer, size: Size) -> Figures:
    """Processor time and wake-ups of all processes of the supervisor while nothing happens."""
    with running(peer, [Program("p", count=size.programs)]) as one:
        time.sleep(min(SETTLING, size.seconds))
        daemons = one.daemons
        before = usage(daemons)
        time.sleep(size.seconds)
        spent = usage(daemons).since(before)
    return {"cpu": spent.cpu * 1000, "wakeups": spent.waits / size.seconds}


def memory(peer: Peer, size: Size) -> Figures:
    """With one program, and what each further one adds."""
    alone, together = (resident(peer, count) for count in (1, size.programs))
    return {"one": alone / 1024, "each": (together - alone) / (size.programs - 1)}


def resident(peer: Peer, programs: int) -> float:
    """KiB of the supervisor's processes."""
    with running(peer, [Program("p", count=programs, log="auto")]) as one:
        time.sleep(0.5)
        return proportional(one.daemons)


def files(peer: Peer, size: Size) -> Figures:
    """Open descriptors that each program adds, and how many more there are after all were restarted twice."""
    with running(peer, [Program("p", log="auto")]) as one:
        alone = descriptors(one.daemons)
    with running(peer, [Program("p", count=size.programs, log="auto")]) as one:
        time.sleep(0.3)
        together = descriptors(one.daemons)
        for turn in range(2):
            one.command("restart", "all")
            one.stamps.wait(size.programs * (turn + 2))
        time.sleep(0.3)
        leaked = descriptors(one.daemons) - together
    return {"each": (together - alone) / (size.programs - 1), "leaked": leaked}


class Timed(Memory):
    """A memory that knows how long it has been written to."""

    spent = 0  # ns

    def remember(self, process: Process) -> None:
        begin = time.perf_counter_ns()
        super().remember(process)
        self.spent += time.perf_counter_ns() - begin


def journal(peer: Peer, size: Size) -> Figures:
    """Time in the journal for each change of a program's state, in this very process: a program is started and stopped
    again and again."""
    return asyncio.run(_journal(size.times))


async def _journal(cycles: int) -> Figures:
    logging.getLogger("supervise").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(dir=MEMORY if os.path.isdir(MEMORY) else None) as place:
        memory = Timed(Journal(f"{place}/state"), Handover())
        changes = 0

        def told(notification: object) -> None:
            nonlocal changes
            changes += isinstance(notification, StateChanged)

        config = group(program("p", "sleep 1000", startsecs=0, stdout_logfile="AUTO", stderr_logfile="AUTO"))
        async with supervising(Path(place), config, memory=memory) as supervisor:
            supervisor.bus.listen(told)
            process = supervisor.groups["p"].processes["p"]
            for _ in range(cycles):
                supervisor.tell(process, Start())
                await reach(supervisor, "p", State.RUNNING)
                supervisor.tell(process, Stop())
                await reach(supervisor, "p", State.STOPPED)
            cost = memory.spent / changes / 1000
        memory.close(everything_stopped=True)
    return {"cost": cost}
