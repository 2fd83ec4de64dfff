import asyncio
import os
from functools import partial

import pytest

from supervise.daemon import draining
from supervise.daemon.channel import Channel
from supervise.daemon.childpipe import ChildPipe
from supervise.daemon.draining import Drain
from supervise.system.pipes import open_pipe
from supervise.system.pump import Pump
from tests.daemon.running import eventually, run


def test_all_that_is_there_comes_first() -> None:
    async def story() -> None:
        loop, pump = asyncio.get_running_loop(), Pump()
        channel, (reader, writer) = Channel(loop, "g:p", "stdout"), open_pipe()
        pipe, called = ChildPipe(pump, channel, reader), list[bytes]()
        os.write(writer, b"last words")
        pump.call(partial(Drain(loop, pump, lambda: called.append(channel.tail_ring())).take, [pipe]))
        await eventually(lambda: bool(called))
        os.close(writer)
        await eventually(lambda: pipe.fd < 0)
        assert called == [b"last words"], "once"
        await asyncio.to_thread(pump.close)

    run(story)


def test_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        monkeypatch.setattr(draining, "DRAIN", 0.05)
        loop, pump, called = asyncio.get_running_loop(), Pump(), list[int]()
        go_on = pump.pause(60)  # as if it hung in a file
        assert go_on is not None
        drain = Drain(loop, pump, lambda: called.append(1))
        pump.call(partial(drain.take, []))
        await eventually(lambda: bool(called))
        go_on()
        await asyncio.to_thread(pump.close)
        assert called == [1]

    run(story)
