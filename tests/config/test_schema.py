from contextlib import suppress
from pathlib import Path

import jsonschema
import pytest
import tomli

from supervise.config import values
from supervise.config.document import KINDS, NAMED
from supervise.config.schema import default_text, reference, schema
from supervise.config.sections import options_of

VALIDATOR = jsonschema.Draft202012Validator(schema())

GOOD = """
[supervise]
nodaemon = true
loglevel = "debug"
environment = { A = "b", N = 1 }
shutdown_timeout = "1m"
[unix_http_server]
file = "%(here)s/x.sock"
chmod = "0700"
[inet_http_server]
port = 9001
[inet_http_server.more]
port = "*:9002"
[include]
files = ["conf.d/*.conf"]
[program.web]
command = ["sh", "-c", "x"]
numprocs = "%(ENV_N)s"
autorestart = "unexpected"
exitcodes = [0, 2]
startsecs = 1.5
stop_scope = "%(ENV_SCOPE)s"
[program.web.environment]
DEBUG = true
[group.all]
programs = ["web"]
[eventlistener.l]
command = "l"
events = ["TICK_5"]
[fcgi-program.f]
command = "f"
socket = "tcp://localhost:9000"
[rpcinterface.supervisor]
supervisor.rpcinterface_factory = "supervisor.rpcinterface:make_main_rpcinterface"
anything = 1
"""


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())


def test_good_files_are_valid() -> None:
    VALIDATOR.validate(tomli.loads(GOOD))


SAMPLES = sorted((Path(__file__).parents[2] / "conf").glob("**/*.toml"))


@pytest.mark.parametrize("path", SAMPLES, ids=[path.name for path in SAMPLES])
def test_our_samples_are_valid(path: Path) -> None:
    VALIDATOR.validate(tomli.loads(path.read_text()))


@pytest.mark.parametrize(
    "text",
    [
        "[programm.web]\ncommand='x'",
        "[program.web]\ncomand='x'",
        "[program.web]\nautostart=true",
        "[program.web]\ncommand='x'\nautostart=1",
        "[program.web]\ncommand='x'\nautorestart='maybe'",
        "[program.web]\ncommand='x'\nautostart='maybe'",
        "[program.web]\ncommand='x'\nstartsecs='x'",
        "[program.web]\ncommand='x'\nstartsecs=-1.5",
        "[program.web]\ncommand='x'\nstopsignal='FOO'",
        "[program.web]\ncommand='x'\nstopsignal=65",
        "[program.web]\ncommand='x'\nstdout_logfile_maxbytes='50M'",
        "[program.web]\ncommand='x'\numask='9'",
        "[program.web]\ncommand='x'\nnumprocs=''",
        "[program.web]\ncommand='x'\nexitcodes='0,x'",
        "[program.web]\ncommand='x'\nexitcodes=[256]",
        "[program.web]\ncommand='x'\nexitcodes=-1",
        "[inet_http_server]\nport=-1",
        "[inet_http_server]\nport='localhost'",
        "[program.web]\ncommand='x'\numask=18",
        "[supervisord]\nloglevel='loud'",
        "[program]\nweb=1",
    ],
)
def test_bad_files_are_not(text: str) -> None:
    assert not VALIDATOR.is_valid(tomli.loads(text))


TEXTS = (
    *("yes", "True", "OFF", "1", "0", "Unexpected", " 7 ", "+7", "-1", "1_000", "1.5", "1m30s", "500 ms", "None", ""),
    *("1KB", "2 Mb", "-1gb", "TERM", "sigterm", "SigUsr1", " hup", "9", "64", "0,2", "0, 255 ,3", "022", "0o17", "-7"),
    *(
        "9001",
        ":9001",
        "*:1",
        "[::1]: 80",
        "localhost:65535",
        "critical",
        " DEBUG",
        "Tree",
        "oneshot",
        "bytes",
        "Admin",
    ),
)


@pytest.mark.parametrize("kind", KINDS)
def test_what_can_be_read_is_valid(kind: str) -> None:
    for key, option in options_of(kind).items():
        check = jsonschema.Draft202012Validator(schema()["$defs"][kind]["properties"][key])
        assert check.is_valid("x%(ENV_X)s"), key
        for value in (*TEXTS, -1, 0, 2, 1.5, True, ["a"], [0, 2], {"A": 1}):
            with suppress(ValueError):
                option.type.parse(option.type.text_of(value))
                assert check.is_valid(value), (key, value)


@pytest.mark.parametrize("kind", KINDS)
def test_every_option_is_in_schema_and_reference(kind: str) -> None:
    properties = schema()["$defs"][kind]["properties"]
    heading = f"[{kind}:x]" if kind in NAMED else f"[{kind}]"
    page = reference()
    assert f"### `{heading}`" in page
    for key, option in options_of(kind).items():
        assert properties[key]["description"] == option.doc
        assert f"| `{key}` |" in page


@pytest.mark.parametrize("kind", KINDS)
def test_defaults_read_as_themselves(kind: str) -> None:
    for option in options_of(kind).values():
        text = default_text(option)
        if text and option.type is not values.PATH and option.type is not values.LOG:
            assert option.type.parse(text) == option.default
