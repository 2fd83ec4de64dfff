"""Doing something to very many processes at the same time, without keeping everybody else waiting."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

SLICE = 50  # begun in a row; the loop looks at other things between

T = TypeVar("T")
R = TypeVar("R")


async def at_once(act: Callable[[T], Awaitable[R]], items: Sequence[T]) -> list[R]:
    """Await `act` of all items at the same time; their results, in order.

    They are begun in order, some each turn of the loop: what is true of an item when this is called may have changed
    when it is begun. The first exception is raised; whoever cancels this cancels all of them.
    """
    begun = list[asyncio.Future[list[R]]]()
    try:
        for first in range(0, len(items), SLICE):
            begun.append(asyncio.gather(*map(act, items[first : first + SLICE])))
            await asyncio.sleep(0)
        return [result for some in begun for result in await some]
    finally:
        for some in begun:
            some.cancel()
            some.add_done_callback(_ignore)


def _ignore(some: asyncio.Future[list[R]]) -> None:
    """Look at how it ended, which asyncio complains of otherwise: one failure is told already."""
    if not some.cancelled():
        some.exception()
