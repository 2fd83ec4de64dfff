"""The audit line: complete, on one line, and short."""

import logging

import pytest

from supervise.api import audit
from supervise.api.auth import Caller


def recorded(caplog: pytest.LogCaptureFixture, *arguments: object, result: str = "OK") -> str:
    with caplog.at_level(logging.INFO, "supervise"):
        audit.record(Caller("bob", "192.0.2.1"), "supervisor.stopProcess", arguments, result)
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    return record.getMessage()


def test_who_what_and_result(caplog: pytest.LogCaptureFixture) -> None:
    line = recorded(caplog, "web", True, result="NOT_RUNNING: web")
    assert line == "supervisor.stopProcess('web', True) by user 'bob' at 192.0.2.1: NOT_RUNNING: web"


def test_nobody_forges_a_line(caplog: pytest.LogCaptureFixture) -> None:
    line = recorded(caplog, "a\n2026-01-01 INFO all is well\x1b[0m", "ü", result="BAD_NAME: a\nINFO b\x07")
    assert line.isprintable()
    assert line.isascii()
    assert "\\n" in line


def test_a_long_argument_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    assert len(recorded(caplog, "x" * 100_000, result="y" * 100_000)) < 600
