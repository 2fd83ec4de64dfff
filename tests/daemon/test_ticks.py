import asyncio
import time
from typing import Any

from supervise.core.events import Tick
from supervise.daemon.ticks import Ticks, delay, floor
from tests.daemon.running import eventually, run


def test_moments() -> None:
    assert floor(1234567899.9, 5) == 1234567895
    assert floor(1234567895.0, 5) == 1234567895
    assert floor(3599.0, 3600) == 0
    assert 0 < delay(1234567894.5, 5) <= 0.502
    assert 4.99 < delay(1234567895.0, 5) <= 5.002


def test_a_tick_for_each_period_that_the_clock_enters() -> None:
    async def story() -> None:
        seen: list[Tick] = []
        ticks = Ticks(seen.append)
        ticks.want({1, 2})  # shorter than any that listeners can have
        await eventually(lambda: [tick.period for tick in seen].count(2) >= 2)
        ticks.close()
        for period in (1, 2):
            whens = [tick.when for tick in seen if tick.period == period]
            assert all(when % period == 0 for when in whens)
            assert whens == sorted(set(whens))
        assert abs(seen[-1].when - time.time()) < 5

    run(story)


def test_nobody_wants_any() -> None:
    async def story() -> None:
        ticks = Ticks(lambda tick: None)
        assert ticks._timer is None
        ticks.want({5})
        assert ticks._timer is not None
        ticks.want(())
        assert ticks._timer is None
        loop: Any = asyncio.get_running_loop()
        waiting = [handle.when() - loop.time() for handle in loop._scheduled if not handle.cancelled()]
        assert not [seconds for seconds in waiting if seconds < 10]

    run(story)
