"""The options of [eventlistener:x]."""

from collections.abc import Callable

import pytest

from supervise.config.load import Examination
from supervise.config.model import EventLength, GroupConfig, OnProtocolError

Look = Callable[..., Examination]
LISTENER = "[eventlistener:l]\ncommand=x\nevents=EVENT\n"


def pool(found: Examination) -> GroupConfig:
    assert not found.errors, found.errors
    assert found.config
    (group,) = found.config.groups
    return group


def test_a_pool_waits_for_more_events_than_supervisords(look: Look) -> None:
    assert pool(look(LISTENER)) == GroupConfig(
        name="l",
        kind="pool",
        priority=-1,
        processes=pool(look(LISTENER)).processes,
        events=("EVENT",),
        buffer_size=None,
        result_handler="supervisor.dispatchers:default_handler",
        on_protocol_error=OnProtocolError.RESTART,
        event_length=EventLength.AUTO,
    )


def test_what_is_written_is_obeyed(look: Look) -> None:
    found = pool(look(f"{LISTENER}buffer_size=10\non_protocol_error=unknown\nevent_length=Characters"))
    assert found.buffer_size == 10
    assert found.on_protocol_error is OnProtocolError.UNKNOWN
    assert found.event_length is EventLength.CHARACTERS


@pytest.mark.parametrize(
    "line, wanted", [("on_protocol_error=ignore", "restart, unknown"), ("event_length=words", "auto, bytes")]
)
def test_other_values_are_refused(look: Look, line: str, wanted: str) -> None:
    (error,) = look(LISTENER + line).errors
    assert wanted in str(error)
