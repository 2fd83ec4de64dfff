"""The OpenAPI 3.1 document, made from the table of routes."""

from collections.abc import Sequence
from typing import Any

from supervise import __version__
from supervise.api import shapes
from supervise.api.routes import BASE, Route

_NAMES = {
    id(shapes.PROCESS): "Process",
    id(shapes.LAST_EXIT): "LastExit",
    id(shapes.RESULT): "Result",
    id(shapes.DAEMON): "Daemon",
    id(shapes.PROBLEM): "Problem",
}


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """Every route with its parameters, bodies and answers."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "supervise", "version": __version__, "description": "Control of a running supervise daemon."},
        "servers": [{"url": BASE}],
        "security": [{}, {"basic": []}],
        "paths": paths,
        "components": {
            "schemas": {
                "Process": _inside(shapes.PROCESS),
                "LastExit": _inside(shapes.LAST_EXIT),
                "Result": _inside(shapes.RESULT),
                "Daemon": _inside(shapes.DAEMON),
                "Problem": _inside(shapes.PROBLEM),
            },
            "securitySchemes": {"basic": {"type": "http", "scheme": "basic"}},
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    content = {route.media: {"schema": _referring(route.answer)} if route.media == "application/json" else {}}
    operation: dict[str, Any] = {
        "operationId": _identifier(route),
        "summary": route.summary,
        "parameters": [*map(_path_parameter, route.variables), *map(_query_parameter, route.query)],
        "responses": {
            str(route.status): {"description": "done", "content": content},
            "default": {
                "description": "refused",
                "content": {"application/problem+json": {"schema": _reference("Problem")}},
            },
        },
    }
    if route.body is not None:
        bodies: dict[str, Any] = {"application/json": {"schema": _referring(route.body)}}
        if route.raw_body:
            bodies["application/octet-stream"] = {}
        operation["requestBody"] = {"content": bodies, "required": bool(route.body["required"])}
    return operation


def _identifier(route: Route) -> str:
    words = [word.strip("{}").replace("-", " ").title().replace(" ", "") for word in route.path.strip("/").split("/")]
    return route.method.lower() + "".join(words)


def _path_parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _query_parameter(query: Any) -> dict[str, Any]:
    schema = {"type": "array", "items": query.schema} if query.several else query.schema
    return {"name": query.name, "in": "query", "description": query.description, "schema": schema}


def _reference(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _referring(schema: Any) -> Any:
    """`schema` with the named ones replaced by references."""
    name = _NAMES.get(id(schema))
    return _inside(schema) if name is None else _reference(name)


def _inside(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: _referring(value) for key, value in schema.items()}
    return list(map(_referring, schema)) if isinstance(schema, list) else schema
