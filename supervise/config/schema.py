"""What the declarations say, for editors (a JSON Schema of the TOML form) and for people (a reference in Markdown)."""

import enum
import re
import signal
from collections.abc import Iterator, Mapping
from typing import Any

from supervise.config import addresses, values
from supervise.config.declare import Change, Option
from supervise.config.document import ALIASES, NAMED, SERVERS, SINGLE
from supervise.config.sections import options_of
from supervise.config.values import LOG_LEVELS, Type

_NATIVE: Mapping[str, dict[str, Any]] = {
    "boolean": {"type": "boolean"},
    "integer": {"type": "integer"},
    "number": {"anyOf": [{"type": "integer"}, {"type": "number", "minimum": 0}]},
    "strings": {"type": "array", "items": {"type": "string"}},
    "integers": {"type": "array", "items": {"type": "integer"}},
    "table": {"type": "object", "additionalProperties": {"type": ["string", "integer", "number", "boolean"]}},
}
_BOUNDS = {
    values.ADDRESS: (1, 65535),
    addresses.LISTEN: (1, 65535),
    values.SIGNAL: (0, 64),
    values.EXIT_CODES: (0, 255),
}
_OCTALS = (values.OCTAL, values.CHMOD, values.SOCKET_MODE, addresses.MODE)


def _words(*words: str) -> str:
    """A pattern for any of these words in any case, which JSON Schema has no flag for."""
    spelled = ("".join(f"[{c.upper()}{c}]" if c.isalpha() else re.escape(c) for c in word.lower()) for word in words)
    return f"(?:{'|'.join(spelled)})"


_NUMBER = r"[+-]?\d[\d_]*"
_TIME = rf"(?:{_NUMBER}|\d+\.\d+|(?:\d+(?:\.\d+)?\s*(?:h|ms|m|s)\s*)+)"
_BOOLEAN = _words("yes", "true", "on", "1", "no", "false", "off", "0")
_SIGNALS = _words(*(each.name.removeprefix("SIG") for each in signal.Signals))
# What texts look like; a few that the reader refuses may do so, too, but none that it takes does not.
_PATTERNS: Mapping[Type, str] = {
    values.BOOLEAN: _BOOLEAN,
    values.RESTART: f"{_BOOLEAN}|{_words('unexpected')}",
    values.INTEGER: _NUMBER,
    values.SECONDS: _TIME,
    values.SHUTDOWN: f"{_TIME}|{_words('none')}",
    values.SIZE: rf"{_NUMBER}\s*{_words('KB', 'MB', 'GB')}?",
    values.SIGNAL: rf"\+?\d[\d_]*|{_words('SIG')}?{_SIGNALS}",
    values.EXIT_CODES: rf"(?:{_NUMBER}\s*(?:,\s*{_NUMBER}\s*)*)?",
    values.ADDRESS: r"(?:.*:)?\s*\+?\d[\d_]*",
    **dict.fromkeys(_OCTALS, r"[+-]?(?:0[oO]_?)?[0-7][0-7_]*"),
}
SECTION_DOCS = {
    "supervisord": "The daemon itself. Also called supervise.",
    "supervisorctl": "What the client needs to know. Also called supervisectl.",
    "include": "Further files.",
    "inet_http_server": "A control socket on a TCP port; tables in it are further ones.",
    "unix_http_server": "A control socket in the file system; tables in it are further ones.",
    "program": "Programs by name.",
    "group": "Groups of programs by name.",
    "eventlistener": "Pools of event listeners by name; all options of programs, and these.",
    "fcgi-program": "FastCGI programs by name; all options of programs, and these.",
    "socket": "Listening sockets for programs, which name them in their option sockets.",
    "user": "Who may use the control sockets, by name. Without one, and without a server's own username or groups,"
    " whoever can connect is an admin.",
    "rpcinterface": "RPC interfaces by name; what else is set is passed to the factory.",
    "ctlplugin": "Plugins of the client by name; what else is set is passed to the factory.",
}


