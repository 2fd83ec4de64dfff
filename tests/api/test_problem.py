"""Refusals as HTTP statuses and RFC 9457 objects."""

import jsonschema
import pytest

from supervise.api import shapes
from supervise.api.problem import Problem
from supervise.errors import CommandError, Fault, NeverError, NotInTimeError


@pytest.mark.parametrize(
    "fault, status",
    [
        (Fault.INCORRECT_PARAMETERS, 400),
        (Fault.BAD_ARGUMENTS, 400),
        (Fault.BAD_SIGNAL, 400),
        (Fault.BAD_NAME, 404),
        (Fault.NO_FILE, 404),
        (Fault.SHUTDOWN_STATE, 503),
        (Fault.CANT_REREAD, 422),
        (Fault.STILL_RUNNING, 409),
        (Fault.ALREADY_ADDED, 409),
        (Fault.ALREADY_STARTED, 409),
        (Fault.NOT_RUNNING, 409),
        (Fault.FAILED, 500),
        (Fault.SPAWN_ERROR, 500),
    ],
)
def test_faults(fault: Fault, status: int) -> None:
    document = Problem.of(CommandError(fault, "web")).document()
    jsonschema.validate(document, shapes.PROBLEM)
    assert (document["status"], document["fault"], document["faultname"]) == (status, fault, fault.name)
    assert document["detail"] == f"{fault.name}: web"


def test_what_has_not_come_in_time_is_no_error_of_the_server() -> None:
    document = Problem.of(NotInTimeError(Fault.FAILED, "web is STOPPED, not running, after 1 seconds")).document()
    jsonschema.validate(document, shapes.PROBLEM)
    assert (document["status"], document["title"]) == (504, "Not in time")
    assert (document["fault"], document["detail"]) == (30, "FAILED: web is STOPPED, not running, after 1 seconds")


def test_what_will_not_come_is_a_conflict_with_what_is() -> None:
    document = Problem.of(NeverError(Fault.SPAWN_ERROR, "web is FATAL: gone")).document()
    jsonschema.validate(document, shapes.PROBLEM)
    assert (document["status"], document["title"]) == (409, "In vain")
    assert (document["fault"], document["detail"]) == (50, "SPAWN_ERROR: web is FATAL: gone")


def test_the_problems_of_a_configuration_are_listed() -> None:
    document = Problem.of(CommandError(Fault.CANT_REREAD, "a.conf:1: one\na.conf:2: two")).document()
    assert document["problems"] == ["a.conf:1: one", "a.conf:2: two"]


def test_a_problem_without_a_fault() -> None:
    document = Problem(411, "Content-Length is required").document()
    jsonschema.validate(document, shapes.PROBLEM)
    assert document == {
        "type": "about:blank",
        "title": "Length Required",
        "status": 411,
        "detail": "Content-Length is required",
    }
