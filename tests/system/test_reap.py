"""Ends of processes: children, orphans, strangers."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import psutil
import pytest

from supervise.system.reap import SLICE, Reaper, Watch, decode, describe
from tests.tools import ROOT, missing, wait_for

LONG = 30.0
PTRACE_SEIZE = 0x4206  # linux/ptrace.h


STARTED = set[int]()  # here; whoever runs the tests has other children, and some of other tests end late


def start(*command: str) -> int:
    """A child that `subprocess` does not wait for."""
    process = subprocess.Popen(command)
    process.returncode = 0
    STARTED.add(process.pid)
    return process.pid


@asynccontextmanager
async def reaper() -> AsyncIterator[tuple[Reaper, list[tuple[int, int]]]]:
    orphans: list[tuple[int, int]] = []

    def orphaned(pid: int, status: int) -> None:
        if pid in STARTED:
            orphans.append((pid, status))

    own = Reaper(asyncio.get_running_loop(), orphaned)
    yield own, orphans
    own.close()


async def end(own: Reaper, pid: int) -> tuple[int, bool]:
    future = asyncio.get_running_loop().create_future()
    own.watch(pid, lambda *ended: future.set_result(ended))
    async with asyncio.timeout(LONG):
        ended: tuple[int, bool] = await future
    return ended


def ended(own: Reaper, count: int, see: Callable[..., None]) -> list[int]:
    """So many children that are watched, and are zombies."""
    pids = [start("sleep", "1000") for _ in range(count)]
    for pid in pids:
        own.watch(pid, see)
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: all(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE for pid in pids))
    return pids


def test_every_exit_code_and_signal() -> None:
    async def story() -> None:
        async with reaper() as (own, orphans):
            for code in (0, 1, 7, 127, 255):
                assert await end(own, start("sh", "-c", f"exit {code}")) == (code, False)
            for number in (1, 9, 15, 34, 64):
                assert await end(own, start("sh", "-c", f"kill -{number} $$")) == (-number, False)
            assert orphans == []
            assert own.watched == frozenset()

    asyncio.run(story())


def test_others_have_their_turn_while_many_are_reaped() -> None:
    async def story() -> None:
        seen = list[str]()

        def see(*_: object) -> None:
            if not seen:
                asyncio.get_running_loop().call_soon(seen.append, "another")
            seen.append("ended")
            time.sleep(SLICE)

        async with reaper() as (own, _):
            pids = ended(own, 5, see)
            async with asyncio.timeout(LONG):
                while seen.count("ended") < len(pids):
                    await asyncio.sleep(0.01)
            assert seen[-1] == "ended"

    asyncio.run(story())


def test_what_the_first_of_many_ends_calls_for_comes_before_the_others() -> None:
    """The kernel takes its time over a thousand children, and a successor need not wait for that."""

    async def story() -> None:
        loop, seen = asyncio.get_running_loop(), list[str]()

        def see(*_: object) -> None:
            loop.call_soon(seen.append, "done")
            seen.append("told")

        async with reaper() as (own, _):
            pids = ended(own, 3, see)
            async with asyncio.timeout(LONG):
                while len(seen) < 2 * len(pids):
                    await asyncio.sleep(0)
        assert seen[:2] == ["told", "done"]

    asyncio.run(story())


def test_what_is_left_to_reap_is_left_to_who_comes_next() -> None:
    async def story() -> None:
        seen = list[int]()

        def see(*_: object) -> None:
            seen.append(1)
            time.sleep(SLICE)

        async with reaper() as (own, _):
            pids = ended(own, 3, see)
            async with asyncio.timeout(LONG):
                while not seen:
                    await asyncio.sleep(0)
            own.pause()
            count = len(seen)
            await asyncio.sleep(0.05)
            assert len(seen) == count
            own.resume()
            assert len(seen) == len(pids)

    asyncio.run(story())


def test_children_of_others_are_no_trouble_here() -> None:
    """What a test before this may have left: the status of a child that nobody has asked for."""

    async def story() -> None:
        other = subprocess.Popen(["sleep", "1000"])
        other.kill()
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        async with reaper() as (own, orphans):
            assert await end(own, start("true")) == (0, False)
            with pytest.raises(ChildProcessError):
                os.waitpid(other.pid, 0)
            assert orphans == []
        other.returncode = -signal.SIGKILL

    asyncio.run(story())


def test_many_that_end_at_once() -> None:
    async def story() -> None:
        async with reaper() as (own, _):
            pids = [start("sleep", "1000") for _ in range(50)]
            waiting = [asyncio.create_task(end(own, pid)) for pid in pids]
            await asyncio.sleep(0)
            assert own.watched == set(pids)
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            assert await asyncio.gather(*waiting) == [(-9, False)] * 50

    asyncio.run(story())


def test_a_callback_that_fails_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def mistake(*_: object) -> None:
        raise ZeroDivisionError

    async def story() -> None:
        async with reaper() as (own, _):
            own.watch(start("true"), mistake)
            assert await end(own, start("sleep", "0.05")) == (0, False)

    asyncio.run(story())
    assert "could not report the end of process" in caplog.text


def test_a_child_nobody_watches_is_reaped_and_told(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        caplog.set_level("INFO")
        async with reaper() as (own, orphans):
            pid = start("sh", "-c", "exit 3")
            while not orphans:
                await asyncio.sleep(0.01)
            assert orphans == [(pid, 3)]
            assert f"reaped unknown pid {pid} (exit status 3)" in caplog.messages
            assert own.watched == frozenset()

    asyncio.run(asyncio.wait_for(story(), LONG))


def test_a_status_is_held_for_who_watches_late() -> None:
    async def story() -> None:
        async with reaper() as (own, orphans):
            with own.held():
                pids = [start("sh", "-c", f"exit {code}") for code in (4, 5)]
                for pid in pids:
                    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
                own.reap()
                assert await end(own, pids[0]) == (4, False)
                assert orphans == []
            assert orphans == [(pids[1], 5)]

    asyncio.run(story())


def test_who_is_taken_is_told_of_to_nobody() -> None:
    async def story() -> None:
        async with reaper() as (own, orphans):
            watched, unknown = start("sleep", "1000"), start("true")
            own.watch(watched, lambda *_: pytest.fail("told"))
            os.kill(watched, signal.SIGKILL)
            for pid in (watched, unknown):
                own.take(pid, LONG)
                with pytest.raises(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
            assert await end(own, start("true")) == (0, False)
            assert (orphans, own.watched) == ([], frozenset())

    asyncio.run(story())


def test_who_is_kept_by_a_debugger_is_taken_later() -> None:
    """Until that has taken notice of the end, wait(2) by the parent waits."""

    async def story() -> None:
        async with reaper() as (own, orphans):
            pid = start("sleep", "1000")
            own.watch(pid, lambda *_: pytest.fail("told"))
            with traced(pid):
                os.kill(pid, signal.SIGKILL)
                own.take(pid)
                assert own.watched == {pid}
            async with asyncio.timeout(LONG):
                while own.watched:
                    await asyncio.sleep(0.01)
            assert orphans == []

    asyncio.run(story())


TRACER = (
    "import ctypes, os, sys;"
    f"seized = ctypes.CDLL(None).ptrace({PTRACE_SEIZE}, int(sys.argv[1]), 0, 0) == 0;"
    "print(seized, flush=True);"
    "sys.stdin.read()"
)


@contextmanager
def traced(pid: int) -> Iterator[None]:
    """By another process, which takes notice of nothing until it ends, but at most for so long."""
    command = ["timeout", "-s", "KILL", str(LONG), sys.executable, "-c", TRACER, str(pid)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as tracer:
        assert tracer.stdin is not None
        assert tracer.stdout is not None
        if tracer.stdout.readline() != "True\n":
            missing("a child cannot be traced here")
        yield
        tracer.stdin.close()


def test_orphans_come_to_the_subreaper() -> None:
    """A grandchild whose parent ended is reaped by us, and is no zombie."""
    code = """
