"""What looks like a secret, and how it is hidden."""

import shlex
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervise.config.secrets import HIDDEN, command, is_secret, without_urls, words


@pytest.mark.parametrize(
    "name",
    [
        *(
            "PASSWORD",
            "DB_PASS",
            "db_passwd",
            "MYSQL_PWD",
            "SECRET",
            "AWS_SECRET_ACCESS_KEY",
            "API_KEY",
            "GITHUB_TOKEN",
        ),
        *("apikey", "SSH_PRIVATE", "credentials", "pgpassword", "AUTH", "SENTRY_DSN", "--client-secret", "KEY"),
    ],
)
def test_a_secret(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", ["PATH", "HOME", "PORT", "LANG", "DJANGO_SETTINGS_MODULE", "AUTHOR", "-n"])
def test_no_secret(name: str) -> None:
    assert not is_secret(name)


@pytest.mark.parametrize(
    "said, shown",
    [
        ("gunicorn -b :8000 app", "gunicorn -b :8000 app"),
        ("x --password=abc -v", f"x --password={HIDDEN} -v"),
        ("x --password abc -v", f"x --password {HIDDEN} -v"),
        ("x --token 'a b c'\n  -v", f"x --token {HIDDEN}\n  -v"),
        ('x --token="a b" y', f"x --token={HIDDEN} y"),
        ("env PGPASSWORD=x psql", f"env PGPASSWORD={HIDDEN} psql"),
        ("x --password -v", "x --password -v"),
        ("celery -b amqp://me:pw@host:5672/v", f"celery -b amqp://me:{HIDDEN}@host:5672/v"),
        ("x --key=", "x --key="),
        ("it's \"open", "it's \"open"),
        ("", ""),
    ],
)
def test_a_command(said: str, shown: str) -> None:
    assert command(said) == shown


def test_words() -> None:
    assert words(["x", "--secret-key", "a b", "c"]) == ["x", "--secret-key", HIDDEN, "c"]
    assert without_urls("redis://:pw@h") == f"redis://:{HIDDEN}@h"


@given(st.text())
def test_anything_can_be_shown(text: str) -> None:
    assert command(text) is not None


@pytest.mark.parametrize("text", ["'" * 20000, '"\\' * 20000, "a=" * 20000, "://" * 20000, "-password " * 5000])
def test_no_text_takes_long(text: str) -> None:
    begun = time.process_time()
    command(text)
    is_secret(text)
    assert time.process_time() - begun < 10


@given(st.lists(st.text(alphabet="ab -='\"", min_size=1), max_size=6))
def test_a_split_command_shows_no_more(argv: list[str]) -> None:
    secret = "S3CRET"
    line = shlex.join([*argv, "--password", secret, f"--token={secret}"])
    assert secret not in command(line)
    assert secret not in words([*argv, "--password", secret, f"--token={secret}"])
