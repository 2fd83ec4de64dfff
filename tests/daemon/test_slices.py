"""Many things at once, and others in between."""

import asyncio
import gc
import logging

import pytest

from supervise.daemon.slices import SLICE, at_once
from tests.daemon.running import eventually, run


def test_all_are_under_way_at_the_same_time() -> None:
    async def story() -> None:
        everybody = asyncio.Barrier(3 * SLICE)

        async def act(number: int) -> int:
            await everybody.wait()
            return -number

        numbers = list(range(3 * SLICE))
        assert await at_once(act, numbers) == [-number for number in numbers]
        assert await at_once(act, []) == []

    run(story)


def test_others_have_their_turn_between() -> None:
    async def story() -> None:
        seen = list[int]()

        async def act(number: int) -> None:
            if number == SLICE - 1:
                asyncio.get_running_loop().call_soon(seen.append, -1)
            seen.append(number)

        await at_once(act, range(2 * SLICE))
        assert seen.index(-1) < 2 * SLICE
        assert [number for number in seen if number >= 0] == list(range(2 * SLICE))

    run(story)


def test_a_failure_is_raised() -> None:
    async def story() -> None:
        async def act(number: int) -> None:
            if number == SLICE + 1:
                raise LookupError

        with pytest.raises(LookupError):
            await at_once(act, range(2 * SLICE))

    run(story)


def test_cancelling_it_cancels_all() -> None:
    async def story() -> None:
        begun, ended = list[int](), list[int]()

        async def act(number: int) -> None:
            begun.append(number)
            try:
                await asyncio.sleep(1000)
            finally:
                ended.append(number)

        task = asyncio.ensure_future(at_once(act, range(2 * SLICE)))
        await eventually(lambda: len(begun) == 2 * SLICE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await eventually(lambda: sorted(ended) == begun)

    run(story)


@pytest.mark.parametrize("cancelled", [False, True])
def test_nobody_complains_of_the_others(cancelled: bool, caplog: pytest.LogCaptureFixture) -> None:
    """asyncio logged a traceback for every other slice that failed, or was cancelled."""

    async def story() -> None:
        begun = list[int]()

        async def act(number: int) -> None:
            begun.append(number)
            if not cancelled:
                raise LookupError
            await asyncio.sleep(1000)

        task = asyncio.ensure_future(at_once(act, range(3 * SLICE)))
        await eventually(lambda: len(begun) == 3 * SLICE)
        task.cancel()
        with pytest.raises((LookupError, asyncio.CancelledError)):
            await task
        del task
        await asyncio.sleep(0.1)
        gc.collect()

    with caplog.at_level(logging.ERROR, "asyncio"):
        run(story)
        gc.collect()
    assert caplog.text == ""
