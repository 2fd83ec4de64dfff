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
        *("Authorization", "Proxy-Authorization", "X-Api-Key"),
    ],
)
def test_a_secret(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize(
    "name", ["PATH", "HOME", "PORT", "LANG", "DJANGO_SETTINGS_MODULE", "AUTHOR", "-n", "--authorization-mode"]
)
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
        (
            "_TOKEN=x java -Ddb.password=x --set=db.password=x",
            f"_TOKEN={HIDDEN} java -Ddb.password={HIDDEN} --set=db.password={HIDDEN}",
        ),
        ("x --password='a b", f"x --password={HIDDEN}"),
        ('x "--password" "a b', f'x "--password" {HIDDEN}'),
        ("gunicorn -b auth:8000 auth:app -v secret:/run/x", "gunicorn -b auth:8000 auth:app -v secret:/run/x"),
        ("x amqp://a:p@q@h1,amqp://b:r@h2", f"x amqp://a:{HIDDEN}@h1,amqp://b:{HIDDEN}@h2"),
        ("curl 'https://h/?a=1&token=x' -v", f"curl 'https://h/?a=1&token={HIDDEN}' -v"),
        ("", ""),
    ],
)
def test_a_command(said: str, shown: str) -> None:
    assert command(said) == shown


@pytest.mark.parametrize(
    "said, shown",
    [
        ('sh -c "MYSQL_PWD=x exec y --token z"', f'sh -c "MYSQL_PWD={HIDDEN}"'),
        ("sh -c 'exec y --token x' -v", f"sh -c 'exec y --token {HIDDEN}' -v"),
        ("sh -c 'exec y --token \"x y\"'", f"sh -c 'exec y --token {HIDDEN}'"),
        ("sh -c 'exec y --password -v; echo ok'", "sh -c 'exec y --password -v; echo ok'"),
        ('sh -c "sh -c \\"exec y; X_TOKEN=x z\\""', f'sh -c "sh -c \\"exec y; X_TOKEN={HIDDEN}"'),
        ('sh -c "it\'s --password=x"', f'sh -c "it\'s --password={HIDDEN}"'),
        ("env 'PGPASSWORD=x y' psql", f"env 'PGPASSWORD={HIDDEN}' psql"),
        ("sh -c 'x --token y", f"sh -c 'x --token {HIDDEN}'"),
        ('curl -d \'{"user": "a", "password": "x"}\' h', f'curl -d \'{{"user": "a", "password": {HIDDEN}\' h'),
    ],
)
def test_a_line_within_a_word(said: str, shown: str) -> None:
    assert command(said) == shown


@pytest.mark.parametrize(
    "said, shown",
    [
        ('-H "Authorization: Bearer x" y', f'-H "Authorization: {HIDDEN}" y'),
        ("-H X-Auth-Token:x y", f"-H X-Auth-Token:{HIDDEN} y"),
        ("-H'X-Auth-Token:x' y", f"-H'X-Auth-Token:{HIDDEN}' y"),
        ("--header=PRIVATE-TOKEN:x y", f"--header=PRIVATE-TOKEN:{HIDDEN} y"),
        ("--header 'Cookie: a=x' y", f"--header 'Cookie: {HIDDEN}' y"),
        ("--meta 'X-Odd: bearer x' y", f"--meta 'X-Odd: bearer {HIDDEN}' y"),
        ("-H 'Accept: text/html' y", "-H 'Accept: text/html' y"),
        ("sh -c 'curl -H X-Api-Key:x y'", f"sh -c 'curl -H X-Api-Key:{HIDDEN}'"),
    ],
)
def test_headers(said: str, shown: str) -> None:
    assert command(f"curl {said}") == f"curl {shown}"


def test_words() -> None:
    assert words(["sh", "-c", "exec x --token 'y z'"]) == ["sh", "-c", f"exec x --token {HIDDEN}"]
    assert words(["-H", "Authorization: Basic x"]) == ["-H", f"Authorization: {HIDDEN}"]
    assert words(["x", "--secret-key", "a b", "c"]) == ["x", "--secret-key", HIDDEN, "c"]
    assert without_urls("redis://:pw@h") == f"redis://:{HIDDEN}@h"


@given(st.text())
def test_anything_can_be_shown(text: str) -> None:
    assert command(text) is not None


@pytest.mark.parametrize(
    "text",
    [
        *("'" * 20000, '"\\' * 20000, "a=" * 20000, "://" * 20000, "-password " * 5000, "a: " * 20000, "a:" * 20000),
        *("a" + " " * 20000, '"' + "a.-" * 20000, "\\" * 20000, "a" + "\\" * 20000 + "x", "://a:" + "@x" * 20000),
        '"' + "a " * 20000,
    ],
)
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
