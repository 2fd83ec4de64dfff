"""The grammar of `environment=`: pairs KEY=value, separated by commas.

    pairs   = [ pair *( "," pair ) [ "," ] ]
    pair    = text "=" text
    text    = 1*( word / quoted / "\\" any )          adjacent parts join, as in a shell
    word    = letters, digits and _ / . + - ( ) :
    quoted  = "'" anything but ' "'"  |  '"' anything, with \\" and \\\\ for " and \\ '"'

Blanks and line ends separate nothing but are allowed around `=` and `,`; `#` outside quotes starts a comment that ends
with the line. That is what supervisord 4.4 reads; whatever 4.3 alone accepted is still read as 4.3 did.
"""

import re
import shlex
from collections.abc import Mapping

from supervise.config.secrets import HIDDEN, command, is_secret

_WORD = re.compile(r"[\w/.+\-():]+")
_BLANK = re.compile(r"(?:\s|#[^\n]*)+")
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_SINGLE = re.compile(r"'([^']*)'")
_PAIR = re.compile(
    rf"""\s*(?P<name>[A-Za-z_]\w*)\s*=\s*(?P<whole>(?:{_DOUBLE.pattern}|'[^']*'|[^\s"',])*\s*(?:,|$))?""", re.DOTALL
)
_ESCAPED = re.compile(r'\\(["\\])')


class _Unexpected(ValueError):
    def __init__(self, position: int, wanted: str) -> None:
        super().__init__(wanted)
        self.position, self.wanted = position, wanted


class _Reader:
    """A position in a text; each method reads one thing of the grammar or raises _Unexpected."""

    def __init__(self, text: str) -> None:
        self.text, self.position = text, 0

    def blanks(self) -> None:
        if match := _BLANK.match(self.text, self.position):
            self.position = match.end()

    @property
    def at_end(self) -> bool:
        return self.position >= len(self.text)

    def token(self, character: str) -> None:
        self.blanks()
        if not self.text.startswith(character, self.position):
            raise _Unexpected(self.position, f"expected {character!r}")
        self.position += 1
        self.blanks()

    def value(self, wanted: str) -> str:
        start, parts = self.position, []
        while not self.at_end and (part := self._part()) is not None:
            parts.append(part)
        if self.position == start:
            raise _Unexpected(start, wanted)
        return "".join(parts)

    def _part(self) -> str | None:
        match self.text[self.position]:
            case '"':
                return _ESCAPED.sub(r"\1", self._quoted(_DOUBLE))
            case "'":
                return self._quoted(_SINGLE)
            case "\\" if self.position + 1 < len(self.text):
                self.position += 2
                return self.text[self.position - 1]
        if word := _WORD.match(self.text, self.position):
            self.position = word.end()
            return word.group()
        return None

    def _quoted(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.position)
        if not match:
            raise _Unexpected(self.position, "this quote is never closed")
        self.position = match.end()
        return match.group(1)


def parse(text: str) -> dict[str, str]:
    """The pairs in `text`, the last of equal keys. Raises ValueError with supervisord's text and the position."""
    try:
        pairs = _pairs(text)
    except _Unexpected as why:
        legacy = _legacy_pairs(text)
        if legacy is not None:
            return legacy
        near = f"at character {why.position + 1}" if why.position < len(text) else "at the end"
        raise ValueError(
            f"Unexpected end of key/value pairs in value '{without_secrets(text)}': {near}: {why.wanted}; "
            'write KEY="value",OTHER="value" with the values in quotes'
        ) from None
    for key in pairs:
        if not key or "=" in key:  # the kernel has NAME=value in one text
            raise ValueError(
                f"{key.partition('=')[0]!r} cannot be the name of a variable: it is empty, or has a '=' in it"
            )
    return pairs


def _pairs(text: str) -> dict[str, str]:
    reader, pairs = _Reader(text), {}
    reader.blanks()
    while not reader.at_end:
        key = reader.value("expected a name")
        reader.token("=")
        pairs[key] = reader.value("expected a value of letters, digits and _/.+-():, or in quotes")
        reader.blanks()
        if not reader.at_end:
            reader.token(",")
    return pairs


def _legacy_pairs(text: str) -> dict[str, str] | None:
    """What supervisord 4.3 makes of `text`: tokens of shlex's old mode in fours, the fourth being anything."""
    lexer = shlex.shlex(text)
    lexer.wordchars += "/.+-():"
    try:
        tokens = list(lexer)
    except ValueError:  # no closing quotation
        return None
    pairs = {}
    for start in range(0, len(tokens), 4):
        match tokens[start : start + 3]:
            case [key, "=", value]:
                pairs[key] = value.strip("'\"")
            case _:
                return None
    return pairs


def without_secrets(written: object) -> object:
    """What a message may show of the pairs: no value of a name that is a secret's, and of a text only what can be read.

    A mere name is shown; so is what supervisord would show of harmless pairs.
    """
    if isinstance(written, dict):
        return dict.fromkeys(written, HIDDEN)
    text, shown, at = str(written), "", 0
    if text.isidentifier():
        return text
    while at < len(text):
        pair = _PAIR.match(text, at)
        if pair is None or pair["whole"] is None:
            return shown + (f"{pair['name']}={HIDDEN}" if pair else HIDDEN)
        comma = "," if pair["whole"].endswith(",") else ""
        harmless = not is_secret(pair["name"])
        shown += (command(pair.group().removesuffix(",")) if harmless else f"{pair['name']}={HIDDEN}") + comma
        at = pair.end()
    return shown


def text_of(pairs: Mapping[str, str]) -> str:
    """The text that `parse` reads as `pairs`."""
    return ",".join(f"{_quote(key)}={_quote(value)}" for key, value in pairs.items())


def _quote(text: str) -> str:
    if _WORD.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
