"""Whether a listener's result means that it has dealt with its event: supervisord's rule, or the user's function.

A user's function runs in a thread of its pool's own, one result at a time, and gets PATIENCE seconds. One that takes
longer has rejected the event as far as the pool is concerned; its thread is given up (Python cannot stop it), and a new
one takes over, STUCK times. After that the function is not called any more.
"""

import asyncio
import logging
from collections.abc import Callable
from importlib import import_module
from queue import SimpleQueue
from typing import Any, NamedTuple

from supervise.core.listener import Token
from supervise.core.wire import Event
from supervise.system.threads import begin

log = logging.getLogger("supervise")

STOCK = "supervisor.dispatchers:default_handler"  # "OK" accepts, anything else rejects
PATIENCE = 30.0  # seconds for one call
AGAIN = 1.0  # seconds until a thread is tried again where there could be none
STUCK = 4  # threads of one pool that may be inside a function that does not return
REJECTION = "RejectEvent"  # the exception by which a handler rejects, of whatever module

Answer = Callable[[Token], None]


class HandledEvent(NamedTuple):
    """What a handler gets as its first argument: as much of supervisord's event objects as its manual describes."""

    type: str
    serial: int
    data: bytes

    def payload(self) -> str:
        """The payload as text."""
        return self.data.decode()

    def __str__(self) -> str:
        return self.payload()


class Judge:
    """The result handler of one pool. Loop thread only; answers come in the loop too, once for each call.

    The answer is ACCEPTED, REJECTED, or NOISE where the handler failed (supervisord then gives the listener up).
    """

    def __init__(self, spec: str, pool: str) -> None:
        self._spec, self._pool = spec, pool
        self._loop = asyncio.get_running_loop()
        self._thread: _Thread | None = None
        self._stuck = 0

    def judge(self, event: Event, result: bytes, answer: Answer) -> None:
        """Have a result judged; `answer` is called with the verdict, at once or later."""
        if self._spec == STOCK:
            answer(Token.ACCEPTED if result == b"OK" else Token.REJECTED)
        elif self._stuck >= STUCK:
            answer(Token.REJECTED)
        else:
            self._call(HandledEvent(event.type, event.serial, event.payload), result, answer)

    def close(self) -> None:
        """No more results will come; those under way are still answered."""
        if self._thread is not None:
            self._thread.jobs.put(None)
            self._thread = None

    def _call(self, event: HandledEvent, result: bytes, answer: Answer) -> None:
        if self._thread is None:
            try:
                self._thread = _Thread(self._spec, self._loop)
            except OSError as why:  # neither a verdict would be true: the event stays with its listener
                log.warning("%s: the result handler %s has to wait: %s", self._pool, self._spec, why)
                self._loop.call_later(AGAIN, self._call, event, result, answer)
                return
        thread = self._thread
        done = False

        def settle(token: Token, error: BaseException | None) -> None:
            nonlocal done
            if done:
                return
            done = True
            timer.cancel()
            if error is not None:
                log.warning("%s: the result handler %s failed", self._pool, self._spec, exc_info=error)
            answer(token)

        def give_up() -> None:
            if self._thread is thread:
                self._thread = None
                self._stuck += 1
                thread.jobs.put(None)
                last = "; it is not called any more" if self._stuck >= STUCK else ""
                log.error("%s: the result handler %s hangs%s", self._pool, self._spec, last)
            settle(Token.REJECTED, None)

        timer = self._loop.call_later(PATIENCE, give_up)
        thread.jobs.put(_Job(event, result, settle))


class _Job(NamedTuple):
    event: HandledEvent
    result: bytes
    settle: Callable[[Token, BaseException | None], None]


class _Thread:
    """A daemon thread that works off jobs until it finds None. Nobody waits for it, not even at the very end."""

    def __init__(self, spec: str, loop: asyncio.AbstractEventLoop) -> None:
        self.jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._spec, self._loop = spec, loop
        self._handler: Callable[[HandledEvent, bytes], Any] | None = None
        begin(self._run, f"handler {spec}")

    def _run(self) -> None:
        while (job := self.jobs.get()) is not None:
            token, error = self._judge(job)
            try:
                self._loop.call_soon_threadsafe(job.settle, token, error)
            except RuntimeError:  # the loop is closed: nobody wants to know any more
                return

    def _judge(self, job: _Job) -> tuple[Token, BaseException | None]:
        try:
            if self._handler is None:
                self._handler = resolve(self._spec)
            self._handler(job.event, job.result)
        except BaseException as error:  # a stranger's code: whatever it raises, SystemExit too, is its failure
            if any(base.__name__ == REJECTION for base in type(error).__mro__):
                return Token.REJECTED, None
            return Token.NOISE, error
        return Token.ACCEPTED, None


def resolve(spec: str) -> Callable[[HandledEvent, bytes], Any]:
    """Import what `module:dotted.name` means. Raises whatever the import raises, ValueError, AttributeError."""
    module, colon, name = spec.partition(":")
    if not colon:
        raise ValueError(f"{spec!r} is not module:name")
    found: Any = import_module(module.strip())
    for part in name.strip().split("."):
        found = getattr(found, part)
    handler: Callable[[HandledEvent, bytes], Any] = found
    return handler
