"""Children by posix_spawn(3); what is the same in every way to start one is in `test_spawn`."""

import ast
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from supervise.system import posixspawn
from supervise.system.forking import NotStarted

LOOK = (
    "import os; print({int(fd): os.readlink(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd')"
    " if os.path.exists(f'/proc/self/fd/{fd}')})"
)


def output(
    argv: Sequence[str],
    env: Mapping[str, str] | None = None,
    *,
    pass_fds: Sequence[int] = (),
    directory: str | None = None,
) -> bytes:
    """What such a child writes."""
    reader, writer = os.pipe()
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    fds = null, writer, writer
    pid = posixspawn.start(argv[0], argv, env or {}, fds, pass_fds=pass_fds, directory=directory)
    assert pid, "it is available where the tests run"
    for fd in (writer, null):
        os.close(fd)
    with os.fdopen(reader, "rb") as file:
        said = file.read()
    assert os.waitpid(pid, 0)[1] == 0, said
    return said


def test_nothing_else_is_passed_on() -> None:
    """Not even what a library has opened without a thought of us."""
    reader, writer = os.pipe()
    for fd in (reader, writer):
        os.set_inheritable(fd, True)
    passed = os.open("/etc/hostname", os.O_RDONLY)
    found = ast.literal_eval(output([sys.executable, "-c", LOOK], pass_fds=[passed]).decode())
    assert set(found) == {0, 1, 2, passed}
    assert found[passed] == os.path.realpath("/etc/hostname")
    for fd in (reader, writer, passed):
        os.close(fd)


def test_words_and_names_of_any_bytes() -> None:
    text = output(["/usr/bin/env", "printf", "%s", "\udcff\n"], {"PATH": "/usr/bin:/bin"})
    assert text == b"\xff\n"
    assert b"\xfe=\xff\xfe" in output(["/usr/bin/env"], {"\udcfe": "\udcff\udcfe"}).split(b"\n")


def test_signals_and_a_session() -> None:
    """None is ignored but what we ignore ourselves, without Python: neither by it nor by glibc."""
    command = ["/bin/grep", "Sig[BI]", "/proc/self/status"]
    assert signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN, "or this would not show much"
    assert output(command) == subprocess.run(command, capture_output=True, check=True).stdout
    stat = output(["/bin/cat", "/proc/self/stat"]).decode().rpartition(")")[2].split()
    assert stat[2] == stat[3] != str(os.getsid(0)), "leader of a group and a session of its own"


def test_a_directory_also_for_a_relative_file(tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("#!/bin/sh\npwd\n")
    (tmp_path / "tool").chmod(0o755)
    assert output(["./tool"], directory=str(tmp_path)) == f"{tmp_path}\n".encode()


@pytest.mark.parametrize(
    ("file", "directory", "stage", "number"),
    [
        ("/no/such", None, "exec", errno.ENOENT),
        ("/no/such", "/", "exec", errno.ENOENT),
        ("/bin/true", "/no/such", "chdir", errno.ENOENT),
        ("/bin/true", "/etc/passwd", "chdir", errno.ENOTDIR),
        ("/etc/passwd", "/", "exec", errno.EACCES),
        ("/etc", "/", "exec", errno.EACCES),
    ],
)
def test_what_fails_is_named(file: str, directory: str | None, stage: str, number: int) -> None:
    with pytest.raises(NotStarted) as caught:
        posixspawn.start(file, ["x"], {}, (0, 1, 2), directory=directory)
    assert (caught.value.stage, caught.value.number) == (stage, number)


@pytest.mark.parametrize(
    ("argv", "env", "directory"),
    [
        (["/bin/true", "a\0b"], {}, None),
        (["/bin/true"], {"A": "\0"}, None),
        (["/bin/true"], {"A=B": ""}, None),
        (["/bin/true"], {}, "/\0"),
    ],
)
def test_what_no_program_could_be_told(argv: Sequence[str], env: Mapping[str, str], directory: str | None) -> None:
    with pytest.raises(ValueError, match=r"embedded null byte|illegal environment variable name"):
        posixspawn.start(argv[0], argv, env, (0, 1, 2), directory=directory)
