"""The same sections and options in TOML: [program.web] is [program:web], values may be native."""

import re
from typing import Any

import tomli

from supervise.config.document import ALIASES, NAMED, SERVERS, Document, Entry
from supervise.config.problems import Place, Problems

_TABLE = re.compile(r"\s*\[\[?\s*(?P<path>[^\[\]]+?)\s*\]")
_KEY = re.compile(
    r"\s*(?P<path>(?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*'))*)\s*="
)
_PART = re.compile(r"[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*'")
_AT = re.compile(r"\(at line (\d+), column \d+\)")

Path = tuple[str, ...]


def read(text: str, file: str, document: Document, problems: Problems) -> None:
    """Merge the tables of `text` into `document`: the last of equal options wins."""
    try:
        data = tomli.loads(text)
    except (ValueError, RecursionError) as why:  # also: an integer of too many digits, brackets nested too deep
        message = str(why) if isinstance(why, ValueError) else "nested too deeply"
        at = _AT.search(message)
        line = int(at[1]) if at else text.count("\n") + 1 if "end of document" in message else 0
        problems.error(Place(file, line), f"not valid TOML: {message}")
        return
    _Reader(file, document, problems, _lines(text)).read(data)


class _Reader:
    def __init__(self, file: str, document: Document, problems: Problems, lines: dict[Path, int]) -> None:
        self.file, self.document, self.problems, self.lines = file, document, problems, lines

    def line(self, path: Path) -> int:
        """Where a key stands, or the nearest table around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)

    def read(self, data: dict[str, Any]) -> None:
        for key, table in data.items():
            kind = ALIASES.get(key, key)
            if not isinstance(table, dict):
                self.refuse((key,), f"expected a table: write [{key}]")
            elif kind in NAMED:
                for name, named in table.items():
                    if isinstance(named, dict):
                        self.section(f"{kind}:{name}", (key, name), named)
                    else:
                        self.refuse((key, name), f"expected a table: write [{key}.NAME]")
            else:
                self.section(kind, (key,), table)

    def section(self, name: str, path: Path, table: dict[str, Any]) -> None:
        more = {key: value for key, value in table.items() if name in SERVERS and isinstance(value, dict)}
        table = {key: value for key, value in table.items() if key not in more}
        if table or not more:
            self.options(name, path, table)
        for key, value in more.items():  # [inet_http_server.extra] is one more, as [inet_http_server:extra] is
            self.options(f"{name}:{key}", (*path, key), value)

    def options(self, name: str, path: Path, table: dict[str, Any]) -> None:
        if name.startswith(("rpcinterface:", "ctlplugin:")):
            table = _flat(table)
        options = self.document.open(name, self.file, self.line(path))
        for key, value in table.items():
            options[key] = Entry(value, self.file, self.line((*path, *key.split("."))))

    def refuse(self, path: Path, message: str) -> None:
        self.problems.error(Place(self.file, self.line(path), option=".".join(path)), message)


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """`supervisor.rpcinterface_factory = …` without quotes is a table in a table: undo that."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _lines(text: str) -> dict[Path, int]:
    """The line of every table header and key. Light: a line that only looks like one, in a long text, does no harm."""
    lines: dict[Path, int] = {}
    table: Path = ()
    inside = ""  # the three quotes that close a text of several lines
    for number, line in enumerate(text.split("\n"), start=1):
        if inside:
            inside = "" if line.count(inside) % 2 else inside
            continue
        if header := _TABLE.match(line):
            table = _split(header["path"])
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            lines.setdefault((*table, *_split(key["path"])), number)
        for quotes in ('"""', "'''"):
            if line.count(quotes) % 2:
                inside = quotes
    return lines


def _split(path: str) -> Path:
    return tuple(part.strip("\"'") for part in _PART.findall(path))
