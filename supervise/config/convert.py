"""One option at a time: find it, expand it, convert it, check it against the machine."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from supervise.config.declare import Names, Option
from supervise.config.document import Document, Section, map_texts
from supervise.config.expand import expand
from supervise.config.machine import Machine
from supervise.config.problems import NotHere, Problems
from supervise.config.values import ENVIRONMENT

# supervisord 4.3 names these two without their section in its messages
_BARE_LABELS = ("environment", "process_name")


@dataclasses.dataclass
class Converter:
    """Turns entries into values. `environ` grows by [supervisord] environment before the other sections are read."""

    document: Document
    machine: Machine
    problems: Problems
    environ: dict[str, object]
    defaults: dict[tuple[Option, ...], dict[str, Any]] = dataclasses.field(default_factory=dict)  # by `all`

    def names(self, level: Names, extra: Mapping[str, object]) -> dict[str, object]:
        """What may be expanded at a level; `extra` are the program's and the process's names."""
        here = {"here": self.document.here} if level >= Names.HERE else {}
        return {**self.environ, **here, **(extra if level >= Names.PROGRAM else {})}

    def get(self, section: Section, option: Option, extra: Mapping[str, object] | None = None) -> Any:
        """The value of an option, or its default. What is wrong goes to `problems`, and the default is returned."""
        entry = section.get(option.key)
        if entry is None:
            return self._default(option)
        place = section.place(option.key)
        try:
            text = option.type.text_of(self.expanded(section, option, entry.raw, extra or {}))
            if "\0" in text:  # an escape of TOML, or %(process_num)c: no command, path, user or variable may hold one
                raise ValueError("contains a NUL byte")
            value = option.type.parse(text)
            return option.type.locate(self.machine, value) if option.type.locate else value
        except NotHere as why:
            self.problems.error(place, why)
            return why.value
        except ValueError as why:
            self.problems.error(place, why)
            return self._default(option)

    def all(self, section: Section, options: tuple[Option, ...], extra: Mapping[str, object]) -> dict[str, Any]:
        """The values of several options, by key. Most options are not set in most sections."""
        if (defaults := self.defaults.get(options)) is None:
            defaults = self.defaults[options] = {option.key: self._default(option) for option in options}
        values = dict(defaults)
        for option in options:
            if option.key in section.own or option.key in section.defaults:
                values[option.key] = self.get(section, option, extra)
        return values

    def expanded(self, section: Section, option: Option, raw: Any, extra: Mapping[str, object]) -> Any:
        """`raw` with its names replaced, in every text of a list or a table. Raises ValueError."""
        if isinstance(raw, str) and "%" not in raw:  # most are so, and to gather the names takes longer than all else
            return raw
        bare = option.key in _BARE_LABELS and option.names is Names.PROCESS
        label = option.key if bare else f"{section.name}.{option.key}"
        names = self.names(option.names, extra)
        return map_texts(raw, lambda text: expand(text, names, label, lambda _: option.type.shown(raw)))

    def _default(self, option: Option) -> Any:
        value = option.default
        if option.type is ENVIRONMENT:
            return {}
        if isinstance(value, str) and value and option.type.locate:
            return option.type.locate(self.machine, value)
        return None if option.required else value
