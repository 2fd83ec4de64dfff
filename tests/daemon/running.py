"""A supervisor in this very process, with real children, for tests of the daemon's rooms."""

import asyncio
import resource
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from supervise.config.model import GroupConfig, ProgramConfig
from supervise.core.events import DaemonState, State, StateChanged
from supervise.daemon.bus import Bus
from supervise.daemon.logs import Logs
from supervise.daemon.memory import Memory
from supervise.daemon.process import Process
from supervise.daemon.supervisor import Supervisor
from supervise.system.reap import Reaper

PATIENCE = 30.0  # seconds before a condition that does not come true fails the test


def program(name: str, command: str, **options: Any) -> ProgramConfig:
    """A program in a group of its own, quick to count as RUNNING, without log files."""
    quiet: dict[str, Any] = {"startsecs": 0.05, "stdout_logfile": None, "stderr_logfile": None}
    facts: dict[str, Any] = {"name": name, "program": name, "group_name": name, "command": command} | quiet | options
    return ProgramConfig(**facts)


def sh(name: str, script: str, **options: Any) -> ProgramConfig:
    """A program that is a shell script."""
    return program(name, f"/bin/sh -c {shlex.quote(script)}", **options)


def group(*programs: ProgramConfig, **options: Any) -> GroupConfig:
    """The group that the first program names, with all of these."""
    return GroupConfig(name=programs[0].group_name, processes=programs, **options)


@asynccontextmanager
async def supervising(
    childlogdir: Path, *groups: GroupConfig, memory: Memory | None = None
) -> AsyncIterator[Supervisor]:
    """A running supervisor with these groups added; at the end everything is killed and closed."""
    loop = asyncio.get_running_loop()
    reaper = Reaper(loop)
    logs = Logs(loop, childlogdir=str(childlogdir), identifier="test")
    supervisor = Supervisor(logs, reaper, Bus(), memory)
    for config in groups:
        supervisor.add_group(config)
    try:
        yield supervisor
    finally:
        supervisor.state = DaemonState.RUNNING
        for process in supervisor.processes():
            if process.machine.pid is not None:
                supervisor._kill(process, process.machine.pid, 9, True)
        await asyncio.wait_for(supervisor.stop(list(supervisor.processes())), PATIENCE)
        for name in list(supervisor.groups):
            supervisor.remove_group(name)
        await logs.close()
        supervisor.spawning.close()
        reaper.close()


def process(supervisor: Supervisor, name: str) -> Process:
    """One process by `name` or `group:name`."""
    group_name, _, process_name = name.partition(":")
    return supervisor.groups[group_name].processes[process_name or group_name]


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds that no event of a process announces."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(FileNotFoundError):  # it is made soon
                if condition():
                    return
            await asyncio.sleep(0.005)


async def reach(supervisor: Supervisor, name: str, state: State) -> None:
    """Wait until a process is in `state`."""
    one = process(supervisor, name)
    await asyncio.wait_for(one.until(lambda: one.state is state), PATIENCE)


def run(story: Callable[[], Awaitable[None]]) -> None:
    """Run a coroutine to its end, within bounds."""
    asyncio.run(asyncio.wait_for(story(), 4 * PATIENCE))


def record(supervisor: Supervisor) -> list[str]:
    """A list that grows by `name STATE` with every change."""
    seen: list[str] = []

    def note(notification: object) -> None:
        if isinstance(notification, StateChanged):
            seen.append(f"{notification.name} {notification.new.name}")

    supervisor.bus.listen(note)
    return seen


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Inside, this process cannot open anything."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as taken:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, limits[1]), limits[1]))
        try:
            with suppress(OSError):
                while True:
                    taken.enter_context(open("/dev/null", "rb"))
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
