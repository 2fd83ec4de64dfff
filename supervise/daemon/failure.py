"""Ending a process that is up but of no use."""

import asyncio
import logging
import signal

from supervise.core.process import UP
from supervise.daemon.process import Process
from supervise.daemon.supervisor import Supervisor

log = logging.getLogger("supervise")


def fail(supervisor: Supervisor, process: Process, reason: str) -> None:
    """Make it end as a stop would: its stop signal, and SIGKILL after stopwaitsecs. But nobody ordered that, so its
    end counts as an unexpected exit, for `reason`, and its restart policy says what follows. Loop thread."""
    pid, config = process.machine.pid, process.config
    if pid is None or process.failure or process.state not in UP:
        return
    process.failure = reason

    def send(number: int, group: bool) -> None:
        try:
            supervisor.send(process, number, group)
        except ProcessLookupError:
            pass  # its end is about to be told
        except OSError as error:
            log.error("signal %d could not be sent to %s (%d): %s", number, process.namespec, pid, error.strerror)

    def insist() -> None:
        if process.machine.pid == pid and process.state in UP:
            log.warning("killing '%s' (%d) with SIGKILL", process.name, pid)
            send(signal.SIGKILL, config.killasgroup)

    send(config.stopsignal, config.stopasgroup)
    asyncio.get_running_loop().call_later(config.stopwaitsecs, insist)
