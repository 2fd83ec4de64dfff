"""Exit codes and one-line errors."""

import pytest

from supervise.cli.session import Session
from supervise.cli.settings import Settings
from supervise.errors import Fault
from supervise.http1 import ServerError


@pytest.mark.parametrize(
    "action, error, text, code",
    [
        ("status", ServerError("missing", "u no such file"), "u no such file", 4),
        ("start", ServerError("missing", "u no such file"), "u no such file", 7),
        ("start", ServerError("refused", "u refused connection"), "u refused connection", 4),
        ("reread", ServerError("refused", "u refused connection"), "error: u refused connection", 1),
        ("shutdown", ServerError("missing", "u no such file"), "ERROR: u no such file (already shut down?)", 1),
        ("status", ServerError("timeout", "u did not answer"), "error: u did not answer", 4),
        ("stop", ServerError("timeout", "u did not answer"), "error: u did not answer", 1),
        ("pid", ServerError("credentials", "who", status=401), "who", 1),
        ("pid", ServerError("protocol", "what", status=404), "error: what", 3),
        (
            "start",
            ServerError("fault", "SHUTDOWN_STATE", fault=Fault.SHUTDOWN_STATE),
            "ERROR: supervisor shutting down",
            1,
        ),
        ("fg", ServerError("fault", "FAILED: a\nb", fault=Fault.FAILED), "error: FAILED: a b", 1),
    ],
)
def test_failures(action: str, error: ServerError, text: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    session = Session(Settings())
    session.fail_server(action, error)
    assert capsys.readouterr().out == text + "\n"
    assert session.code == code


def test_the_last_problem_counts() -> None:
    session = Session(Settings())
    for fault, code in [
        (Fault.SUCCESS, 0),
        (Fault.BAD_NAME, 1),
        (Fault.SPAWN_ERROR, 7),
        (Fault.SUCCESS, 7),
        (Fault.FAILED, 1),
        (Fault.ABNORMAL_TERMINATION, 7),
    ]:
        session.note_fault(fault)
        assert session.code == code
    session.code = 0
    session.note_fault(Fault.ALREADY_STARTED, ignored=Fault.ALREADY_STARTED)
    assert session.code == 0


def test_an_unusable_url() -> None:
    with pytest.raises(ServerError, match="Unknown protocol for serverurl ftp://x"):
        _ = Session(Settings("ftp://x")).client


def test_nobody_is_asked_through_a_pipe() -> None:
    assert Session(Settings()).sure("Really? ")
