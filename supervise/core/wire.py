"""Events as listeners are sent them: the types with their hierarchy and payloads, and the header.

The table is supervisord's manual (docs/events.rst) as 4.3.0 carries it out; tests/core/test_wire.py compares it with
the types that a configuration may name. A type is a kind of every type whose name is a beginning of its own
(TICK_5 is a TICK), and everything is an EVENT. Plugins declare types of their own, and what those are kinds of.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from supervise.core.events import Notification, PluginEvent

_PROCESS = "processname:{n.name} groupname:{n.group} "
_CHANGE = _PROCESS + "from_state:{n.old.name}"

PAYLOADS: Mapping[str, str] = {
    "PROCESS_STATE_STARTING": _CHANGE + " tries:{n.tries}",
    "PROCESS_STATE_RUNNING": _CHANGE + " pid:{n.pid}",
    "PROCESS_STATE_BACKOFF": _CHANGE + " tries:{n.tries}",
    "PROCESS_STATE_STOPPING": _CHANGE + " pid:{n.pid}",
    "PROCESS_STATE_EXITED": _CHANGE + " expected:{n.expected:d} pid:{n.pid}",
    "PROCESS_STATE_STOPPED": _CHANGE + " pid:{n.pid}",
    "PROCESS_STATE_FATAL": _CHANGE,
    "PROCESS_STATE_UNKNOWN": _CHANGE,
    "PROCESS_COMMUNICATION_STDOUT": _PROCESS + "pid:{n.pid}\n{n.text}",
    "PROCESS_COMMUNICATION_STDERR": _PROCESS + "pid:{n.pid}\n{n.text}",
    "PROCESS_LOG_STDOUT": _PROCESS + "pid:{n.pid} channel:{n.channel}\n{n.text}",
    "PROCESS_LOG_STDERR": _PROCESS + "pid:{n.pid} channel:{n.channel}\n{n.text}",
    "REMOTE_COMMUNICATION": "type:{n.kind}\n{n.data}",
    "SUPERVISOR_STATE_CHANGE_RUNNING": "",
    "SUPERVISOR_STATE_CHANGE_STOPPING": "",
    "TICK_5": "when:{n.when}",
    "TICK_60": "when:{n.when}",
    "TICK_3600": "when:{n.when}",
    "PROCESS_GROUP_ADDED": "groupname:{n.group}\n",
    "PROCESS_GROUP_REMOVED": "groupname:{n.group}\n",
}
EVERYTHING = "EVENT"
ABSTRACT = frozenset(
    {EVERYTHING, "PROCESS_STATE", "PROCESS_COMMUNICATION", "PROCESS_LOG", "SUPERVISOR_STATE_CHANGE", "TICK"}
    | {"PROCESS_GROUP"}
)
PERIODS: Mapping[str, int] = {"TICK_5": 5, "TICK_60": 60, "TICK_3600": 3600}  # seconds


class Event(NamedTuple):
    """One event, encoded once for all pools. `serial` counts the events of a daemon that any pool has asked for."""

    serial: int
    type: str
    payload: bytes


def kinds(type: str) -> Iterator[str]:
    """The type itself and all that it is a kind of."""
    yield type
    while type := type.rpartition("_")[0]:
        if type in ABSTRACT:
            yield type
    yield EVERYTHING


def subscribed(types: tuple[str, ...]) -> frozenset[str]:
    """What a subscription to `types` brings: concrete types of ours, and what `names` is compared with."""
    return frozenset(type for type in PAYLOADS if any(kind in types for kind in kinds(type))).union(types)


def names(notification: Notification) -> frozenset[str]:
    """What brings this notification, if `subscribed` has one of them."""
    if isinstance(notification, PluginEvent):
        return frozenset((notification.type, *notification.kinds, EVERYTHING))
    return frozenset((notification.type,))


def payload(notification: Notification) -> bytes:
    """The payload of an event. It is always UTF-8: what a name or a text cannot be said in is said by its escape."""
    if isinstance(notification, PluginEvent):
        return notification.data.encode("utf-8", "backslashreplace")
    return PAYLOADS[notification.type].format(n=notification).encode("utf-8", "backslashreplace")


def envelope(event: Event, *, pool: str, poolserial: int, server: str, characters: bool = False) -> bytes:
    """Header and payload as they go to a listener.

    `len` counts bytes, as supervisord's manual has it. With `characters` it counts characters, as 4.x really does:
    for listeners that read text, and take each character for one.
    """
    length = len(event.payload.decode()) if characters else len(event.payload)
    header = (
        f"ver:3.0 server:{server} serial:{event.serial} pool:{pool} poolserial:{poolserial}"
        f" eventname:{event.type} len:{length}\n"
    )
    return header.encode("utf-8", "backslashreplace") + event.payload


def unfinished(data: bytes) -> int:
    """How many bytes at the end begin a character of UTF-8 that is not complete (0 to 3)."""
    for count in range(1, min(3, len(data)) + 1):
        byte = data[-count]
        if byte >= 0xC0:  # the first of 2, 3 or 4 bytes
            whole = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return count if whole > count and byte < 0xF8 else 0
        if byte < 0x80:
            return 0
    return 0
