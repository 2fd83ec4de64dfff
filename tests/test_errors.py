import pytest

from supervise.errors import CommandError, ConfigError, ConfigErrors, Fault


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (CommandError(Fault.BAD_NAME), "BAD_NAME"),
        (CommandError(Fault.NO_FILE, "/no/such"), "NO_FILE: /no/such"),
        (ConfigError("is wrong", file="x.conf"), "x.conf: is wrong"),
        (ConfigError("is wrong", file="x.conf", line=3), "x.conf:3: is wrong"),
        (ConfigError("is wrong", file="x.conf", line=3, section="program:a"), "x.conf:3: [program:a]: is wrong"),
        (
            ConfigError("is wrong", file="x.conf", line=3, section="program:a", option="user"),
            "x.conf:3: [program:a] user: is wrong",
        ),
        (ConfigError("is wrong", file="(command line)", option="-e"), "(command line): -e: is wrong"),
    ],
)
def test_each_says_where_and_what(error: Exception, text: str) -> None:
    assert str(error) == text


def test_all_problems_at_once() -> None:
    problems = [ConfigError("one", file="a", line=1), ConfigError("two", file="b", line=2)]
    errors = ConfigErrors(problems)
    assert errors.problems == tuple(problems)
    assert str(errors) == "a:1: one\nb:2: two"


def test_the_faults_are_supervisords() -> None:
    assert {fault.name: fault.value for fault in Fault} == {
        "UNKNOWN_METHOD": 1,
        "INCORRECT_PARAMETERS": 2,
        "BAD_ARGUMENTS": 3,
        "SIGNATURE_UNSUPPORTED": 4,
        "SHUTDOWN_STATE": 6,
        "BAD_NAME": 10,
        "BAD_SIGNAL": 11,
        "NO_FILE": 20,
        "NOT_EXECUTABLE": 21,
        "FAILED": 30,
        "ABNORMAL_TERMINATION": 40,
        "SPAWN_ERROR": 50,
        "ALREADY_STARTED": 60,
        "NOT_RUNNING": 70,
        "SUCCESS": 80,
        "ALREADY_ADDED": 90,
        "STILL_RUNNING": 91,
        "CANT_REREAD": 92,
    }
