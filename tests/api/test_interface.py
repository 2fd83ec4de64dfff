"""What plugins get. The verbs are tried through a running daemon in test_plugins."""

import asyncio
from typing import Any, cast

import pytest

from supervise.api.interface import NeedsSupervisord, Supervise
from supervise.config.model import PluginConfig
from supervise.core.events import PluginEvent


class Verbs:
    """A stand-in for the commands: one verb."""

    async def update(self, groups: Any, *, dry_run: bool) -> list[Any]:
        await asyncio.sleep(0)
        return []

    def send_event(self, event: Any) -> None:
        self.sent = event


def interface(name: str, **types: tuple[str, ...]) -> Supervise:
    config = PluginConfig(name=name, factory="a:b", event_types=tuple(types.items()))
    return Supervise(config, cast("Any", Verbs()))


def test_verbs_from_both_kinds_of_method() -> None:
    async def story() -> None:
        one = interface("x")
        assert await one.update() == []
        assert await asyncio.to_thread(lambda: one.wait(one.update())) == []
        with pytest.raises(RuntimeError, match="use await"):
            one.wait(one.update())

    asyncio.run(story())


def test_only_declared_types_are_published() -> None:
    async def story() -> None:
        one = interface("x", DEPLOY_DONE=("DEPLOY",))
        await one.publish("DEPLOY_DONE", "release:3")
        assert cast("Any", one)._commands.sent == PluginEvent("DEPLOY_DONE", ("DEPLOY",), "release:3")
        with pytest.raises(ValueError, match=r"\[rpcinterface:x\] does not declare 'TICK_5'"):
            await one.publish("TICK_5", "when:0")

    asyncio.run(story())


def test_tasks_end_with_the_plugin(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        one = interface("x")
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
        one = interface("twiddler")
        with pytest.raises(NeedsSupervisord, match=r"supervise has no 'options': the plugin \[rpcinterface:twiddler\]"):
            _ = one.options
        assert not hasattr(one, "supervisord")

    asyncio.run(story())
