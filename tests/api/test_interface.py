"""What plugins get. The verbs are tried through a running daemon in test_plugins."""

import asyncio
from typing import Any, cast

import pytest

from supervise.api.interface import NeedsSupervisord, Supervise


class Verbs:
    """A stand-in for the commands: one verb."""

    async def update(self, groups: Any, *, dry_run: bool) -> list[Any]:
        await asyncio.sleep(0)
        return []


def test_verbs_from_both_kinds_of_method() -> None:
    async def story() -> None:
        one = Supervise("x", cast("Any", Verbs()))
        assert await one.update() == []
        assert await asyncio.to_thread(lambda: one.wait(one.update())) == []
        with pytest.raises(RuntimeError, match="use await"):
            one.wait(one.update())

    asyncio.run(story())


def test_tasks_end_with_the_plugin(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        one = Supervise("x", cast("Any", Verbs()))
        ended = asyncio.Event()

        async def forever() -> None:
            try:
                await asyncio.sleep(1000)
            finally:
                ended.set()

        async def fails() -> None:
            raise ZeroDivisionError

        await asyncio.to_thread(one.spawn, forever())
        one.spawn(fails())
        await asyncio.sleep(0.01)
        one.close()
        await asyncio.wait_for(ended.wait(), 30)

    asyncio.run(story())
    assert "RPC interface 'x': its task failed" in caplog.text


def test_supervisords_objects_are_not_there() -> None:
    async def story() -> None:
        one = Supervise("twiddler", cast("Any", Verbs()))
        with pytest.raises(NeedsSupervisord, match=r"supervise has no 'options': the plugin \[rpcinterface:twiddler\]"):
            _ = one.options
        assert not hasattr(one, "supervisord")

    asyncio.run(story())
