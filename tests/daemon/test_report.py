"""What the service manager hears, and when."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from supervise.core.events import DaemonChanged, DaemonState, State, StateChanged
from supervise.daemon.report import Report, status
from supervise.system.notify import Notifier


@pytest.mark.parametrize(
    ("states", "text"),
    [
        ([], "no programs"),
        ([State.RUNNING] * 12 + [State.BACKOFF], "12 running, 1 backoff"),
        ([State.UNKNOWN, State.STOPPED, State.FATAL, State.EXITED], "1 fatal, 1 exited, 1 stopped, 1 unknown"),
    ],
)
def test_the_status_line(states: list[State], text: str) -> None:
    assert status(states) == text


def changed(new: State) -> StateChanged:
    return StateChanged("a", "a", State.STARTING, new, True, 0, 1, 0.0)


def heard(
    tmp_path: Path, tell: Callable[[Report, list[State]], Awaitable[None]], environ: dict[str, str] | None = None
) -> list[str]:
    """Let a report live in a loop; returns the messages."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as manager:
        manager.bind(str(tmp_path / "n"))
        states = [State.STARTING]

        async def run() -> None:
            notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "n")} | (environ or {}))
            report = Report(notifier, lambda: states)
            await tell(report, states)
            report.close()

        asyncio.run(run())
        return received(manager)


def received(manager: socket.socket) -> list[str]:
    """What has come since the last time."""
    messages = []
    while True:
        try:
            messages.append(manager.recv(4096).decode())
        except BlockingIOError:
            return messages


def test_many_changes_make_one_line(tmp_path: Path) -> None:
    async def tell(report: Report, states: list[State]) -> None:
        report.ready()
        for new in (State.RUNNING, State.STOPPING, State.STOPPED, State.RUNNING) * 100:
            states[0] = new
            report.told(changed(new))
        await asyncio.sleep(0.5)

    ready, line = heard(tmp_path, tell)
    assert ready.endswith("STATUS=1 starting")
    assert line == "STATUS=1 running"


def test_a_reload_and_the_end(tmp_path: Path) -> None:
    async def tell(report: Report, states: list[State]) -> None:
        report.told(DaemonChanged(DaemonState.RUNNING))  # programs run, but nobody is answered yet
        report.ready()
        report.told(DaemonChanged(DaemonState.RESTARTING))
        report.told(DaemonChanged(DaemonState.RUNNING))
        report.told(DaemonChanged(DaemonState.SHUTDOWN))

    first = [message.split("\n")[0] for message in heard(tmp_path, tell)]
    assert first == ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]


def test_a_refused_reload_is_over(tmp_path: Path) -> None:
    async def tell(report: Report, states: list[State]) -> None:
        report.reloading()
        report.reload_refused()

    assert [message.split("\n")[0] for message in heard(tmp_path, tell)] == ["RELOADING=1", "READY=1"]


def test_pings_come_while_the_loop_turns(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as manager:
        manager.bind(str(tmp_path / "n"))

        async def run() -> None:
            notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "n"), "WATCHDOG_USEC": "100000"})
            report, messages = Report(notifier, lambda: [State.RUNNING]), list[str]()
            report.ready()
            async with asyncio.timeout(30):
                while messages.count("WATCHDOG=1") <= 2:
                    await asyncio.sleep(0.01)
                    messages += received(manager)
            report.close()

        asyncio.run(run())


def test_without_a_manager_nothing_is_even_looked_at() -> None:
    async def run() -> None:
        report = Report(Notifier({}), lambda: pytest.fail("counted for nobody"))
        report.told(changed(State.RUNNING))
        await asyncio.sleep(0.3)
        report.close()

    asyncio.run(run())


def test_that_it_is_ready_is_said_until_it_is_heard(tmp_path: Path) -> None:
    """A queue that is full when it is first said must not make the service manager wait for ever."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as manager:
        manager.bind(str(tmp_path / "n"))

        async def run() -> None:
            notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "n")})
            while notifier.send("X=1"):
                pass
            report = Report(notifier, lambda: [State.RUNNING])
            report.ready()
            heard = ""
            async with asyncio.timeout(30):
                while "READY=1" not in heard:
                    try:
                        heard = manager.recv(4096).decode()
                    except BlockingIOError:
                        await asyncio.sleep(0.01)
            report.close()

        asyncio.run(run())
