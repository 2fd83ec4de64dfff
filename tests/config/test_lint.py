import os
import stat
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from supervise.config.document import KINDS, NAMED
from supervise.config.lint import lint
from supervise.config.load import Examination
from supervise.config.machine import Machine
from supervise.config.sections import options_of

Look = Callable[..., Examination]


@pytest.fixture
def said(look: Look, machine: Machine) -> Callable[..., list[str]]:
    """said(text, **changes to the machine) -> ["option: message", …]"""

    def said(text: str, **changes: Any) -> list[str]:
        machine_now = replace(machine, **{"environ": {"PATH": "/bin:/usr/bin"}, **changes})
        found = look(text, environ=machine_now.environ)
        assert found.config
        return [f"{warning.option}: {warning.message}" for warning in lint(found.config, machine_now)]

    return said


@pytest.mark.parametrize(
    "command",
    [
        "sh -c 'a && b | c > d; echo $HOME'",
        "/bin/sh -c 'x'",
        "env A=1 bash -c 'a | b'",
        "awk '{print $1}' /etc/passwd",
        'echo "a;b" x&y 100%% a>b --flag=a|b',
        "find /tmp -exec ls {} \\;",
        "find . -name *.conf",
        "ls *.none",
        "ls --color=* '*.conf'",
        "cut -d| -f1 /etc/passwd",
        "ls foo>=1.0 a->b http://h/?a=1&b=2",
        "ls \"a b;\" 'c;'",
        "ls -l",
    ],
)
def test_commands_that_are_right(said: Callable[..., list[str]], command: str) -> None:
    assert said(f"[program:x]\ncommand={command}") == []


@pytest.mark.parametrize(
    ("command", "sign"),
    [
        ("cd /tmp && ls", "'&&'"),
        ("ls | cat", "'|'"),
        ("ls > /tmp/x", "'>'"),
        ("ls >/tmp/x", "'>/tmp/x'"),
        ("ls 2>&1", "'2>&1'"),
        ("ls &", "'&'"),
        ("ls /tmp; ls", "'/tmp;'"),
        ("ls $HOME/x", "'$HOME'"),
        ('ls "${HOME}"', "'${HOME}'"),
        ("ls $(pwd)", "'$('"),
        ("ls `pwd`", "'`'"),
        ("ls&", "'ls&'"),
        ("ls&& ls", "'ls&&'"),
        ("ls| cat", "'ls|'"),
        ("ls>/dev/null", "'ls>/dev/null'"),
        ("ls -l>>x", "'-l>>x'"),
        ("ls /none>&2", "'/none>&2'"),
        ("ls *.conf", "'*.conf'"),
        ("ls -l ./*", "'./*'"),
    ],
)
def test_shell_syntax_without_a_shell(said: Callable[..., list[str]], command: str, sign: str) -> None:
    (message,) = [m for m in said(f"[program:x]\ncommand={command}") if "find" not in m]
    assert message == f"command: {sign} means nothing without a shell; write sh -c '…' around the command"


