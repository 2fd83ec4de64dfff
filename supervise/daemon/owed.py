"""What a reload or an update has stopped only to start it again is started also if we are killed in between."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from supervise.core.events import Start
from supervise.daemon.process import Process
from supervise.daemon.supervisor import Supervisor


@contextmanager
def owed(supervisor: Supervisor, processes: Iterable[Process]) -> Iterator[None]:
    """Inside, these are stopped, and started again or removed; the daemon after one that dies inside starts them."""
    owing = list(processes)
    for process in owing:
        process.owed = True
        supervisor.memory.remember(process)
    try:
        yield
    finally:
        for process in owing:
            process.owed = False
            if not process.removed:
                supervisor.memory.remember(process)


def make_good(supervisor: Supervisor) -> None:
    """Start what a daemon before us was about to start again; while it is still ending, as soon as it has ended."""
    for process in list(supervisor.processes()):
        if process.owed:
            process.owed = False
            supervisor.tell(process, Start())
