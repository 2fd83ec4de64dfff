"""What nobody caught, for `loop.set_exception_handler`: said, and never fatal."""

import asyncio
import errno
import logging
import resource
from contextlib import suppress
from typing import Any

log = logging.getLogger("supervise")

SILENCE = 60.0  # seconds between two lines about descriptors: asyncio complains many times a second
RETRY = "._start_serving("  # in the name of the callback with which asyncio accepts connections again


class Complaints:
    """Callable in the loop's thread. That there are no descriptors left for new connections is no error of ours (B36):
    asyncio tries again after a second, so callers wait, and one line says why. Nor is it that a listener may be closed
    by then."""

    def __init__(self) -> None:
        self._silent_until = 0.0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        with suppress(Exception):
            if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
                self._no_descriptors(loop.time())
            elif isinstance(error, ValueError) and RETRY in context["message"]:
                pass  # its listener was closed meanwhile, and asyncio does not forget that it meant to try again
            elif error is not None and "protocol" in context:  # a connection, which asyncio closes; supervisord's words
                channel, kind = context.get("transport"), type(error)
                log.critical(
                    "uncaptured python exception, closing channel %r (%s:%s)", channel, kind, error, exc_info=error
                )
            else:
                log.critical("internal error: %s", context["message"], exc_info=error)

    def _no_descriptors(self, now: float) -> None:
        if now >= self._silent_until:
            self._silent_until = now + SILENCE
            limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            log.error("too many open files (limit %d, see minfds): new connections have to wait", limit)
