"""Where something stands in a file, and the list of all that is wrong. Light to import: the client reads files too."""

from collections.abc import Iterable
from typing import NamedTuple

from supervise.config.secrets import without_urls
from supervise.errors import ConfigError

INFO, WARNING = 20, 30  # levels of `logging`, which a reader of files has no use for


class NotHere(ValueError):
    """A value that is well formed but that this machine cannot honour; `value` is what it would have been."""

    def __init__(self, message: str, value: object = None) -> None:
        super().__init__(message)
        self.value = value


class MachineError(ConfigError):
    """A problem that another machine would not have: no such user here, no such directory here."""


class StockWarning(ConfigError):
    """A warning that supervisord has too: logged with its very text, which says where already."""


class Place(NamedTuple):
    """What a problem points at; line 0: the file or the section as a whole."""

    file: str
    line: int = 0
    section: str = ""
    option: str = ""


class Problems:
    """Collects, so that all can be shown together. Equal ones (numprocs makes many) are kept once.

    They are logged and told to whoever may look: of what may be a secret they show what `Type.shown` lets through, and
    no password in a URL.

    `messages` are what the daemon logs when its log is open: (level, text), warnings among them.
    """

    def __init__(self) -> None:
        self.errors: list[ConfigError] = []
        self.warnings: list[ConfigError] = []
        self.messages: list[tuple[int, str]] = []
        self._seen: set[str] = set()

    def error(self, place: Place, why: str | Exception) -> None:
        """Something for which the daemon refuses to start; a NotHere is only wrong on this machine."""
        kind = MachineError if isinstance(why, NotHere) else ConfigError
        self._add(self.errors, _located(kind, place, str(why)))

    def warn(self, place: Place, message: str) -> None:
        """Something that works, though probably not as meant."""
        warning = _located(ConfigError, place, message)
        if self._add(self.warnings, warning):
            self.messages.append((WARNING, str(warning)))

    def warn_as_stock(self, place: Place, message: str) -> None:
        """Something that supervisord warns of in these words."""
        if self._add(self.warnings, _located(StockWarning, place, message)):
            self.messages.append((WARNING, message))

    def info(self, message: str) -> None:
        """Something that supervisord logs in these words."""
        self.messages.append((INFO, message))

    def _add(self, to: list[ConfigError], problem: ConfigError) -> bool:
        new = str(problem) not in self._seen
        if new:
            self._seen.add(str(problem))
            to.append(problem)
        return new


def _located(kind: type[ConfigError], place: Place, message: str) -> ConfigError:
    return kind(without_urls(message), file=place.file, line=place.line, section=place.section, option=place.option)


def did_you_mean(word: str, known: Iterable[str], shown: str = "{}") -> str:
    """`; did you mean …?` for the closest of `known`, or nothing."""
    import difflib  # noqa: PLC0415  # only a mistake needs it

    close = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean {shown.format(close[0])}?" if close else ""
