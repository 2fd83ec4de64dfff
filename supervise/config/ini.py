"""supervisord's INI dialect, with the line of every option.

The dialect is Python's RawConfigParser as of 3.11 with `inline_comment_prefixes=(";", "#")` and `strict=False`; the
values are the same to the byte, which a property test checks against the real one. Unlike it, all bad lines are
reported, and a value that a comment sign cuts inside quotes gives a warning.
"""

import re
from itertools import zip_longest
from typing import NamedTuple

from supervise.config.document import Document, Entry
from supervise.config.problems import Place, Problems

_HEADER = re.compile(r"\[(?P<header>.+)\]")
_OPTION = re.compile(r"(?P<name>.*?)\s*[=:]\s*(?P<value>.*)$")


def read(text: str, file: str, document: Document, problems: Problems) -> None:
    """Merge the sections of `text` into `document`: the last of equal options wins."""
    _Reader(file, document, problems).read(text)


class _Reader:
    def __init__(self, file: str, document: Document, problems: Problems) -> None:
        self.file, self.document, self.problems = file, document, problems
        self.section = ""
        self.options: dict[str, Entry] | None = None
        self.option = ""
        self.values: dict[tuple[str, str], list[str]] = {}  # (section, option) -> lines, joined at the end
        self.indent = 0
        self.headless = False
        self.cuts: list[_Cut] = []

    def read(self, text: str) -> None:
        for number, line in enumerate(text.split("\n"), start=1):
            self.line(number, line)
        for (section, option), lines in self.values.items():
            options = self.document.open(section, self.file, 0)
            entry = options[option]
            options[option] = Entry("\n".join(lines).rstrip(), entry.file, entry.line)
        self.warn_of_cuts()

    def line(self, number: int, line: str) -> None:
        comment = comment_start(line)
        value = line[:comment].strip()
        lines = self.values.get((self.section, self.option)) if self.option else None
        if not value:
            if comment is None and lines is not None:
                lines.append("")
            return
        indent = len(line) - len(line.lstrip())
        if lines is not None and indent > self.indent:
            lines.append(value)
        else:
            self.indent = indent
            self.header_or_option(number, value)
            lines = self.values.get((self.section, self.option)) if self.option else None
        if comment is not None and lines is not None and (quote := open_quote("\n".join(lines))):
            place = Place(self.file, number, self.section, self.option)
            self.cuts.append(_Cut(place, quote, line[comment:].strip(), lines, len(lines)))

    def header_or_option(self, number: int, value: str) -> None:
        if header := _HEADER.match(value):
            self.section, self.option = header["header"], ""
            self.options = self.document.open(self.section, self.file, number)
        elif self.options is None:
            if not self.headless:
                self.problems.error(
                    Place(self.file, number), "File contains no section headers. Expected [section] before this line"
                )
            self.headless = True
        elif (option := _OPTION.match(value)) and option["name"]:
            self.option = option["name"].rstrip().lower()
            self.options[self.option] = Entry("", self.file, number)
            self.values[self.section, self.option] = [option["value"].strip()]
        else:
            self.problems.error(
                Place(self.file, number, self.section),
                "Source contains parsing errors: neither [section] nor option=value; a value that goes on here needs a"
                " blank before it",
            )

    def warn_of_cuts(self) -> None:
        """Of those that were inside quotes: the quote is closed in the comment itself, or in a later line."""
        for cut in self.cuts:
            if cut.quote in cut.comment or any(cut.quote in line for line in cut.lines[cut.at :]):
                self.problems.warn(
                    cut.place,
                    f"value looks cut: what follows {cut.comment[0]!r} inside quotes was taken for a comment, as"
                    " supervisord does; remove the blank before it",
                )


class _Cut(NamedTuple):
    """A comment that begins where a shell would still be inside of a quote."""

    place: Place
    quote: str
    comment: str
    lines: list[str]  # of the value, also those that follow
    at: int  # where in them it goes on after the comment


def comment_start(line: str) -> int | None:
    """Where the comment of a line begins. # and ; open one at the start of the line and after a blank.

    The n-th # and the n-th ; are looked at together, so that `a;b ;c #d` is cut at its #: configparser's way.
    """
    if "#" not in line and ";" not in line:
        return None
    if line.lstrip()[:1] in ("#", ";"):
        return 0
    signs = ([at for at, character in enumerate(line) if character == sign] for sign in "#;")
    for pair in zip_longest(*signs):
        starts = [at for at in pair if at is not None and (at == 0 or line[at - 1].isspace())]
        if starts:
            return min(starts)
    return None


def open_quote(text: str) -> str:
    """The quote character that a shell would still be inside of at the end of `text`, or nothing."""
    quote, escaped = "", False
    for character in text:
        if escaped:
            escaped = False
        elif character == "\\" and quote != "'":
            escaped = True
        elif quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
    return quote
