"""Reading the configuration beside the loop."""

import asyncio
import threading

import pytest

from supervise.config.model import Config, DaemonConfig
from supervise.daemon import loading
from supervise.daemon.loading import Loader
from supervise.errors import CommandError, Fault

EMPTY = Config(daemon=DaemonConfig(), file="/x", here="/")


def test_a_database_that_hangs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    monkeypatch.setattr(loading, "SECONDS", 0.05)
    monkeypatch.setattr(loading, "WAITING", 2)

    def load() -> Config:
        go.wait(60)
        return EMPTY

    async def story() -> None:
        loader = Loader(load)
        for _ in range(5):
            with pytest.raises(CommandError) as caught:
                await loader.read()
            assert caught.value.fault is Fault.CANT_REREAD
            assert "have not answered" in str(caught.value)
        go.set()
        async with asyncio.timeout(60):
            while True:
                try:
                    assert await loader.read() is EMPTY
                    return
                except CommandError:
                    await asyncio.sleep(0.01)

    asyncio.run(story())
