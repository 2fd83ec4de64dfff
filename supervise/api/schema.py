"""Descriptions of JSON values: the same object checks a request and stands in the OpenAPI document.

A `Schema` is a plain JSON Schema (2020-12) of the few words that `check` knows.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

Schema: TypeAlias = Mapping[str, Any]

MAX_TEXT = 1 << 20

STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
BOOLEAN: Schema = {"type": "boolean"}
ANY: Schema = {}

_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


def array(items: Schema, **more: Any) -> Schema:
    """A list of `items`."""
    return {"type": "array", "items": items, **more}


def record(properties: Mapping[str, Schema], required: tuple[str, ...] | None = None) -> Schema:
    """An object with these members and no others; all are required unless `required` says which."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": sorted(properties if required is None else required),
        "additionalProperties": False,
    }


def nullable(schema: Schema) -> Schema:
    """`schema`, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def check(schema: Schema, value: Any, where: str = "") -> list[str]:
    """What is wrong with `value`, one sentence per member; nothing if it fits. `where` names the value."""
    if (kind := schema.get("type")) is not None and not _is_a(value, kind):
        return [f"{where or 'the body'} must be {'an' if kind[0] in 'aio' else 'a'} {kind}, not {_shown(value)}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{where} must be one of {', '.join(map(str, schema['enum']))}, not {_shown(value)}"]
    match value:
        case dict():
            return _check_members(schema, value, where)
        case list():
            return _check_items(schema, value, where)
        case bool() | None:
            return []
        case int() | float():
            return _check_range(schema, value, where)
        case str() if len(value) > schema.get("maxLength", MAX_TEXT):
            return [f"{where} is longer than {schema.get('maxLength', MAX_TEXT)} characters"]
        case _:
            return []


def from_text(schema: Schema, value: str, where: str) -> Any:
    """A query parameter's value. Raises ValueError with a sentence."""
    match schema.get("type"):
        case "integer":
            converted: Any = _integer(value, where)
        case "number":
            converted = _number(value, where)
        case "boolean":
            if value.lower() not in ("1", "0", "true", "false"):
                raise ValueError(f"{where} must be true or false (or 1 or 0), not {_shown(value)}")
            converted = value.lower() in ("1", "true")
        case _:
            converted = value
    if wrong := check(schema, converted, where):
        raise ValueError("; ".join(wrong))
    return converted


def _integer(value: str, where: str) -> int:
    try:
        if len(value) > 20:
            raise ValueError
        return int(value)
    except ValueError:
        raise ValueError(f"{where} must be an integer, not {_shown(value)}") from None


def _number(value: str, where: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if number - number != 0:  # infinite, or not a number
        raise ValueError(f"{where} must be a number, not {_shown(value)}")
    return number


def _is_a(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES[kind])


def _check_members(schema: Schema, value: dict[str, Any], where: str) -> list[str]:
    properties: Mapping[str, Schema] = schema.get("properties", {})
    prefix = f"{where}." if where else ""
    wrong = [f"{prefix}{name} is missing" for name in schema.get("required", ()) if name not in value]
    for name, member in value.items():
        if name in properties:
            wrong += check(properties[name], member, f"{prefix}{name}")
        elif not schema.get("additionalProperties", True):
            wrong.append(f"unknown field {_shown(prefix + name)} (known: {', '.join(sorted(properties)) or 'none'})")
    return wrong


def _check_items(schema: Schema, value: list[Any], where: str) -> list[str]:
    most = schema.get("maxItems", 10_000)
    if len(value) > most:
        return [f"{where} has more than {most} items"]
    if len(value) < schema.get("minItems", 0):
        return [f"{where} must not be empty"]
    items = schema.get("items", ANY)
    return [problem for index, item in enumerate(value) for problem in check(items, item, f"{where}[{index}]")]


def _check_range(schema: Schema, value: float, where: str) -> list[str]:
    if value < schema.get("minimum", value):
        return [f"{where} must be at least {schema['minimum']}, not {value}"]
    if value > schema.get("maximum", value):
        return [f"{where} must be at most {schema['maximum']}, not {value}"]
    return []


def _shown(value: Any) -> str:
    shown = ascii(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
