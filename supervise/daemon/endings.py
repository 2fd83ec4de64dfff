"""When the end of a program is the end of the daemon, and with which exit status (`on_exit`, `on_fatal`)."""

import asyncio
import logging

from supervise.config.endings import OnEnd
from supervise.core.events import DaemonState, Notification, State, StateChanged
from supervise.daemon.lifecycle import Lifecycle
from supervise.daemon.process import Process
from supervise.daemon.supervisor import Supervisor

log = logging.getLogger("supervise")


class Endings:
    """Watches for the first program whose end is to be the daemon's; what ends by order does not count."""

    def __init__(self, supervisor: Supervisor, lifecycle: Lifecycle) -> None:
        self._supervisor, self._lifecycle = supervisor, lifecycle
        supervisor.bus.listen(self._told)

    def _told(self, notification: Notification) -> None:
        if not isinstance(notification, StateChanged) or self._supervisor.state is not DaemonState.RUNNING:
            return
        process = self._supervisor.groups[notification.group].processes[notification.name]
        match notification.new:
            case State.EXITED if process.config.on_exit is OnEnd.SHUTDOWN and not process.machine.wanted:
                status = exit_status(process)
            case State.FATAL if process.config.on_fatal is OnEnd.SHUTDOWN:
                status = exit_status(process) or 1
            case _:
                return
        ended = process.exits[-1].text if process.exits else process.machine.reason
        log.warning("%s is %s (%s): shutting down", process.namespec, notification.new.name, ended)
        asyncio.get_running_loop().call_soon(self._lifecycle.shutdown, status)  # when everybody has heard of this


def exit_status(process: Process) -> int:
    """What a shell would give for the last end of a process; 1 where that is not known."""
    status = process.machine.status
    if status is None:
        return 1
    return status if status >= 0 else 128 - status