def schema() -> dict[str, Any]:
    """A JSON Schema (draft 2020-12) of a configuration in TOML."""
    properties: dict[str, Any] = {kind: {"$ref": f"#/$defs/{kind}"} for kind in SINGLE}
    properties |= {alias: {"$ref": f"#/$defs/{kind}"} for alias, kind in ALIASES.items()}
    properties |= {kind: {"$ref": f"#/$defs/{kind}"} for kind in SERVERS}
    for kind in NAMED:
        properties[kind] = {
            "type": "object",
            "description": SECTION_DOCS[kind],
            "additionalProperties": {"$ref": f"#/$defs/{kind}"},
        }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "supervise",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "$defs": {kind: _section(kind) for kind in SECTION_DOCS},
    }


def _section(kind: str) -> dict[str, Any]:
    options = options_of(kind)
    shown: dict[str, Any] = {
        "type": "object",
        "description": SECTION_DOCS[kind],
        "properties": {key: _property(option) for key, option in options.items()},
        "additionalProperties": False,
    }
    if kind in SERVERS:
        shown["additionalProperties"] = {"$ref": f"#/$defs/{kind}"}
    elif kind in ("rpcinterface", "ctlplugin"):
        shown["additionalProperties"] = True  # what the factory takes, which may itself be a dotted key
    elif required := [key for key, option in options.items() if option.required]:
        shown["required"] = required
    return shown


def _property(option: Option) -> dict[str, Any]:
    shown: dict[str, Any] = {"description": option.doc}
    if not option.required:
        text = default_text(option)
        shown["default"] = option.default if isinstance(option.default, bool | int) and option.type in _PLAIN else text
    forms = [*(_native(option.type, name) for name in option.type.native), *_texts(option.type)]
    return shown | ({"anyOf": forms} if len(forms) > 1 else forms[0])


_PLAIN = (values.BOOLEAN, values.INTEGER, values.SECONDS)


def _native(type: Type, name: str) -> dict[str, Any]:
    """What TOML may write natively."""
    if type not in _BOUNDS:
        return _NATIVE[name]
    low, high = _BOUNDS[type]
    number = {"type": "integer", "minimum": low, "maximum": high}
    return number if name == "integer" else {"type": "array", "items": number}


def _texts(type: Type) -> Iterator[dict[str, Any]]:
    """What texts are allowed: any, or what looks like a value or expands to one. The words of a choice come first."""
    if type.enum:
        yield {"enum": list(type.enum)}
    if pattern := _PATTERNS.get(type) or (type.enum and _words(*type.enum)):
        yield {"type": "string", "pattern": rf"^\s*(?:{pattern})\s*$|%\("}
    else:
        yield {"type": "string"}


def default_text(option: Option) -> str:
    """The default as it would be written in an INI file; "" where there is none."""
    value = option.default
    if option.type is values.URL:
        return values.AUTO
    if option.required or value is None:
        return ""
    if option.type in _OCTALS:
        return f"{value:04o}"
    if option.type is values.SIZE:
        return f"{value // 1024**2}MB" if value and value % 1024**2 == 0 else str(value)
    if option.type is values.SIGNAL:
        return signal.Signals(value).name.removeprefix("SIG")
    if option.type is values.LOG_LEVEL:
        return next(name for name, number in LOG_LEVELS.items() if number == value)
    match value:
        case bool():
            return "true" if value else "false"
        case enum.Enum():
            return str(value.value)
        case tuple():
            return ",".join(map(str, value))
        case _:
            return str(value)


def reference() -> str:
    """All sections and options in Markdown, for README."""
    return "\n".join(_reference())


def _reference() -> Iterator[str]:
    program = options_of("program")
    for kind, doc in SECTION_DOCS.items():
        header = f"[{kind}:x]" if kind in NAMED else f"[{kind}]"
        options = options_of(kind)
        if kind in ("eventlistener", "fcgi-program"):
            options = {key: option for key, option in options.items() if key not in program}
        changes = kind == "program"
        yield f"### `{header}`\n\n{doc}\n"
        yield "| option | value | default | meaning |" + (" a change |" if changes else "")
        yield "| --- | --- | --- | --- |" + (" --- |" if changes else "")
        for option in options.values():
            default = "*required*" if option.required else f"`{text}`" if (text := default_text(option)) else ""
            cells = [f"`{option.key}`", _cell(option.type.wanted), default, _cell(option.doc)]
            yield "| " + " | ".join([*cells, *([_change(option.changed)] if changes else [])]) + " |"
        yield ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _change(change: Change) -> str:
    return {Change.LIVE: "applies at once", Change.NEXT_START: "at the next start"}.get(change, "restarts it")