def test_commands_that_cannot_start(said: Callable[..., list[str]], tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    plain.chmod(stat.S_IRUSR)
    assert said("[program:x]\ncommand=nosuchthing") == ["command: can't find command 'nosuchthing' in /bin:/usr/bin"]
    assert said("[program:x]\ncommand=/no/such") == ["command: can't find command '/no/such'"]
    assert said("[program:x]\ncommand=./plain") == [f"command: command at '{tmp_path}/./plain' is not executable"]
    assert said("[program:x]\ncommand=/tmp") == ["command: command at '/tmp' is a directory"]
    assert said("[program:x]\ncommand=x 'y") == ["command: can't parse command \"x 'y\": No closing quotation"]
    assert said("[program:x]\ncommand=") == ["command: command is empty"]
    assert said("[program:x]\ncommand=A=1 ls") == [
        "command: can't find command 'A=1'; variables belong into environment ="
    ]


def test_the_path_of_the_program_counts(said: Callable[..., list[str]], tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.touch(0o755)
    assert said(f"[program:x]\ncommand=tool\nenvironment=PATH={tmp_path}") == []
    assert said("[program:x]\ncommand=sh", environ={}) == []


def test_what_surrounds_the_program(said: Callable[..., list[str]]) -> None:
    assert said("[program:x]\ncommand=ls 'y\ndirectory=/no/such") == [
        "command: can't parse command \"ls 'y\": No closing quotation",
        "directory: /no/such is not an existing directory",
    ]
    assert said("[program:x]\ncommand=ls\ndirectory=/no/such") == ["directory: /no/such is not an existing directory"]
    assert said("[program:x]\ncommand=ls\nstdout_logfile=/tmp/x", is_writable=lambda path: path != "/tmp/x") == [
        "stdout_logfile: /tmp/x cannot be written here"
    ]
    assert said('[program:x]\ncommand=ls\nenvironment=PATH="/bin:$PATH"') == [
        "environment: PATH: '$PATH' is not replaced here; write %(ENV_NAME)s"
    ]


@pytest.mark.parametrize(
    ("options", "warns"),
    [("port=9001", True), ("port=127.0.0.1:9001", False), ("port=9001\nusername=u\npassword=p", False)],
)
def test_open_ports(said: Callable[..., list[str]], options: str, warns: bool) -> None:
    assert bool(said(f"[inet_http_server]\n{options}")) is warns


@pytest.mark.parametrize(
    ("path", "warns"), [("/tmp/x", True), ("/var/tmp/x", True), ("/run/x", False), ("/tmp/own/x", False)]
)
def test_small_files_where_others_clean(said: Callable[..., list[str]], path: str, warns: bool) -> None:
    text = f"[unix_http_server]\nfile={path}.sock\n[supervisord]\npidfile={path}.pid"
    warnings = said(text, is_directory=lambda path: True, is_writable=lambda path: True)
    assert [warning.partition(":")[0] for warning in warnings] == (["pidfile", "file"] if warns else [])


def test_places_that_the_daemon_cannot_write(said: Callable[..., list[str]], tmp_path: Path) -> None:
    text = f"[unix_http_server]\nfile=/no/such/s\n[supervisord]\nlogfile=/l\npidfile=/p\nchildlogdir={tmp_path}"
    paths = {"pidfile": "/p", "file": "/no/such/s", "logfile": "/l", "childlogdir": f"{tmp_path}/"}
    assert said(text, is_writable=lambda path: False) == [
        f"{option}: {path} cannot be written here" for option, path in paths.items()
    ]
    assert said(text) == ["file: /no/such/s cannot be written here"] or os.getuid() != 0
    assert said("[supervisord]\nlogfile=syslog", is_writable=lambda path: not path.endswith(".log")) == []


def test_what_the_loader_has_said_is_not_told_again(look: Look, machine: Machine) -> None:
    found = look("[supervisord]\nlogfile=/no/such/l\npidfile=/no/such/p\nchildlogdir=/no/such")
    assert len(found.errors) == 3
    assert lint(found.draft, machine) == ()


def test_warnings_say_where(look: Look, machine: Machine) -> None:
    found = look("[group:g]\nprograms=f\n[fcgi-program:f]\ncommand=/no/such\nprocess_name=%(process_num)d\nnumprocs=3")
    assert found.config
    (warning,) = lint(found.config, machine)
    assert (warning.section, warning.line) == ("fcgi-program:f", 4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("form", "raw"), [("conf", "%(nope)s"), ("conf", ""), ("toml", "nan"), ("toml", "{a = []}")])
def test_half_of_a_configuration_can_be_looked_at_too(
    look: Look, machine: Machine, kind: str, form: str, raw: str
) -> None:
    """Whatever option is wrong, or left out, others may still have something to be warned of."""
    name = f"{kind}:x" if kind in NAMED else kind
    for option in ("unheard_of", *options_of(kind)):
        if form == "toml":
            header = f"{kind}.x" if kind in NAMED else kind
            found = look(f"[{header}]\n'{option}' = {raw}\n[program.other]\ncommand='/no/such'", "x.toml")
        else:
            found = look(f"[{name}]\n{option}={raw}\n[program:other]\ncommand=/no/such")
        assert "can't find command '/no/such'" in [warning.message for warning in lint(found.draft, machine)]


def test_nothing_is_read_for_a_command_that_is_missing(
    look: Look, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """shlex would split standard input instead, and wait for it."""
    monkeypatch.setattr(sys, "stdin", None)
    found = look("[program:x]\nautostart=false")
    assert [error.message for error in found.errors] == ["program section program:x does not specify a command"]
    assert lint(found.draft, machine) == ()


def test_this_machine(look: Look) -> None:
    found = look(f"[program:x]\ncommand={os.path.realpath('/bin/ls')}")
    assert found.config
    assert lint(found.config, Machine()) == ()
