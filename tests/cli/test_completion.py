"""Which names a TAB offers, also in the shells themselves (in our own: test_shell)."""

import shlex

import pytest

from supervise.cli.completion import candidates
from tests.cli.terminal import Terminal
from tests.daemons import Supervisors, client_command
from tests.tools import need


def process(group: str, name: str) -> dict[str, str]:
    return {"group": group, "name": name, "namespec": name if group == name else f"{group}:{name}"}


def test_candidates() -> None:
    rows = [process("cat", "cat"), process("two", "a"), process("two", "b")]
    assert candidates(rows, "") == ["cat", "two:a", "two:*", "two:b"]
    assert candidates(rows, "cat:") == ["cat:cat", "cat:*", "two:a", "two:*", "two:b"]
    assert candidates([], "x") == []


SHELLS = {
    "bash": (["--norc", "--noprofile", "-i"], 'eval "$(_SUPERVISECTL_COMPLETE=bash_source supervisectl)"'),
    "zsh": (
        ["-f", "-i"],
        'autoload -U compinit; compinit -u -D; eval "$(_SUPERVISECTL_COMPLETE=zsh_source supervisectl)"',
    ),
    "fish": (["--no-config", "-i"], "_SUPERVISECTL_COMPLETE=fish_source supervisectl | source"),
}
PROGRAM = "[program:w]\ncommand = sleep 1000\nprocess_name = one-%(process_num)d\nstartsecs = 0\n"


@pytest.mark.parametrize("name", SHELLS)
def test_a_real_shell_completes_names_and_files(supervisors: Supervisors, name: str) -> None:
    options, setup = SHELLS[name]
    daemon = supervisors.start("supervise", PROGRAM)
    command = daemon.place / "bin" / "supervisectl"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.join(client_command("supervise"))} "$@"\n')
    command.chmod(0o755)
    file = daemon.place / "elsewhere.conf"
    file.write_text(daemon.config.read_text())
    path = f"{command.parent}:{daemon.env['PATH']}"
    with Terminal(daemon, argv=[need(name), *options], PATH=path, HOME=str(daemon.place)) as shell:
        shell.type(f"{setup}; echo re''ady\n")
        shell.expect("ready")
        shell.type("supervisectl -c else\t")  # the file's name
        shell.expect("elsewhere.conf")
        shell.type("status w:o\t\n")  # after the colon, too
        shell.expect("RUNNING")