import asyncio, os, subprocess
from supervise.system.reap import Reaper, become_subreaper
async def story():
    assert become_subreaper()
    ended = asyncio.get_running_loop().create_future()
    own = Reaper(asyncio.get_running_loop(), lambda pid, status: ended.set_result(status))
    child = subprocess.Popen(["sh", "-c", "(sleep 0.2; exit 42) &"])
    child.returncode = 0
    own.watch(child.pid, lambda *_: None)
    print(await asyncio.wait_for(ended, 30))
asyncio.run(story())
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (run.stdout, run.stderr) == ("42\n", "")


def test_a_stranger_is_watched_by_pidfd() -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        shell = await asyncio.create_subprocess_exec("sh", "-c", "sleep 1000 & echo $!; wait", stdout=-1)
        assert shell.stdout
        pid = int(await shell.stdout.readline())
        gone = loop.create_future()
        watch = Watch(loop, pid, lambda: gone.set_result(None))
        never = Watch(loop, pid, lambda: pytest.fail("it was cancelled"))
        never.cancel()
        never.cancel()
        assert not never.signal(0)
        assert watch.signal(signal.SIGKILL)
        await asyncio.wait_for(gone, LONG)
        assert not watch.signal(signal.SIGKILL)
        await shell.wait()
        with pytest.raises(ProcessLookupError):
            Watch(loop, pid, lambda: None)

    asyncio.run(story())


def test_words_of_supervisord() -> None:
    assert describe(0x0300) == "exit status 3"
    assert describe(9) == "terminated by SIGKILL"
    assert describe(11 | 0x80) == "terminated by SIGSEGV (core dumped)"
    assert describe(50) == "terminated by signal 50"
    assert decode(11 | 0x80) == (-11, True)
