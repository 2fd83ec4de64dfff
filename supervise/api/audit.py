"""The audit trail: one line in the main log for every call that changes something (who, what, with what result)."""

import logging
from collections.abc import Sequence

from supervise.api.auth import Caller

log = logging.getLogger("supervise")

_LONGEST = 200


def record(caller: Caller, what: str, arguments: Sequence[object], result: str) -> None:
    """Log a call. Arguments are shown escaped and shortened; leave out what may be secret."""
    shown = ", ".join(map(ascii, arguments))
    log.info("%s(%s) by %s: %s", what, _short(shown), caller, _short(result.encode("unicode_escape").decode()))


def refused(caller: Caller, what: str, why: str) -> None:
    """Log a call that its caller may not make."""
    log.warning("%s by %s: %s", _short(what), caller, why)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
