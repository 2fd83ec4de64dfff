"""What the files say, merged, before anything is expanded or converted."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from supervise.config.problems import Place

HERE = "%(here)s"
NAMED = ("program", "group", "eventlistener", "fcgi-program", "socket", "user", "rpcinterface", "ctlplugin")
SERVERS = ("inet_http_server", "unix_http_server")
SINGLE = ("supervisord", "supervisorctl", "include")
KINDS = (*SINGLE, *SERVERS, *NAMED)
ALIASES = {"supervise": "supervisord", "supervisectl": "supervisorctl"}


class Entry(NamedTuple):
    """One option as written: text in an INI file, in TOML perhaps a number, a list or a table."""

    raw: Any
    file: str
    line: int


class Section:
    """A section, from all files that have it. `file` and `line`: where it was first opened."""

    def __init__(self, name: str, file: str, line: int, defaults: Mapping[str, Entry]) -> None:
        self.name, self.file, self.line = name, file, line
        self.own: dict[str, Entry] = {}
        self.defaults = defaults

    @property
    def kind(self) -> str:
        """One of KINDS, or "" for a section that means nothing. Servers go by prefix, as in supervisord."""
        for server in SERVERS:
            if self.name.startswith(server):
                return server
        kind, colon, _ = self.name.partition(":")
        if colon:
            return kind if kind in NAMED else ""
        return kind if kind in SINGLE else ""

    @property
    def label(self) -> str:
        """The x of [program:x]."""
        return self.name.partition(":")[2]

    def get(self, option: str) -> Entry | None:
        """The option as this section or [DEFAULT] sets it."""
        return self.own.get(option) or self.defaults.get(option)

    def place(self, option: str = "") -> Place:
        """Where an option stands, or the section if it does not."""
        entry = self.get(option)
        file, line = (entry.file, entry.line) if entry else (self.file, self.line)
        return Place(file, line, self.name, option)


class Document:
    """All sections in the order in which they first appear, and the files that were read."""

    def __init__(self, file: str, here: str) -> None:
        self.file, self.here = file, here
        self.sections: dict[str, Section] = {}
        self.defaults: dict[str, Entry] = {}
        self.files: list[str] = []
        self._kinds: dict[str, list[Section]] = {}

    def open(self, name: str, file: str, line: int) -> dict[str, Entry]:
        """The options of a section, to be added to; [DEFAULT] is the one whose options every section has."""
        if name == "DEFAULT":
            return self.defaults
        name = ALIASES.get(name, name)
        if name not in self.sections:
            self.sections[name] = section = Section(name, file, line, self.defaults)
            self._kinds.setdefault(section.kind, []).append(section)
        return self.sections[name].own

    def of_kind(self, kind: str) -> Iterator[Section]:
        """The sections of one kind, in order."""
        return iter(self._kinds.get(kind, ()))

    def fix_here(self, here: str) -> None:
        """Replace %(here)s in all that was read so far. supervisord does so with includes, and copies [DEFAULT]s."""
        for section in self.sections.values():
            for option, entry in {**self.defaults, **section.own}.items():
                fixed = map_texts(entry.raw, lambda text: text.replace(HERE, here))
                if fixed != entry.raw:
                    section.own[option] = Entry(fixed, entry.file, entry.line)


def map_texts(raw: Any, change: Callable[[str], str]) -> Any:
    """`raw` with every text in it changed, also those in lists and the values of tables."""
    match raw:
        case str():
            return change(raw)
        case list():
            return [map_texts(item, change) for item in raw]
        case dict():
            return {key: map_texts(value, change) for key, value in raw.items()}
        case _:
            return raw
