"""Children as they really come out of a spawn, and everything that can go wrong on the way."""

import asyncio
import errno
import os
import pwd
import resource
import select
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest

from supervise.config.model import ProgramConfig
from supervise.errors import Fault
from supervise.system import forking
from supervise.system.environment import environment
from supervise.system.forking import Forker
from supervise.system.pipes import open_pipe
from supervise.system.reap import Reaper
from supervise.system.spawn import Child, SpawnError, lookup, spawn
from tests.tools import ROOT, children, need, need_root, wait_for

os.umask(UMASK := os.umask(0o22))


def program(command: str, **options: Any) -> ProgramConfig:
    return ProgramConfig(name="x", group_name="x", command=command, **options)


@pytest.fixture(params=["posix_spawn", "subprocess", "forker"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Everything is so whoever starts it: posix_spawn (for our own user), subprocess, the forker (for others)."""
    Run.options = {"umask": UMASK} if request.param == "subprocess" else {}
    if request.param != "forker":
        yield
        return
    monkeypatch.setattr(forking, "SLOW", 60)  # machines are, too
    monkeypatch.setattr(forking, "QUICK", 60)
    monkeypatch.setattr(forking, "PATIENCE", 60)
    loop = asyncio.new_event_loop()
    reaper = Reaper(loop)
    Run.forker = Forker(reaper)
    Run.forker.begin()  # before a test counts descriptors
    yield
    Run.forker.close()
    Run.forker = None
    reaper.close()
    loop.close()


class Run:
    """One spawned program, its output gathered in one pipe."""

    forker: Forker | None = None
    options: ClassVar[dict[str, Any]] = {}

    def __init__(self, command: str, **options: Any) -> None:
        self.config = program(command, **(self.options | options))
        self.reader, end = open_pipe()
        self.child: Child | None = None
        try:
            filename, argv = lookup(self.config, os.environ["PATH"])
            env = environment(self.config, os.environ, None)
            self.child = spawn(self.config, filename, argv, env, stdout=end, stderr=end, forker=self.forker)
        except BaseException:
            os.close(self.reader)
            raise
        finally:
            os.close(end)

    @property
    def pid(self) -> int:
        assert self.child
        return self.child.pid

    def end(self) -> tuple[str, int]:
        """What it wrote, and its exit code."""
        _, status = os.waitpid(self.pid, 0)
        output = b""
        while select.select([self.reader], [], [], 0)[0] and (chunk := os.read(self.reader, 65536)):
            output += chunk
        self.close()
        return output.decode(errors="surrogateescape"), os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        os.close(self.reader)
        assert self.child
        assert self.child.stdin
        self.child.stdin.close()


def out(command: str, **options: Any) -> str:
    text, code = Run(command, **options).end()
    assert code == 0, text
    return text


def refused(command: str, **options: Any) -> SpawnError:
    with pytest.raises(SpawnError) as caught:
        Run(command, **options)
    return caught.value


@pytest.fixture
def bin_(tmp_path: Path) -> Path:
    """Two directories with programs: a/tool (not executable), b/tool, b/other."""
    for name, mode in (("a/tool", 0o644), ("b/tool", 0o755), ("b/other", 0o755)):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\necho {name}\n")
        path.chmod(mode)
    return tmp_path


# Lookup


def test_the_path_of_the_program_comes_before_the_daemons(bin_: Path) -> None:
    config = program("other -x 'two words'", environment=(("PATH", f"{bin_}/a:{bin_}/b"),))
    assert lookup(config, "/nowhere") == (f"{bin_}/b/other", ["other", "-x", "two words"])


def test_the_daemons_path_is_used_without_one() -> None:
    assert lookup(program("sh"), "/nonexistent:/bin")[0] == "/bin/sh"


@pytest.mark.parametrize("path", [None, ""])
def test_without_any_path_there_is_a_default(path: str | None) -> None:
    assert lookup(program("sh"), path)[0] == "/bin/sh"


def test_the_first_directory_wins_even_if_its_file_cannot_be_executed(bin_: Path) -> None:
    error = refused("tool", environment=(("PATH", f"{bin_}/a:{bin_}/b"),))
    assert str(error) == f"command at '{bin_}/a/tool' is not executable"


def test_a_relative_command_is_looked_for_where_it_will_be_executed(bin_: Path) -> None:
    assert out("./tool", directory=f"{bin_}/b") == "b/tool\n"
    assert str(refused("./tool", directory=f"{bin_}")) == "can't find command './tool'"


def test_a_relative_directory_in_path_means_the_daemons(bin_: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bin_)
    assert out("other", directory="/", environment=(("PATH", "b:/bin"),)) == "b/other\n"


@pytest.mark.parametrize(
    ("command", "text", "fault"),
    [
        ("", "command is empty", Fault.NOT_EXECUTABLE),
        ("  ", "command is empty", Fault.NOT_EXECUTABLE),
        ('echo "', "can't parse command 'echo \"': No closing quotation", Fault.NOT_EXECUTABLE),
        ("no-such-program-at-all a b", "can't find command 'no-such-program-at-all'", Fault.NO_FILE),
        ("/no/such/file", "can't find command '/no/such/file'", Fault.NO_FILE),
        ("/etc/passwd/x", "can't find command '/etc/passwd/x'", Fault.NO_FILE),
        ("'/a\0b'", "can't find command '/a\\x00b'", Fault.NO_FILE),
        ("cat --token 'a b", "can't parse command 'cat --token ********': No closing quotation", Fault.NOT_EXECUTABLE),
        ("DB_PASS='a b' x", "can't find command 'DB_PASS=********'", Fault.NO_FILE),
        ("/etc", "command at '/etc' is a directory", Fault.NOT_EXECUTABLE),
        ("/etc/passwd", "command at '/etc/passwd' is not executable", Fault.NOT_EXECUTABLE),
    ],
)
def test_commands_that_cannot_be_run(command: str, text: str, fault: Fault) -> None:
    error = refused(command)
    assert (error.stage, str(error), error.kind) == ("lookup", text, fault)


def test_a_file_that_only_others_may_execute(tmp_path: Path) -> None:
    need_root()
    tmp_path.chmod(0o755)
    (tmp_path / "tool").touch(0o744)
    code = (
        "import os, sys; from supervise.config.model import ProgramConfig;"
        "from supervise.system.spawn import SpawnError, lookup\n"
        "os.chdir(sys.argv[1]); os.setgid(65534); os.setuid(63999)\n"
        "try: lookup(ProgramConfig(name='x', group_name='x', command='./tool'), None)\n"
        "except SpawnError as e: print(e.kind.name, e)"
    )
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, cwd=ROOT)
    assert run.stdout == "NOT_EXECUTABLE no permission to run command './tool'\n", run.stderr


# What the child gets


def test_descriptors_session_signals_and_umask(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys;"
        "print(sorted(map(int, os.listdir('/proc/self/fd')))[:4], os.getsid(0) == os.getpid() == os.getpgrp(),"
        " oct(os.umask(0)), os.getcwd(), signal.getsignal(signal.SIGPIPE) == signal.SIG_DFL or 'pipe', sys.argv)"
    )
    spare = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(spare, True)
    try:
        text = out(f'{sys.executable} -c "{script}" a b', directory=str(tmp_path), umask=0o27)
    finally:
        os.close(spare)
    # 3 is the directory being listed: nothing else came along; and Python itself ignores SIGPIPE
    assert text == f"[0, 1, 2, 3] True 0o27 {tmp_path} pipe ['-c', 'a', 'b']\n"


def test_argv0_is_the_word_as_written(bin_: Path) -> None:
    assert out("""sh -c 'tr "\\0" " " </proc/$$/cmdline | cut -d" " -f1'""") == "sh\n"


def test_environment_reaches_it_as_it_is() -> None:
    text = out("env", environment=(("EMPTY", ""), ("TEXT", "a=b\nü"), ("raw", "\udcff")))
    assert "EMPTY=\n" in text
    assert "TEXT=a=b\nü\n" in text
    assert "raw=\udcff\n" in text


def test_stdin_never_ends_and_can_be_written_to() -> None:
    run = Run("cat")
    stdin = run.child.stdin if run.child else None
    assert stdin
    assert stdin.kept == -1, "no descriptor is kept where /proc allows to open it again"
    assert stdin.write(run.pid, b"hello\n") == 6
    assert wait_for(lambda: os.read(run.reader, 100)) == b"hello\n"
    os.kill(run.pid, 9)
    assert run.end() == ("", -9)


def test_stdin_of_the_caller_is_used() -> None:
    config = program("cat")
    reader, end = open_pipe()
    with open("/etc/hostname", "rb") as file:
        child = spawn(config, "/bin/cat", ["cat"], {}, stdin=file.fileno(), stdout=end, stderr=end)
        assert child.stdin is None
        assert os.waitpid(child.pid, 0)[1] == 0
        assert os.read(reader, 1000) == Path("/etc/hostname").read_bytes()
    os.close(end)
    os.close(reader)


def test_a_child_outlives_the_daemon_that_held_its_stdin() -> None:
    """The end of the process that spawned it must not look like an end of input."""
    code = (
        "import os; from supervise.config.model import ProgramConfig; from supervise.system.spawn import spawn;"
        "n = os.open('/dev/null', os.O_RDWR); c = ProgramConfig(name='x', group_name='x', command='cat');"
        "print(spawn(c, '/bin/cat', ['cat'], {}, stdout=n, stderr=n).pid)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    pid = int(run.stdout)
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            subprocess.run(["tail", f"--pid={pid}", "-f", "/dev/null"], timeout=0.5)
    finally:
        os.kill(pid, 9)


# Users


def test_user_groups_and_ownership_of_its_pipes() -> None:
    need_root()
    nobody = pwd.getpwnam("nobody")
    text = out(
        "sh -c 'id -u; id -g; id -G; echo again >/dev/stdout; cat /proc/self/status | grep CapEff'",
        uid=nobody.pw_uid,
        gid=nobody.pw_gid,
    )
    uid, gid, groups, again, caps = text.splitlines()
    assert (int(uid), int(gid), again) == (nobody.pw_uid, nobody.pw_gid, "again")
    assert {int(group) for group in groups.split()} == set(os.getgrouplist("nobody", nobody.pw_gid))
    assert int(caps.split()[1], 16) == 0


def test_a_group_of_its_own_choice() -> None:
    need_root()
    nobody = pwd.getpwnam("nobody")
    assert out("sh -c 'id -u; id -g'", uid=nobody.pw_uid, gid=8).split() == [str(nobody.pw_uid), "8"]
    assert out("sh -c 'id -u; id -g'", gid=8).split() == ["0", "8"]


def test_a_number_without_a_passwd_entry() -> None:
    """supervisord refuses it; containers want it. No group of root's must stay."""
    need_root()
    assert out("sh -c 'id -u; id -g; id -G'", uid=54321).split() == ["54321", "54321", "54321"]


def test_our_own_user_needs_no_privilege() -> None:
    assert out("id -u", uid=os.geteuid(), gid=os.getegid()) == f"{os.geteuid()}\n"


@contextmanager
def as_nobody() -> Iterator[None]:
    need_root()
    nobody = pwd.getpwnam("nobody")
    os.setegid(nobody.pw_gid)
    os.seteuid(nobody.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def test_only_root_changes_users(tmp_path: Path) -> None:
    with as_nobody():
        error = refused("cat", uid=1)
        assert (error.stage, error.number) == ("user", errno.EPERM)
        assert str(error) == "couldn't setuid to 1: Can't drop privilege as nonroot user"
        assert str(refused("cat", gid=8)) == "couldn't setgid to 8: Could not set group id of effective user"


def test_a_kept_descriptor_where_proc_would_refuse() -> None:
    """Root without CAP_SYS_PTRACE, as in most containers."""
    need_root()
    code = (
        "import ctypes, os; libc = ctypes.CDLL(None);"
        "h = (ctypes.c_uint32 * 2)(0x20080522, 0); d = (ctypes.c_uint32 * 6)(); libc.capget(h, d);"
        "d[0] &= ~(1 << 19); assert libc.capset(h, d) == 0;"
        "from supervise.config.model import ProgramConfig; from supervise.system.spawn import spawn;"
        "r, w = os.pipe(); c = ProgramConfig(name='x', group_name='x', command='cat', uid=65534, gid=65534);"
        "child = spawn(c, '/bin/cat', ['cat'], {}, stdout=w, stderr=w);"
        "assert child.stdin.kept >= 0; child.stdin.write(child.pid, b'hi'); print(os.read(r, 10));"
        "os.kill(child.pid, 9); child.stdin.close()"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (run.stdout, run.stderr) == ("b'hi'\n", "")


# Failures


def failed_run(command: str, **options: Any) -> tuple[SpawnError, str]:
    """The error of a spawn, and what the child's stderr log was told."""
    config = program(command, **(Run.options | options))
    reader, end = open_pipe()
    try:
        filename, argv = lookup(config, os.environ["PATH"])
        env = environment(config, os.environ, None)
        with pytest.raises(SpawnError) as caught:
            spawn(config, filename, argv, env, stdout=end, stderr=end, forker=Run.forker)
        ready, _, _ = select.select([reader], [], [], 0)
        return caught.value, os.read(reader, 1000).decode() if ready else ""
    finally:
        os.close(end)
        os.close(reader)


def test_a_directory_that_is_not_there() -> None:
    error, log = failed_run("cat", directory="/no/such")
    assert (error.stage, error.number, str(error)) == ("chdir", errno.ENOENT, "couldn't chdir to /no/such: ENOENT")
    assert log == "supervisor: couldn't chdir to /no/such: ENOENT\nsupervisor: child process was not spawned\n"


@pytest.mark.parametrize(
    ("content", "name"), [("echo no first line\n", "ENOEXEC"), ("#!/no/such/interpreter\n", "ENOENT")]
)
def test_a_file_that_the_kernel_does_not_execute(tmp_path: Path, content: str, name: str) -> None:
    script = tmp_path / "script"
    script.write_text(content)
    script.chmod(0o755)
    error, log = failed_run(str(script))
    assert (error.stage, error.number) == ("exec", getattr(errno, name))
    assert str(error) == f"couldn't exec {script}: {name}"
    assert log == f"supervisor: couldn't exec {script}: {name}\nsupervisor: child process was not spawned\n"


def test_a_directory_that_only_the_daemon_may_enter(tmp_path: Path) -> None:
    need_root()
    tmp_path.chmod(0o700)
    error, output = failed_run("pwd", directory=str(tmp_path), uid=65534)
    assert (error.stage, error.number) == ("chdir", errno.EACCES)
    assert output == f"supervisor: couldn't chdir to {tmp_path}: EACCES\nsupervisor: child process was not spawned\n"
    assert out("pwd", directory=str(tmp_path)) == f"{tmp_path}\n"


def test_a_directory_that_only_the_user_may_enter() -> None:
    """As on a server that has no root (NFS), or in a container without the right to pass over permissions."""
    need_root()
    script = (
        "import os, sys; from tests.system.test_spawn import out; "
        "sys.stdout.write(out('pwd', uid=65534, directory=sys.argv[1]) + out('id -G', uid=65534))"
    )
    with tempfile.TemporaryDirectory() as home:
        os.chown(home, 65534, 65534)
        os.chmod(home, 0o700)
        weaker = [need("setpriv"), "--bounding-set=-dac_override,-dac_read_search"]
        command = [*weaker, sys.executable, "-c", script, home]
        done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, check=False)
        assert done.stdout.decode().split() == [home, "65534"], done.stderr.decode()


def test_a_file_that_only_the_daemon_may_execute(tmp_path: Path) -> None:
    need_root()
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o700)
    error, log = failed_run(str(script), uid=65534, gid=65534, directory="/")
    assert (error.stage, error.number) == ("exec", errno.EACCES)
    assert f"couldn't exec {script}: EACCES" in log


def test_arguments_that_are_too_long() -> None:
    error, _ = failed_run("cat", environment=(("BIG", "x" * (1 << 22)),))
    assert (error.stage, str(error)) == ("exec", "couldn't exec cat: E2BIG")


def test_a_null_byte() -> None:
    error, log = failed_run("cat a\0b")
    assert (error.stage, error.number) == ("exec", errno.EINVAL)
    assert "couldn't exec cat: embedded null byte" in log


@contextmanager
def limited(number: int, limit: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(number)
    resource.setrlimit(number, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(number, (soft, hard))


def test_no_descriptors_left() -> None:
    null, config, said = os.open("/dev/null", os.O_RDWR), program("cat"), list[str]()
    with limited(resource.RLIMIT_NOFILE, 256):
        filling = []
        with suppress(OSError):
            while True:
                filling.append(os.dup(null))
        for _ in range(8):  # each step of the spawn finds the table full
            full = set(os.listdir("/proc/self/fd")) if said else set()
            try:
                os.waitpid(spawn(config, "/bin/true", ["true"], {}, stdout=null, stderr=null).pid, 0)
                said.append("")
            except SpawnError as error:
                said.append(f"{error.stage}: {error}")
            assert not full or len(os.listdir("/proc/self/fd")) == len(full)
            os.close(filling.pop())
        for fd in [*filling, null]:
            os.close(fd)
    assert set(said) == {"fork: too many open files to spawn 'x'", ""}
    assert said == sorted(said, reverse=True)


def test_no_processes_left() -> None:
    need_root()
    code = (
        "import os, resource;"
        "from supervise.config.model import ProgramConfig; from supervise.system.spawn import spawn, SpawnError\n"
        "os.setgid(65534); os.setuid(63999); resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))\n"
        "c = ProgramConfig(name='x', group_name='x', command='cat')\n"
        "try: spawn(c, '/bin/cat', ['cat'], {}, stdout=1, stderr=2)\n"
        "except SpawnError as e: print(e.stage, e)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert run.stdout == "fork Too many processes in process table to spawn 'x'\n", run.stderr


def test_a_thousand_failures_leave_nothing() -> None:
    uid = 65534 if os.geteuid() == 0 else None
    null = os.open("/dev/null", os.O_RDWR)
    configs = [
        program("cat", uid=uid, directory="/no/such"),
        program("/etc/passwd", uid=uid),
        program("cat", uid=uid, environment=(("A", "\0"),)),
    ]
    before, others = sorted(os.listdir("/proc/self/fd")), set(children())
    for number in range(999):
        config = configs[number % 3]
        file = "/bin/cat" if number % 3 != 1 else "/etc/passwd"
        with pytest.raises(SpawnError):
            spawn(config, file, ["cat"], dict(config.environment), stdout=null, stderr=null, forker=Run.forker)
    assert set(os.listdir("/proc/self/fd")) <= set(before)
    assert set(children()) <= others
    os.close(null)


def test_pipes_stay_ours_where_the_user_does_not_change() -> None:
    reader, end = open_pipe()
    child = spawn(program("true"), "/bin/true", ["true"], {}, stdout=end, stderr=end)
    os.waitpid(child.pid, 0)
    found = os.fstat(end)
    assert stat.S_ISFIFO(found.st_mode)
    assert found.st_uid == os.geteuid()
    os.close(end)
    os.close(reader)
