"""Logins: passwords compared beside the loop, few at a time, seldom for the same client, and few failures for any.

1. A right password is remembered for a minute (as a keyed hash), so that a client that asks every second costs one
   comparison a minute; the same login asked twice at once is compared once.
2. At most WORKERS comparisons run, and WAITING wait; what comes then is told to come later, and so is who has waited
   for SECONDS. No client can take the loop's time, nor more memory than that. The same holds for questions to others,
   apart: no directory that hangs keeps out who is known here.
3. A source of FREE failures within WINDOW seconds is refused for PENALTY seconds, without a look at what it sends,
   unless that is remembered as right: somebody behind the same proxy who is logged in stays so.
"""

import asyncio
import hmac
import logging
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Generic, TypeVar

from supervise.api.auth import Caller
from supervise.api.problem import Problem
from supervise.daemon.aside import Aside, Busy

REMEMBERED = 60.0  # seconds
MAX_REMEMBERED = 1000  # logins
WORKERS = 2
WAITING = 32
SECONDS = 30  # for a comparison
FREE, WINDOW, PENALTY = 10, 60.0, 30.0
MAX_SOURCES = 10_000

log = logging.getLogger("supervise")

T = TypeVar("T")


@dataclass(slots=True)
class _Source:
    failures: int = 0
    since: float = 0.0
    until: float = 0.0  # refused before that time


class Logins(Generic[T]):
    """The result T is whatever `verify` gives for a right password; None is a failure. Loop thread only."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._secret = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, tuple[float, T]] = OrderedDict()
        self._running: dict[bytes, asyncio.Task[T | None]] = {}
        self._sources: OrderedDict[str, _Source] = OrderedDict()
        self._comparing = Aside(WORKERS, WAITING)
        self._asking, self._turns = 0, asyncio.Semaphore(WORKERS)

    def forget(self) -> None:
        """Users have changed: everybody is asked again."""
        self._known.clear()

    def close(self) -> None:
        """Begin no more comparisons; nobody waits for those under way."""
        self._comparing.close()

    async def check(self, caller: Caller, login: bytes, verify: Callable[[], Awaitable[T | None]]) -> T | None:
        """What `verify` says of this login (everything that its answer depends on), or said not long ago.

        None: the password is wrong. Raises Problem 429 and 503.
        """
        key = hmac.digest(self._secret, login, sha256)
        at, known = self._known.get(key, (0.0, None))
        if known is not None and self._loop.time() < at + REMEMBERED:
            return known
        source = self._attempt(caller)
        found = await self._verify(key, verify)
        if found is None:
            log.warning("login failed: %s", caller)
            return None
        source.failures -= 1
        self._remember(key, found)
        return found

    async def compare(self, work: Callable[[], T | None]) -> T | None:
        """A way to `verify`: by work that takes its time, in a thread. Raises Busy, OSError, TimeoutError."""
        return await self._comparing.run(work, SECONDS)

    async def ask(self, question: Callable[[], Awaitable[T | None]]) -> T | None:
        """A way to `verify`: by others, who may never answer. Raises Busy, TimeoutError."""
        if self._asking >= WORKERS + WAITING:
            raise Busy
        self._asking += 1
        try:
            async with asyncio.timeout(SECONDS), self._turns:
                return await question()
        finally:
            self._asking -= 1

    async def _verify(self, key: bytes, verify: Callable[[], Awaitable[T | None]]) -> T | None:
        task = self._running.get(key)
        if task is None:
            self._running[key] = task = self._loop.create_task(_told(verify))
            task.add_done_callback(lambda done: (self._running.pop(key), done.cancelled() or done.exception()))
        return await asyncio.shield(task)  # a client that goes away must not spoil it for the others

    def _remember(self, key: bytes, found: T) -> None:
        self._known[key] = self._loop.time(), found
        self._known.move_to_end(key)
        while len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)

    def _attempt(self, caller: Caller) -> _Source:
        """Count an attempt as failed until it turns out right: a thousand at once are not free either."""
        now, name = self._loop.time(), caller.source
        source = self._sources.setdefault(name, _Source())
        self._sources.move_to_end(name)
        while len(self._sources) > MAX_SOURCES:
            self._sources.popitem(last=False)
        if now < source.until:
            raise _later(source.until - now)
        if now > source.since + WINDOW:
            source.failures, source.since = 0, now
        source.failures += 1
        if source.failures > FREE:
            source.until = now + PENALTY
            source.failures = 0
            log.warning("%d failed logins from %s: refused for %d seconds", FREE, name, PENALTY)
            raise _later(PENALTY)
        return source


async def _told(verify: Callable[[], Awaitable[T | None]]) -> T | None:
    """What it says. Raises Problem 503 where it does not."""
    try:
        return await verify()
    except Busy:
        why = "too many logins at once"
    except TimeoutError:
        why = f"no answer within {SECONDS} seconds"
    except OSError as error:
        why = str(error)
    log.warning("a login could not be checked: %s", why)
    raise Problem(503, f"the login could not be checked ({why}); try again", headers={"Retry-After": "2"})


def _later(seconds: float) -> Problem:
    headers = {"Retry-After": str(int(seconds) + 1), "Connection": "close"}
    return Problem(429, "too many failed logins; try again later", headers=headers)
