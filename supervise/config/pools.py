"""The options that make a pool of event listeners out of a program."""

import enum
from dataclasses import dataclass

from supervise.config import values
from supervise.config.declare import Names, option
from supervise.config.values import Type, choice

BUFFER = 1000  # events that may wait for a pool where nobody says how many


class OnProtocolError(enum.Enum):
    """What becomes of an event listener that breaks the protocol."""

    RESTART = "restart"
    UNKNOWN = "unknown"


class EventLength(enum.Enum):
    """What the length in an event's header counts."""

    AUTO = "auto"
    BYTES = "bytes"
    CHARACTERS = "characters"


ON_PROTOCOL_ERROR = Type(
    "restart or unknown", choice(OnProtocolError), enum=tuple(each.value for each in OnProtocolError)
)
EVENT_LENGTH = Type("auto, bytes or characters", choice(EventLength), enum=tuple(each.value for each in EventLength))


@dataclass(frozen=True, kw_only=True, slots=True, repr=False, eq=False)
class PoolOptions:
    """Options of [eventlistener:x] beside those of every program."""

    NAMES = Names.HERE

    buffer_size: int | None = option(
        "How many events wait for a busy pool before the oldest is dropped (and 10 MiB of them at most). Unset: 1000,"
        " and not supervisord's 10, which overflows while listeners start.",
        values.INTEGER,
        None,
        where=("eventlistener",),
    )
    events: tuple[str, ...] = option("The event types it is sent.", values.EVENTS, (), where=("eventlistener",))
    result_handler: str = option(
        "The function that judges its results; it runs in a thread of its own.",
        values.FACTORY,
        "supervisor.dispatchers:default_handler",
        where=("eventlistener",),
    )
    on_protocol_error: OnProtocolError = option(
        "What becomes of a listener that writes to its stdout what does not belong there: it is ended and restarted as"
        " after an unexpected exit, or left running and never sent an event again (unknown, as supervisord does).",
        ON_PROTOCOL_ERROR,
        OnProtocolError.RESTART,
        where=("eventlistener",),
    )
    event_length: EventLength = option(
        "What len in the header of an event counts: bytes, as documented, or characters, as supervisord 4 does and"
        " listeners need that read their stdin as text. auto: bytes, until a Python listener is seen waiting for more.",
        EVENT_LENGTH,
        EventLength.AUTO,
        where=("eventlistener",),
    )

    @property
    def buffer_limit(self) -> int:
        """How many events may wait."""
        return BUFFER if self.buffer_size is None else self.buffer_size
