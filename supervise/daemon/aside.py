"""Work that may block for ever (a user database, a plugin), beside the loop and its pool of threads."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

from supervise.system.threads import begin

T = TypeVar("T")


class Busy(Exception):
    """All threads are taken, and as much waits for one as may."""


class Aside:
    """At most `threads` daemon threads, for which nobody waits at the end, unlike for those of asyncio's pool.

    Of what comes when all are taken, `waiting` pieces of work wait for their turn. Loop thread only.
    """

    def __init__(self, threads: int, waiting: int = 0) -> None:
        self._threads, self._waiting = threads, waiting
        self._running = 0
        self._queue: deque[Callable[[], None]] = deque()

    async def run(self, work: Callable[[], T], seconds: float | None = None) -> T:
        """What `work` returns or raises. Raises Busy; OSError (EAGAIN) where there can be no thread; TimeoutError after
        so many seconds: it goes on, unheard."""
        if self._running >= self._threads and len(self._queue) >= self._waiting:
            raise Busy
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._queue.append(lambda: self._begin(work, answer))
        self._next()
        async with asyncio.timeout(seconds):
            return cast(T, await answer)

    def close(self) -> None:
        """Forget what waits."""
        self._queue.clear()

    def _next(self) -> None:
        while self._queue and self._running < self._threads:
            self._queue.popleft()()

    def _begin(self, work: Callable[[], Any], answer: asyncio.Future[Any]) -> None:
        if answer.done():  # nobody waits for it any more
            return
        loop = answer.get_loop()

        def settle(result: Any, error: BaseException | None) -> None:
            self._running -= 1
            self._next()
            if answer.done():
                return
            if error is None:
                answer.set_result(result)
            else:
                answer.set_exception(error)

        def run() -> None:
            result: Any = None
            error: BaseException | None = None
            try:
                result = work()
            except StopIteration as stop:  # a future cannot carry it
                error = RuntimeError(repr(stop))
            except SystemExit as left:
                error = RuntimeError(f"it wanted to exit: {left}")
            except Exception as raised:
                error = raised
            with suppress(RuntimeError):  # the loop has ended: nobody waits any more
                loop.call_soon_threadsafe(settle, result, error)

        self._running += 1
        try:
            begin(run, "aside")
        except OSError as why:
            loop.call_soon(settle, None, why)
