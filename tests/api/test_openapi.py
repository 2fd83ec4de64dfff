"""The OpenAPI document: well formed, and complete."""

import re
from typing import Any

import jsonschema
import pytest

from supervise.api.openapi import document
from supervise.api.rest import ROUTES
from supervise.api.routes import Route


@pytest.fixture(scope="module")
def whole() -> Any:
    return document(ROUTES)


def references(value: Any) -> set[str]:
    match value:
        case {"$ref": str(target)}:
            return {target}
        case dict():
            return set().union(*map(references, value.values())) if value else set()
        case list():
            return set().union(*map(references, value)) if value else set()
        case _:
            return set()


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_route_is_described(whole: Any, route: Route) -> None:
    operation = whole["paths"][route.path][route.method.lower()]
    assert operation["summary"] == route.summary
    assert operation["summary"].endswith(".")
    named = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "path"}
    assert named == set(re.findall(r"\{(\w+)\}", route.path))
    assert {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "query"} == {
        query.name for query in route.query
    }
    assert str(route.status) in operation["responses"]
    assert ("requestBody" in operation) == (route.body is not None)


def test_nothing_else_is_described(whole: Any) -> None:
    described = {(method.upper(), path) for path, methods in whole["paths"].items() for method in methods}
    assert described == {(route.method, route.path) for route in ROUTES}


def test_identifiers_are_unique(whole: Any) -> None:
    names = [operation["operationId"] for methods in whole["paths"].values() for operation in methods.values()]
    assert len(names) == len(set(names)) == len(ROUTES)


def test_references_lead_somewhere(whole: Any) -> None:
    known = {f"#/components/schemas/{name}" for name in whole["components"]["schemas"]}
    assert references(whole) == known


def test_every_schema_is_one(whole: Any) -> None:
    for schema in whole["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for methods in whole["paths"].values():
        for operation in methods.values():
            for parameter in operation["parameters"]:
                jsonschema.Draft202012Validator.check_schema(parameter["schema"])


def test_the_head_of_the_document(whole: Any) -> None:
    assert whole["openapi"].startswith("3.1.")
    assert whole["servers"] == [{"url": "/api/v1"}]
    assert whole["info"]["version"]
