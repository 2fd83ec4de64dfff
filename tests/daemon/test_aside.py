"""Work that blocks, and who does not wait for it."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable

import pytest

from supervise.daemon.aside import Aside, Busy
from tests.tools import ROOT


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with asyncio.timeout(60):
            await story()

    asyncio.run(whole())


def test_what_comes_of_it() -> None:
    def fail(error: BaseException) -> None:
        raise error

    async def story() -> None:
        aside = Aside(1)
        assert await aside.run(lambda: 7) == 7
        for given, seen in ((KeyError("k"), KeyError), (StopIteration(1), RuntimeError), (SystemExit(3), RuntimeError)):
            with pytest.raises(seen):
                await aside.run(lambda given=given: fail(given))
        assert await aside.run(threading.current_thread) is not threading.main_thread()

    run(story)


def test_some_wait_for_a_thread_and_no_more() -> None:
    go = threading.Event()

    async def story() -> None:
        aside = Aside(1, waiting=1)
        first, second = (asyncio.ensure_future(aside.run(go.wait)) for _ in range(2))
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await aside.run(go.wait)
        go.set()
        assert await first
        assert await second
        assert await aside.run(lambda: True)

    run(story)


def test_nobody_waits_for_ever_and_the_thread_counts_until_it_ends() -> None:
    go = threading.Event()

    async def story() -> None:
        aside = Aside(1)
        with pytest.raises(TimeoutError):
            await aside.run(go.wait, 0.05)
        with pytest.raises(Busy):
            await aside.run(go.wait)
        go.set()
        while True:
            try:
                assert await aside.run(lambda: True)
                return
            except Busy:
                await asyncio.sleep(0.01)

    run(story)


def test_the_end_waits_for_none_of_it() -> None:
    code = """
import asyncio, threading
from supervise.daemon.aside import Aside
async def main():
    try:
        await Aside(1).run(threading.Event().wait, 0.05)
    except TimeoutError:
        print("late")
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert (done.returncode, done.stdout) == (0, "late\n")
