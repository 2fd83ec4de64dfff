"""Errors that reach a user: each says where, what, and with which number of supervisord's."""

import enum
from collections.abc import Iterable


class Fault(enum.IntEnum):
    """supervisord's XML-RPC fault codes (compatibility: `supervisor.xmlrpc.Faults`)."""

    UNKNOWN_METHOD = 1
    INCORRECT_PARAMETERS = 2
    BAD_ARGUMENTS = 3
    SIGNATURE_UNSUPPORTED = 4
    SHUTDOWN_STATE = 6
    BAD_NAME = 10
    BAD_SIGNAL = 11
    NO_FILE = 20
    NOT_EXECUTABLE = 21
    FAILED = 30
    ABNORMAL_TERMINATION = 40
    SPAWN_ERROR = 50
    ALREADY_STARTED = 60
    NOT_RUNNING = 70
    SUCCESS = 80
    ALREADY_ADDED = 90
    STILL_RUNNING = 91
    CANT_REREAD = 92


class CommandError(Exception):
    """A verb refused, or failed as a whole. `str()` is supervisord's faultString, `code` its faultCode."""

    def __init__(self, fault: Fault, detail: str = "") -> None:
        super().__init__(f"{fault.name}: {detail}" if detail else fault.name)
        self.fault, self.code, self.detail = fault, int(fault), detail

    @classmethod
    def foreign(cls, code: int, text: str) -> "CommandError":
        """The fault of a plugin, with a number and a text of its own."""
        error = cls(Fault.FAILED, text)
        error.code, error.args = code, (text,)
        return error


class NotInTimeError(CommandError):
    """What was waited for has not come true in the time given: nothing has failed, and it still may."""


class BusyError(CommandError):
    """Too much is asked for at once; later it may be had."""


class NeverError(CommandError):
    """What was waited for does not come true by itself any more."""


class ConfigError(Exception):
    """One thing in a configuration file that is wrong, and where. Line 0: the file as a whole."""

    def __init__(self, message: str, *, file: str, line: int = 0, section: str = "", option: str = "") -> None:
        super().__init__(message)
        self.message, self.file, self.line = message, file, line
        self.section, self.option = section, option

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        what = f"[{self.section}] {self.option}".rstrip() if self.section else self.option
        return f"{where}: {what}: {self.message}" if what else f"{where}: {self.message}"


class ConfigErrors(Exception):
    """All problems of a configuration, in the order of files and lines. Never empty."""

    def __init__(self, problems: Iterable[ConfigError]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))
