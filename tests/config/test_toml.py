from typing import Any

import pytest

from supervise.config import toml
from supervise.config.document import Document
from supervise.config.problems import Problems

SAMPLE = '''\
[supervise]
nodaemon = true
environment = { A = "b", N = 1 }

[inet_http_server]
port = 9001
[inet_http_server.more]
port = "[::1]:9002"

["program"."my web"]
command = """
[not.a.table]
key = 1
"""
exitcodes = [0, 2]
[program.web.environment]
DEBUG = "1"

[rpcinterface.supervisor]
supervisor.rpcinterface_factory = "supervisor.rpcinterface:make_main_rpcinterface"
deep.er.option = 1
'''


def read(text: str) -> tuple[Document, Problems]:
    document, problems = Document("x.toml", "/"), Problems()
    toml.read(text, "x.toml", document, problems)
    return document, problems


def test_tables_are_sections_and_keep_native_values() -> None:
    document, problems = read(SAMPLE)
    assert not problems.errors
    found = {name: {k: entry.raw for k, entry in section.own.items()} for name, section in document.sections.items()}
    assert found == {
        "supervisord": {"nodaemon": True, "environment": {"A": "b", "N": 1}},
        "inet_http_server": {"port": 9001},
        "inet_http_server:more": {"port": "[::1]:9002"},
        "program:my web": {"command": "[not.a.table]\nkey = 1\n", "exitcodes": [0, 2]},
        "program:web": {"environment": {"DEBUG": "1"}},
        "rpcinterface:supervisor": {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface",
            "deep.er.option": 1,
        },
    }


@pytest.mark.parametrize(
    ("section", "option", "line"),
    [
        ("supervisord", "nodaemon", 2),
        ("inet_http_server:more", "port", 8),
        ("program:my web", "command", 11),
        ("program:my web", "exitcodes", 15),
        ("program:web", "environment", 16),
        ("rpcinterface:supervisor", "supervisor.rpcinterface_factory", 20),
    ],
)
def test_lines_are_kept(section: str, option: str, line: int) -> None:
    document, _ = read(SAMPLE)
    assert document.sections[section].own[option].line == line


def test_a_server_may_have_only_named_tables() -> None:
    document, _ = read('[unix_http_server.a]\nfile = "x"')
    assert list(document.sections) == ["unix_http_server:a"]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a = ", 1, "not valid TOML: Invalid value"),
        ("[a]\nb = 1\nb = 2\n", 3, "not valid TOML: Cannot overwrite a value"),
        ("x = " + "[" * 100_000, 0, "not valid TOML: "),
        ("[program]\nweb = 1", 2, "expected a table: write [program.NAME]"),
        ("supervisord = 1", 1, "expected a table: write [supervisord]"),
        ("[[supervisord]]\n", 1, "expected a table: write [supervisord]"),
        ("x = 1" + "0" * 5000, 0, "not valid TOML: "),
    ],
)
def test_what_is_not_a_configuration(text: str, line: int, message: str) -> None:
    _, problems = read(text)
    (error,) = problems.errors
    assert error.message.startswith(message)
    assert line in (0, error.line)


def test_what_a_file_adds_wins(tmp_path: Any) -> None:
    document, problems = read('[program.a]\ncommand = "x"\nuser = "u"')
    toml.read('[program.a]\ncommand = "y"', "y.toml", document, problems)
    assert {k: (e.raw, e.file) for k, e in document.sections["program:a"].own.items()} == {
        "command": ("y", "y.toml"),
        "user": ("u", "x.toml"),
    }
