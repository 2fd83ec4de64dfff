"""What the declarations say, for editors (a JSON Schema of the TOML form) and for people (a reference in Markdown)."""

import enum
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
    "number": {"type": "number", "minimum": 0},
    "strings": {"type": "array", "items": {"type": "string"}},
    "integers": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 255}},
    "table": {"type": "object", "additionalProperties": {"type": ["string", "integer", "number", "boolean"]}},
}
_OCTALS = (values.OCTAL, values.CHMOD, values.SOCKET_MODE, addresses.MODE)
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
    forms = [_NATIVE[name] for name in option.type.native]
    return shown | ({"anyOf": [*forms, *_texts(option.type)]} if forms or option.type.enum else {"type": "string"})


_PLAIN = (values.BOOLEAN, values.INTEGER, values.SECONDS)


def _texts(type: Type) -> Iterator[dict[str, Any]]:
    """What texts are allowed: any, or the words of a choice and what expands to one."""
    if type.enum:
        yield {"enum": list(type.enum)}
        yield {"type": "string", "pattern": r"%\("}
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
