"""Refusals as HTTP sees them: RFC 9457 problem objects, and the one table from faults to status codes."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from supervise.errors import BusyError, CommandError, Fault, NeverError, NotInTimeError

_STATUS = {
    Fault.INCORRECT_PARAMETERS: 400,
    Fault.BAD_ARGUMENTS: 400,
    Fault.BAD_SIGNAL: 400,
    Fault.UNKNOWN_METHOD: 404,
    Fault.BAD_NAME: 404,
    Fault.NO_FILE: 404,
    Fault.ALREADY_STARTED: 409,
    Fault.NOT_RUNNING: 409,
    Fault.ALREADY_ADDED: 409,
    Fault.STILL_RUNNING: 409,
    Fault.CANT_REREAD: 422,
    Fault.SHUTDOWN_STATE: 503,
}


class Problem(Exception):
    """A request that is refused with an HTTP status; `str()` is the sentence for people."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        title: str = "",
        fault: Fault | None = None,
        problems: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.fault = status, detail, fault
        self.title = title or HTTPStatus(status).phrase
        self.problems, self.headers = tuple(problems), dict(headers or {})

    @classmethod
    def of(cls, error: CommandError) -> "Problem":
        """The problem that a verb's refusal is. A configuration's problems (CANT_REREAD) are listed line by line."""
        if isinstance(error, NotInTimeError):
            return cls(504, str(error), title="Not in time", fault=error.fault)
        if isinstance(error, BusyError):
            return cls(503, str(error), fault=error.fault)
        if isinstance(error, NeverError):
            return cls(409, str(error), title="In vain", fault=error.fault)
        lines = error.detail.splitlines() if error.fault is Fault.CANT_REREAD else []
        return cls(_STATUS.get(error.fault, 500), str(error), fault=error.fault, problems=lines)

    def document(self) -> dict[str, Any]:
        """As `application/problem+json` (RFC 9457, section 3)."""
        found: dict[str, Any] = {
            "type": "about:blank" if self.fault is None else f"urn:supervise:fault:{self.fault.name}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.fault is not None:
            found |= {"fault": int(self.fault), "faultname": self.fault.name}
        if self.problems:
            found["problems"] = list(self.problems)
        return found
