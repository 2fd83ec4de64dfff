"""Descriptors from 3 on, and who is told about them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from supervise.system.activation import FIRST, activated
from tests.tools import ROOT

SHELLS = [
    [path, *options]
    for name, options in (("sh", []), ("dash", []), ("bash", ["--posix"]), ("busybox", ["sh"]), ("ksh", []))
    if (path := shutil.which(name))
]
ODD = {
    "PATH": os.environ["PATH"],
    "PLAIN": "a b",
    "QUOTED": 'it\'s "$HOME" `x` \\ *',
    "LINES": "one\ntwo\n",
    "BYTES": os.fsdecode(b"\xff\xfe"),
    "EMPTY": "",
    "spring.datasource.url": "jdbc:x?a=b",
    "BASH_FUNC_module%%": "() { :; }",
    "MY-NAME": "it's",
}

# What a fresh interpreter finds open at the end, beside the three and what listdir itself opens.
IN_A_FRESH_PROCESS = """
import json, os, socket, subprocess, sys
from supervise.system.activation import Slots
slots = Slots()
first = [os.path.realpath(f"/proc/self/fd/{n}") for n in (3, 34)]
one, two = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
assert min(one.fileno(), two.fileno()) > 34
before = sorted(os.listdir("/proc/self/fd"))
look = "import os, sys; print(*sorted(os.path.realpath(f'/proc/self/fd/{n}') + f'={n}' for n in range(3, 99)))"
with slots.placed([one.fileno(), two.fileno()]) as numbers:
    child = subprocess.run([sys.executable, "-c", look], pass_fds=numbers, capture_output=True, text=True, check=True)
inodes = [f"socket:[{os.fstat(s.fileno()).st_ino}]" for s in (one, two)]
print(json.dumps({
    "first": first,
    "numbers": list(numbers),
    "child": [word for word in child.stdout.split() if "socket:" in word or "null" in word],
    "sockets": inodes,
    "again": [os.path.realpath(f"/proc/self/fd/{n}") for n in (3, 4)],
    "leaked": before != sorted(os.listdir("/proc/self/fd")),
}))
"""


def fresh(script: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True, **options
    )


def test_sockets_get_their_numbers_for_the_moment_of_the_spawn() -> None:
    said = json.loads(fresh(IN_A_FRESH_PROCESS).stdout)
    assert said["first"] == ["/dev/null", "/dev/null"]
    assert said["numbers"] == [FIRST, FIRST + 1]
    one, two = said["sockets"]
    assert sorted(Path(word).name for word in said["child"]) == sorted([f"{one}=3", f"{two}=4"])
    assert said["again"] == ["/dev/null", "/dev/null"]
    assert not said["leaked"]


def test_what_was_inherited_there_stays(tmp_path: Path) -> None:
    script = f"""
import os, socket, subprocess
from supervise.system.activation import Slots
slots = Slots()
with socket.create_server(("127.0.0.1", 0)) as one, slots.placed([one.fileno()]):
    subprocess.run(["true"], pass_fds=[3], check=True)
os.write({FIRST}, b"still here")
os.close({FIRST})
slots.fill()
print(os.path.realpath("/proc/self/fd/{FIRST}"))
"""
    argv = ["bash", "-c", f'exec "$0" -c "$1" {FIRST}> "$2"', sys.executable, script, str(tmp_path / "x")]
    said = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert (tmp_path / "x").read_bytes() == b"still here"
    assert said == "/dev/null\n"


def run(shell: list[str], *argv: str, env: dict[str, str] | None = None, cwd: Path | None = None) -> bytes:
    filename = shutil.which(argv[0])
    assert filename
    launch = activated(filename, argv, {"PATH": os.environ["PATH"]} if env is None else env, ["web", "admin"])
    command = [*shell, *list(launch.argv)[1:]]
    return subprocess.run(command, env=launch.env, cwd=cwd, capture_output=True, check=True).stdout


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: Path(shell[0]).name)
class TestAfterExec:
    def test_the_pid_is_the_programs_own(self, shell: list[str]) -> None:
        said = run(shell, "sh", "-c", 'echo "$$ $LISTEN_PID $LISTEN_FDS $LISTEN_FDNAMES"').split()
        assert said[0] == said[1]
        assert said[2:] == [b"2", b"web:admin"]

    def test_arguments_arrive_as_they_are(self, shell: list[str]) -> None:
        words = ["a b", "", "it's", '"$HOME"', "-n", "--", "new\nline", "*"]
        said = run(shell, "printf", r"%s\0", *words)
        assert said.split(b"\0")[:-1] == [word.encode() for word in words]

    @pytest.mark.parametrize(
        "shells_own",
        [{}, {"PWD": "/no/such", "OLDPWD": "/nor/this"}, {"PWD": "it's 'odd'", "LISTEN_PID": "1"}],
    )
    def test_the_environment_arrives_as_it_is(self, shell: list[str], shells_own: dict[str, str]) -> None:
        env = ODD | shells_own
        listing = run(shell, "env", "-0", env=env, cwd=Path("/tmp")).split(b"\0")[:-1]
        found = dict(entry.split(b"=", 1) for entry in listing)
        assert found.pop(b"LISTEN_PID").isdigit()
        for name in (b"_", b"SHLVL"):
            assert found.pop(name, None) is None or "bash" in shell[0]
        env = {name: value for name, value in env.items() if name != "LISTEN_PID"}
        assert found == {
            os.fsencode(name): os.fsencode(value)
            for name, value in {**env, "LISTEN_FDS": "2", "LISTEN_FDNAMES": "web:admin"}.items()
        }


def test_a_relative_path_is_executed_from_where_the_program_is(tmp_path: Path) -> None:
    for name in ("-odd name", "sub/x"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\necho ran $0 $1\n")
        path.chmod(0o755)
        launch = activated(name, [name, "arg"], {}, ["web"])
        said = subprocess.run(launch.argv, env=launch.env, cwd=tmp_path, capture_output=True, text=True)
        assert said.stdout == f"ran ./{name} arg\n", said.stderr


def test_what_cannot_be_executed_is_told_on_stderr(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("#!/no/such/interpreter\n")
    path.chmod(0o755)
    launch = activated(str(path), ["x"], {}, ["web"])
    said = subprocess.run(launch.argv, env=launch.env, capture_output=True, text=True)
    assert said.returncode in (126, 127)
    assert str(path) in said.stderr
