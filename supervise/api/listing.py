"""The list of all processes, as XML-RPC and as JSON: what clients poll, be it once a second.

Almost everything in it is what it was the last time, so what is lasting about a process is rendered once and kept with
the facts that it says (`daemon.info.facts` returns the same object until something has changed). What moves by itself
(the present time, how long it has been up, when it is tried again) is put in for each answer.
"""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from supervise.api import shapes, structs
from supervise.api.wire import Pieces
from supervise.daemon.commands import Commands
from supervise.daemon.info import Facts

AT_ONCE = 250  # processes that are rendered before something else has its turn

T = TypeVar("T")


class Lists:
    """The answers of one daemon. Loop thread only. Nothing is kept before it has been asked for."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._structs, self._objects = Kept(structs.lasting), Kept(shapes.lasting)

    async def xml(self) -> Pieces:
        """What getAllProcessInfo returns, rendered."""
        return structs.processes(await self._structs.of(self._commands.facts()), self._commands.moment())

    async def json(self) -> list[bytes]:
        """What GET /processes answers, in pieces."""
        return shapes.processes(await self._objects.of(self._commands.facts()), self._commands.moment())


class Kept(Generic[T]):
    """What `render` made of the facts that were asked about last."""

    def __init__(self, render: Callable[[Facts], T]) -> None:
        self._render = render
        self._facts = list[Facts]()
        self._made = list[T]()

    async def of(self, facts: list[Facts]) -> list[T]:
        """The rendering of each. What is told is how things were at the call, even if others have a turn meanwhile."""
        if facts == self._facts:
            return self._made
        before = self._facts  # which keeps the objects, and so their ids, alive
        known = dict(zip(map(id, before), self._made, strict=True))
        made = list[T]()
        for number, one in enumerate(facts):
            kept = known.get(id(one))
            if kept is None:
                kept = self._render(one)
                if number % AT_ONCE == AT_ONCE - 1:
                    await asyncio.sleep(0)
            made.append(kept)
        self._facts, self._made = facts, made
        return made
