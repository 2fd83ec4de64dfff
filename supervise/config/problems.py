"""Where something stands in a file, and the list of all that is wrong."""

import difflib
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from supervise.config.machine import MachineError, NotHere
from supervise.errors import ConfigError


class Place(NamedTuple):
    """What a problem points at; line 0: the file or the section as a whole."""

    file: str
    line: int = 0
    section: str = ""
    option: str = ""


class StockWarning(ConfigError):
    """A warning that supervisord has too: logged with its very text, which says where already."""


@dataclass
class Problems:
    """Collects, so that all can be shown together. Equal ones (numprocs makes many) are kept once."""

    errors: list[ConfigError] = field(default_factory=list)
    warnings: list[ConfigError] = field(default_factory=list)
    messages: list[tuple[int, str]] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)

    def error(self, place: Place, why: str | Exception) -> None:
        """Something for which the daemon refuses to start; a NotHere is only wrong on this machine."""
        kind = MachineError if isinstance(why, NotHere) else ConfigError
        self._add(self.errors, _located(kind, place, str(why)))

    def warn(self, place: Place, message: str) -> None:
        """Something that works, though probably not as meant."""
        warning = _located(ConfigError, place, message)
        if self._add(self.warnings, warning):
            self.messages.append((logging.WARNING, str(warning)))

    def warn_as_stock(self, place: Place, message: str) -> None:
        """Something that supervisord warns of in these words."""
        if self._add(self.warnings, _located(StockWarning, place, message)):
            self.messages.append((logging.WARNING, message))

    def info(self, message: str) -> None:
        """Something that supervisord logs in these words."""
        self.messages.append((logging.INFO, message))

    def _add(self, to: list[ConfigError], problem: ConfigError) -> bool:
        new = str(problem) not in self._seen
        if new:
            self._seen.add(str(problem))
            to.append(problem)
        return new


def _located(kind: type[ConfigError], place: Place, message: str) -> ConfigError:
    return kind(message, file=place.file, line=place.line, section=place.section, option=place.option)


def did_you_mean(word: str, known: Iterable[str], shown: str = "{}") -> str:
    """`; did you mean …?` for the closest of `known`, or nothing."""
    close = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean {shown.format(close[0])}?" if close else ""
