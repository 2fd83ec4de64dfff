"""The wording of faults where it needs care; that all calls answer as supervisord's do is asked in tests/compat."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from supervise.api.calls import Calls
from supervise.api.listing import Lists
from supervise.core.events import Notification, RemoteCommunication
from supervise.daemon.commands import Commands
from supervise.errors import CommandError
from tests.daemon.running import group, program, run, supervising


def test_a_name_is_repeated_as_it_was_written(place: Any) -> None:
    async def story() -> None:
        async with supervising(place, group(program("web", "sleep 100"))) as supervisor:
            commands = Commands(supervisor, cast(Any, None), cast(Any, None))
            calls = Calls(commands, Lists(commands))
            for name in ("web", "web:web"):
                assert await fault(lambda name=name: calls.stop(name)) == f"NOT_RUNNING: {name}"
            for name in ("", "nope", "web:", "web:*", "nope:*", "web:nope", ":", "::", "all", "w*"):
                if name not in ("web:", "web:*"):
                    assert await fault(lambda name=name: calls.start(name)) == f"BAD_NAME: {name}"
                assert await fault(lambda name=name: calls.get_process_info(name)) == f"BAD_NAME: {name}"
            assert await calls.start("web") is True
            assert await fault(lambda: calls.start("web:web")) == "ALREADY_STARTED: web:web"
            assert await fault(lambda: calls.signal("web", "NOPE")) == "BAD_SIGNAL: NOPE"
            assert await fault(lambda: calls.signal("web", "")) == "BAD_SIGNAL: "
            assert await fault(lambda: calls.send_stdin("web", 7)) == "INCORRECT_PARAMETERS: 7"
            assert await calls.stop("web:*") == [{"name": "web", "group": "web", "status": 80, "description": "OK"}]
            assert await calls.stop("web:*") == []
            assert await calls.signal("web:*", "HUP") == []

    run(story)


def test_whatever_is_sent_as_an_event_is_text_in_it(place: Any) -> None:
    async def story() -> None:
        async with supervising(place) as supervisor:
            commands = Commands(supervisor, cast(Any, None), cast(Any, None))
            calls, told = Calls(commands, Lists(commands)), list[Notification]()
            supervisor.bus.listen(told.append)
            for data in ("é", "é".encode(), 5, True, None, ["x"]):
                assert await calls.send_event(1, data) is True
            texts = ("é", "é", "5", "True", "None", "['x']")
            assert told == [RemoteCommunication("1", text) for text in texts]

    run(story)


async def fault(call: Callable[[], Awaitable[Any]]) -> str:
    with pytest.raises(CommandError) as caught:
        await call()
    return str(caught.value)
