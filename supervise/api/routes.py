"""What a route of the JSON API is: one declaration that dispatch, argument checks, permissions, the audit trail and the
OpenAPI document all read."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, unquote

from aiohttp.web import BaseRequest

from supervise.api.auth import Caller
from supervise.api.listing import Lists
from supervise.api.problem import Problem
from supervise.api.schema import Schema, check, from_text
from supervise.config.model import Role
from supervise.daemon.commands import Commands

BASE = "/api/v1"
MAX_QUERY_FIELDS = 1000

_PARAMETER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Query:
    """A parameter of the query string. `several`: it may be repeated, and arrives as a list."""

    name: str
    schema: Schema
    description: str
    several: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """A request whose arguments have been checked: what a handler gets."""

    commands: Commands
    lists: Lists
    request: BaseRequest
    caller: Caller
    path: Mapping[str, str]
    query: Mapping[str, Any]
    body: Any = None


Handler: TypeAlias = Callable[[Call], Awaitable[Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """A handler returns the JSON value of its answer, or a response it has made itself (then `media` says what)."""

    method: str
    path: str  # under BASE, with {name} for a variable segment
    handler: Handler
    summary: str
    answer: Schema = field(default_factory=dict)
    status: int = 200
    media: str = "application/json"
    query: Sequence[Query] = ()
    body: Schema | None = None
    raw_body: bool = False  # the body may also be bytes as they are (application/octet-stream)
    role: Role = Role.READ

    @property
    def variables(self) -> list[str]:
        """Names of the variable segments."""
        return _PARAMETER.findall(self.path)

    def arguments(self, text: str) -> dict[str, Any]:
        """The query string's fields, converted. Raises Problem 400 that lists everything wrong."""
        known = {parameter.name: parameter for parameter in self.query}
        found: dict[str, Any] = {}
        wrong = []
        for name, value in _fields(text):
            parameter = known.get(name)
            if parameter is None:
                names = ", ".join(sorted(known)) or "none"
                wrong.append(f"unknown parameter {name[:60]!a} (known: {names})")
                continue
            if name in found and not parameter.several:
                wrong.append(f"{name} is given twice")
                continue
            try:
                converted = from_text(parameter.schema, value, name)
            except ValueError as exc:
                wrong.append(str(exc))
                continue
            if parameter.several:
                found.setdefault(name, []).append(converted)
            else:
                found[name] = converted
        if wrong:
            raise Problem(400, "; ".join(wrong[:5]), problems=wrong[:50])
        return found

    def check_body(self, value: Any) -> Any:
        """`value`, if it fits. Raises Problem 400 that lists everything wrong."""
        if self.body is not None and (wrong := check(self.body, value)):
            raise Problem(400, "; ".join(wrong[:5]), problems=wrong[:50])
        return value


class Router:
    """Finds the route of a request: the first in the table whose pattern and method fit."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._by_length: dict[int, list[tuple[tuple[str, ...], dict[str, Route]]]] = {}
        for route in routes:
            pattern = tuple(route.path.strip("/").split("/"))
            rows = self._by_length.setdefault(len(pattern), [])
            for known, methods in rows:
                if known == pattern:
                    methods[route.method] = route
                    break
            else:
                rows.append((pattern, {route.method: route}))

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """The route for a still encoded path below BASE, and its variables. Raises Problem 404, 405, 400."""
        segments, allowed = path.strip("/").split("/"), set[str]()
        for pattern, methods in self._by_length.get(len(segments), ()):
            variables = _match(pattern, segments)
            if variables is None:
                continue
            route = methods.get("GET" if method == "HEAD" else method)
            if route is not None and (method != "HEAD" or route.media == "application/json"):
                return route, variables
            allowed |= methods.keys()
        if allowed:
            names = ", ".join(sorted(allowed))
            raise Problem(405, f"{method[:20]!a} is not possible here, but {names}", headers={"Allow": names})
        raise Problem(404, f"there is nothing at {BASE}{path[:200]}; see {BASE}/openapi.json")


def _match(pattern: Sequence[str], segments: Sequence[str]) -> dict[str, str] | None:
    variables = {}
    for wanted, segment in zip(pattern, segments, strict=True):
        if wanted.startswith("{"):
            variables[wanted[1:-1]] = segment
        elif wanted != segment:
            return None
    return {name: _decoded(segment) for name, segment in variables.items()}


def _decoded(segment: str) -> str:
    try:
        text = unquote(segment, errors="strict")
    except UnicodeDecodeError:
        text = ""
    if not text:
        raise Problem(400, "a name in the path is empty or not UTF-8")
    return text


def _fields(text: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_QUERY_FIELDS)
    except ValueError as exc:  # too many fields, or not UTF-8
        raise Problem(400, f"the query string is not valid: {exc}") from None
