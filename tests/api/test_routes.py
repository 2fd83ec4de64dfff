"""Finding a route, and what a query string may hold."""

from typing import Any

import pytest

from supervise.api.problem import Problem
from supervise.api.rest import ROUTES
from supervise.api.routes import Call, Query, Route, Router
from supervise.api.schema import BOOLEAN, INTEGER, STRING


async def nothing(call: Call) -> Any:
    return {}


ROUTE = Route(
    method="GET",
    path="/things/{name}/parts",
    handler=nothing,
    summary="Parts.",
    query=(
        Query("count", INTEGER, "How many."),
        Query("tag", STRING, "Which.", several=True),
        Query("all", BOOLEAN, "All."),
    ),
)


def test_arguments() -> None:
    assert ROUTE.arguments("") == {}
    assert ROUTE.arguments("count=3&tag=a&tag=b%20c&all=1&tag=") == {"count": 3, "tag": ["a", "b c", ""], "all": True}


@pytest.mark.parametrize(
    "query, said",
    [
        ("count=x", "count must be an integer, not 'x'"),
        ("count=1&count=2", "count is given twice"),
        ("cuont=1", "unknown parameter 'cuont' (known: all, count, tag)"),
        ("=", "unknown parameter '' (known: all, count, tag)"),
        ("tag=%ff", "the query string is not valid"),
        ("&".join(["tag=a"] * 2000), "the query string is not valid"),
        ("all=perhaps", "all must be true or false (or 1 or 0), not 'perhaps'"),
    ],
)
def test_arguments_that_are_wrong(query: str, said: str) -> None:
    with pytest.raises(Problem) as caught:
        ROUTE.arguments(query)
    assert caught.value.status == 400
    assert said in caught.value.detail


def test_all_problems_are_told_together() -> None:
    with pytest.raises(Problem) as caught:
        ROUTE.arguments("count=x&all=y&z=1")
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize(
    "method, path, template, variables",
    [
        ("GET", "/processes", "/processes", {}),
        ("GET", "/processes/", "/processes", {}),
        ("HEAD", "/daemon", "/daemon", {}),
        ("GET", "/processes/a%3Ab", "/processes/{namespec}", {"namespec": "a:b"}),
        ("GET", "/processes/a%2Fb/explain", "/processes/{namespec}/explain", {"namespec": "a/b"}),
        ("GET", "/groups/available", "/groups/available", {}),
        ("POST", "/groups/available", "/groups/{name}", {"name": "available"}),  # a group may have that name
        ("DELETE", "/groups/a", "/groups/{name}", {"name": "a"}),
        ("POST", "/processes/start/start", "/processes/{namespec}/start", {"namespec": "start"}),
    ],
)
def test_finding(method: str, path: str, template: str, variables: dict[str, str]) -> None:
    route, found = Router(ROUTES).find(method, path)
    assert (route.path, found) == (template, variables)


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("GET", "/", 404),
        ("GET", "/process", 404),
        ("GET", "/processes/a/b/c/d/e", 404),
        ("GET", "/processes/%80", 400),
        ("PATCH", "/processes", 405),
        ("HEAD", "/processes/a/logs/stdout", 405),
        ("get", "/processes", 405),
    ],
)
def test_finding_nothing(method: str, path: str, status: int) -> None:
    with pytest.raises(Problem) as caught:
        Router(ROUTES).find(method, path)
    assert caught.value.status == status


def test_what_changes_something_is_no_get_and_asks_for_more_than_reading() -> None:
    for route in ROUTES:
        assert (route.role.name == "READ") == (route.method == "GET"), route.path
