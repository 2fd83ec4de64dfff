"""What is stopped only to be started again is started also if we are killed in between: by the next daemon."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from supervise.core.events import DaemonState, Start, State
from supervise.daemon.process import Process
from supervise.daemon.supervisor import Supervisor


def owe(supervisor: Supervisor, processes: Iterable[Process]) -> None:
    """From now on the daemon after us would start these. Whoever starts one before has paid (`Supervisor`)."""
    for process in processes:
        process.owed = True
        if process.state is not State.RUNNING:  # that would just go on; it is remembered when it is told to stop
            supervisor.memory.remember(process)


@contextmanager
def owed(supervisor: Supervisor, processes: Iterable[Process]) -> Iterator[None]:
    """Inside, these are stopped, and started again or removed; the daemon after one that dies inside starts them. Nor
    is it over when a shutdown has come in between, which starts nothing any more."""
    owing = list(processes)
    owe(supervisor, owing)
    try:
        yield
    finally:
        for process in owing:
            if process.owed and not process.removed and supervisor.state is not DaemonState.SHUTDOWN:
                process.owed = False
                supervisor.memory.remember(process)


def make_good(supervisor: Supervisor) -> None:
    """Start what a daemon before us was about to start again; while it is still ending, as soon as it has ended."""
    for process in list(supervisor.processes()):
        if process.owed:
            supervisor.tell(process, Start())
