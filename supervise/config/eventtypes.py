"""Event types that a plugin declares beside supervisord's: `event_types = {name: parent}` of its factory.

They are declared, and not registered by what the factory does, so that the types that [eventlistener:x] may name are
known when a configuration is read, whether it is to be used or only to be checked.
"""

import re
from collections.abc import Mapping

from supervise.config.values import EVENT_TYPES

MAX_TYPES = 1000  # of one plugin

_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,99}")


def declared(factory: object) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Each type with the types that it is a kind of, nearest first, besides EVENT. Raises ValueError.

    A parent is another type of the same plugin, one of supervisord's, or "" (which means EVENT).
    """
    types = getattr(factory, "event_types", {})
    if not isinstance(types, Mapping) or not all(isinstance(text, str) for pair in types.items() for text in pair):
        raise ValueError("event_types must be a dict of names and parents, such as {'DEPLOY_DONE': 'DEPLOY'}")
    if len(types) > MAX_TYPES:
        raise ValueError(f"event_types has more than {MAX_TYPES} names")
    for name, parent in types.items():
        if not _NAME.fullmatch(name) or name in EVENT_TYPES:
            raise ValueError(f"event_types: {name!r} cannot be the name of a new type")
        if parent and parent not in types and parent not in EVENT_TYPES:
            raise ValueError(f"event_types: the parent of {name} is unknown: {parent!r}")
    return tuple((name, _above(name, types)) for name in types)


def _above(name: str, types: Mapping[str, str]) -> tuple[str, ...]:
    found: list[str] = []
    while parent := types.get(name, ""):
        if parent in found:
            raise ValueError(f"event_types: {name} is a kind of itself")
        found += [parent] if parent in types else _stock(parent)
        name = parent
    return tuple(found)


def _stock(parent: str) -> list[str]:
    """One of supervisord's types and those above it, whose names are beginnings of its own."""
    kinds = [type for type in EVENT_TYPES if type != "EVENT" and f"{parent}_".startswith(f"{type}_")]
    return sorted(kinds, key=len, reverse=True)
