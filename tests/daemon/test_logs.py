"""The logs of processes, end to end: real children, pipes and files."""

import asyncio
import contextlib
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from supervise.config.model import AUTO, ProgramConfig
from supervise.daemon.channel import OLD_PIPES
from supervise.daemon.logs import Logs, ProcessLogs
from tests.tools import need_root

PATIENCE = 60.0


def program(directory: Path, name: str = "web", **options: Any) -> ProgramConfig:
    defaults = {"stdout_logfile": str(directory / f"{name}.out"), "stderr_logfile": str(directory / f"{name}.err")}
    return ProgramConfig(name=name, group_name=name, command="x", **{**defaults, **options})


@asynccontextmanager
async def opened(directory: Path, **options: Any) -> AsyncIterator[Logs]:
    logs = Logs(asyncio.get_running_loop(), childlogdir=str(directory), identifier="supervisor", **options)
    try:
        yield logs
    finally:
        await logs.close()


async def until(condition: Callable[[], Any]) -> Any:
    async with asyncio.timeout(PATIENCE):
        while not (answer := condition()):
            await asyncio.sleep(0.01)
    return answer


async def drained(process: ProcessLogs) -> None:
    done = asyncio.get_running_loop().create_future()
    process.drain(lambda: done.set_result(None))
    await asyncio.wait_for(done, PATIENCE)


def start(process: ProcessLogs, *argv: str) -> subprocess.Popen[bytes]:
    with process.pipes() as ends:
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=ends.stdout, stderr=ends.stderr)


async def run(process: ProcessLogs, script: str) -> None:
    """Run a shell script to its end, and its output to the files."""
    child = start(process, "sh", "-c", script)
    await asyncio.to_thread(child.wait, PATIENCE)
    await drained(process)


def case(test: Callable[[Path], Coroutine[Any, Any, None]]) -> Callable[[Path], None]:
    """Run an async test."""

    def runs(tmp_path: Path) -> None:
        asyncio.run(test(tmp_path))

    runs.__doc__ = test.__doc__
    return runs


@case
async def test_stdout_and_stderr(place: Path) -> None:
    async with opened(place) as logs:
        process = logs.open(program(place))
        await run(process, "echo out; echo err >&2")
        assert (place / "web.out").read_bytes() == b"out\n"
        assert (place / "web.err").read_bytes() == b"err\n"
        assert process.last_lines() == ("err",)
        assert (process.stdout.written, process.stdout.dropped, process.stdout.problem) == (4, 0, "")
        process.close()


@case
async def test_redirect_stderr(place: Path) -> None:
    async with opened(place) as logs:
        process = logs.open(program(place, redirect_stderr=True))
        assert process.stderr is None
        await run(process, "echo 1; echo 2 >&2; echo 3")
        assert (place / "web.out").read_bytes() == b"1\n2\n3\n"
        assert process.last_lines() == ("1", "2", "3")
        process.close()


@case
async def test_one_path_for_several_is_one_file(place: Path) -> None:
    """stdout and stderr, and two programs, name the same path: nothing is lost when it rotates."""
    shared = {"stdout_logfile": f"{place}/both", "stderr_logfile": f"{place}/./both"}
    limits = {f"{name}_logfile_{what}": 400 for name in ("stdout", "stderr") for what in ("maxbytes", "backups")}
    async with opened(place) as logs:
        processes = [logs.open(program(place, name, **shared, **limits)) for name in ("a", "b")]
        script = "for i in $(seq 200); do echo {0} out $i; echo {0} err $i >&2; done"
        await asyncio.gather(*[run(each, script.format(each.stdout.namespec)) for each in processes])
        for each in processes:
            each.close()
    files = sorted(place.glob("both*"), key=lambda path: -int(path.suffix[1:] or 0))
    lines = [line for path in files for line in path.read_text().splitlines()]
    assert all(path.stat().st_size <= 400 + 20 for path in files)
    for name in ("a", "b"):
        for stream in ("out", "err"):
            mine = [line for line in lines if line.startswith(f"{name} {stream}")]
            assert mine == [f"{name} {stream} {number}" for number in range(1, 201)]


@case
async def test_auto_and_none(place: Path) -> None:
    async with opened(place) as logs:
        process = logs.open(program(place, stdout_logfile=AUTO, stderr_logfile=None))
        assert process.stdout.path is not None
        assert process.stderr is not None
        path = Path(process.stdout.path)
        await until(path.exists)  # before the program is started
        assert re.fullmatch(r"web-stdout---supervisor-\w+\.log", path.name)
        await run(process, "echo out; echo err >&2")
        assert path.read_bytes() == b"out\n"
        assert process.stderr.path is None
        assert process.last_lines() == ("err",)
        process.close()


@case
async def test_auto_logs_are_for_nobody_else(place: Path) -> None:
    """They are in /tmp, as a rule; supervisord's have the mode of mkstemp(3)."""
    async with opened(place) as logs:
        limits: dict[str, Any] = {"stdout_logfile_maxbytes": 10, "stdout_logfile_backups": 1}
        process = logs.open(program(place, stdout_logfile=AUTO, stderr_logfile=None, **limits))
        await run(process, "echo some; echo more; echo and more")
        files = [*place.glob("web-stdout*")]
        assert len(files) == 2
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
        process.close()


@case
async def test_every_byte_passes(place: Path) -> None:
    async with opened(place) as logs:
        process = logs.open(program(place))
        code = "import os, sys; [os.write(1, bytes(range(256)) * 16) for _ in range(500)]"
        child = start(process, sys.executable, "-c", code)
        await asyncio.to_thread(child.wait, PATIENCE)
        await drained(process)
        assert (place / "web.out").read_bytes() == bytes(range(256)) * 16 * 500
        process.close()


@case
async def test_strip_ansi(place: Path) -> None:
    async with opened(place, strip_ansi=True) as logs:
        process = logs.open(program(place))
        await run(process, r"printf '\033[31mred\033'; sleep 0.1; printf '[0m.\033['")
        assert (place / "web.out").read_bytes() == b"red.\x1b["  # what is no sequence after all comes at the end
        process.close()


@case
async def test_drain_waits_for_everything(place: Path) -> None:
    async with opened(place) as logs:
        process = logs.open(program(place))
        for round_ in range(1, 30):
            await run(process, "head -c 60000 /dev/zero")
            assert (place / "web.out").stat().st_size == 60_000 * round_
        process.close()


@case
async def test_drain_calls_back_at_once_when_nothing_is_pending(place: Path) -> None:
    async with opened(place) as logs:
        process = logs.open(program(place))
        await run(process, "true")
        called: list[int] = []
        process.drain(lambda: called.append(1))
        assert called == [1]
        process.close()


@case
async def test_drain_does_not_wait_for_those_left_behind(place: Path) -> None:
    """A grandchild that floods the pipe must not keep its program from being restarted."""
    async with opened(place) as logs:
        process = logs.open(program(place))
        child = start(process, "sh", "-c", "yes & echo $! >&2; sleep 0.2")
        await asyncio.to_thread(child.wait, PATIENCE)
        await drained(process)
        os.kill(int((place / "web.err").read_bytes()), 9)
        process.close()


@case
async def test_those_left_behind_keep_their_stdout(place: Path) -> None:
    """B6: after a restart, both runs' processes write to the log."""
    async with opened(place) as logs:
        process = logs.open(program(place))
        await run(process, "(read -r x < go; echo survivor) & echo first".replace("go", str(_fifo(place))))
        await run(process, "echo second")
        (old,) = process.stdout.old
        (place / "go").write_text("go\n")
        await until(lambda: old.fd < 0)
        assert (place / "web.out").read_bytes() == b"first\nsecond\nsurvivor\n"
        assert not process.stdout.old
        process.close()


def _fifo(place: Path) -> Path:
    os.mkfifo(place / "go")
    return place / "go"


@case
async def test_old_pipes_are_bounded(place: Path) -> None:
    async with opened(place) as logs:
        process = logs.open(program(place, redirect_stderr=True))
        go = _fifo(place)
        for _ in range(OLD_PIPES + 5):
            await run(process, f"(read -r x < {go}) & true")
        await until(lambda: len(process.stdout.old) == OLD_PIPES)
        assert process.stdout.problem == "4 pipes of processes of earlier runs are no longer read"
        hold = os.open(go, os.O_RDWR)  # one end stays open, whoever has read already
        os.write(hold, b"go\n" * 100)
        await until(lambda: not process.stdout.old)
        os.close(hold)
        process.close()


@case
async def test_a_pipe_given_up_is_remembered_until_it_is_read(place: Path) -> None:
    """Or a daemon that is killed meanwhile leaves output that nobody looks for."""
    async with opened(place) as logs:
        process = logs.open(program(place, redirect_stderr=True))
        go_on = logs.pump.pause(30)
        assert go_on is not None
        left = []
        for number in range(OLD_PIPES + 4):
            with process.pipes() as ends:
                os.write(ends.stdout, b"%d\n" % number)
                left.append(os.dup(ends.stdout))
        assert len(process.inodes()["stdout"]) == OLD_PIPES + 4
        go_on()
        await until(lambda: len(process.inodes()["stdout"]) == OLD_PIPES + 1)
        await until(lambda: len((place / "web.out").read_bytes().splitlines()) == OLD_PIPES + 4)
        process.close()
        for fd in left:
            os.close(fd)


@case
async def test_a_program_that_closes_its_stdout_costs_nothing(place: Path) -> None:
    """B34, B37."""
    async with opened(place) as logs:
        process = logs.open(program(place))
        child = start(process, "sh", "-c", "echo last; exec >&- 2>&-; sleep 100")
        await until(lambda: all(pipe.fd < 0 for pipe in process._current))
        worker = logs.pump._worker
        assert worker is not None
        assert worker.thread is not None
        stat = Path(f"/proc/self/task/{worker.thread.native_id}/stat")

        def ticks() -> list[str]:
            return stat.read_text().rpartition(")")[2].split()[11:13]

        for _ in range(60):  # it may be about to fall asleep
            before = ticks()
            await asyncio.sleep(0.5)
            if ticks() == before:
                break
        else:
            pytest.fail("the log thread runs all the time")
        assert (place / "web.out").read_bytes() == b"last\n"
        child.kill()
        await asyncio.to_thread(child.wait)
        process.close()


@case
async def test_clear_rotate_reopen(place: Path) -> None:
    async with opened(place) as logs:
        process = logs.open(program(place))
        (place / "web.out").write_bytes(b"of an earlier run\n")
        await process.clear()  # never started, and cleared all the same (B40)
        assert (place / "web.out").read_bytes() == b""
        await run(process, "echo 1")
        await process.rotate()
        await run(process, "echo 2")
        assert (place / "web.out.1").read_bytes() == b"1\n"
        (place / "web.out").rename(place / "moved")
        await process.reopen()
        await run(process, "echo 3")
        assert (place / "moved").read_bytes() == b"2\n"
        assert (place / "web.out").read_bytes() == b"3\n"
        (place / "web.out").rename(place / "moved")
        await logs.reopen()
        assert (place / "web.out").read_bytes() == b""
        process.close()


@case
async def test_orders_tell_what_went_wrong(place: Path) -> None:
    async with opened(place) as logs:
        process = logs.open(program(place, stdout_logfile=str(place / "none" / "x")))
        for order in (process.clear, process.rotate, process.reopen):
            with pytest.raises(FileNotFoundError):
                await order()
        await logs.reopen()
        assert "No such file" in process.stdout.problem
        process.close()


@case
async def test_the_program_s_user_owns_its_pipe(place: Path) -> None:
    need_root()
    async with opened(place) as logs:
        process = logs.open(program(place, uid=65534))
        with process.pipes() as ends:
            argv = ["sh", "-c", "echo hello > /dev/stdout"]
            child = await asyncio.to_thread(subprocess.run, argv, stdout=ends.stdout, user=65534, group=65534)
        assert child.returncode == 0
        await drained(process)
        assert (place / "web.out").read_bytes() == b"hello\n"
        process.close()


@case
async def test_reconfigure(place: Path) -> None:
    async with opened(place) as logs:
        process = logs.open(program(place))
        child = start(process, "sh", "-c", "echo 1; read -r x < $0; echo 2; echo err >&2", str(_fifo(place)))
        await until(lambda: (place / "web.out").exists() and (place / "web.out").read_bytes() == b"1\n")
        process.reconfigure(program(place, stdout_logfile=str(place / "new"), redirect_stderr=True))
        (place / "go").write_text("go\n")
        await asyncio.to_thread(child.wait, PATIENCE)
        await drained(process)
        assert (place / "web.out").read_bytes() == b"1\n"
        assert (place / "new").read_bytes() == b"2\n"
        assert (place / "web.err").read_bytes() == b"err\n"  # this run still had a stderr of its own
        await run(process, "echo both >&2")
        assert (place / "new").read_bytes() == b"2\nboth\n"
        process.reconfigure(program(place, stdout_logfile=str(place / "new")))
        await run(process, "echo apart >&2")
        assert (place / "web.err").read_bytes() == b"err\napart\n"
        process.close()


@case
async def test_events_hook(place: Path) -> None:
    async with opened(place) as logs:
        seen: list[tuple[str, str, int, bytes]] = []
        logs.on_output = lambda *what: seen.append(what)
        process = logs.open(program(place, stderr_events_enabled=True))
        with process.pipes() as ends:
            child = subprocess.Popen(
                ["sh", "-c", "read -r x < $0; echo no; echo yes >&2", _fifo(place)],
                stdout=ends.stdout,
                stderr=ends.stderr,
            )
        process.started(child.pid)
        (place / "go").write_text("go\n")
        await asyncio.to_thread(child.wait, PATIENCE)
        await drained(process)
        assert seen == [("web", "stderr", child.pid, b"yes\n")]
        process.close()


@case
async def test_100_megabytes_without_a_newline_need_no_memory(place: Path) -> None:
    async with opened(place) as logs:
        process = logs.open(program(place, stdout_logfile_maxbytes=1 << 20, stdout_logfile_backups=1))
        before = _peak()
        await run(process, "head -c 100000000 /dev/zero")
        assert process.stdout.written == 100_000_000
        assert _peak() - before < 32 << 20
        process.close()


def _peak() -> int:
    text = Path("/proc/self/status").read_text()
    [kilobytes] = re.findall(r"VmHWM:\s+(\d+)", text)
    return int(kilobytes) << 10


def descriptors() -> list[str]:
    """What ours are open to."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.append(f"{fd} {os.readlink(f'/proc/self/fd/{fd}')}")
    return found


@case
async def test_descriptors_stay_flat(place: Path) -> None:
    async with opened(place) as logs:
        first = logs.open(program(place, "first"))
        await run(first, "echo")
        await until(lambda: all(pipe.fd < 0 for pipe in first._current))
        before = descriptors()
        for number in range(1000):
            process = logs.open(program(place, f"p{number % 7}"))
            with process.pipes() as ends:
                os.write(ends.stdout, b"hello\n")
            process.close()
        for _ in range(600):  # an earlier test's may still be closed meanwhile
            if len(descriptors()) <= len(before):
                break
            await asyncio.sleep(0.1)
        else:
            pytest.fail(f"more than {sorted(before)}: {sorted(descriptors())}")
        # And nothing that was in a pipe when it was closed is lost.
        await until(lambda: sum(len((place / f"p{number}.out").read_bytes()) for number in range(7)) == 6000)


@case
async def test_a_silent_program_costs_no_file_descriptor(place: Path) -> None:
    async with opened(place) as logs:
        process = logs.open(program(place))
        before = len(os.listdir("/proc/self/fd"))
        with process.pipes():
            await until(lambda: (place / "web.out").exists() and (place / "web.err").exists())
            await until(lambda: len(os.listdir("/proc/self/fd")) - before <= 5)  # four ends, and the thread's wake-up
        process.close()


@case
async def test_of_too_many_pipes_the_newest_are_remembered(place: Path) -> None:
    """The oldest are given up anyway; here the log thread has not come to it."""
    async with opened(place) as logs:
        process = logs.open(program(place, redirect_stderr=True))
        go_on = logs.pump.pause(PATIENCE)
        assert go_on is not None
        kept: list[int] = []
        for _ in range(3 * OLD_PIPES):
            with process.pipes() as ends:
                kept.append(os.dup(ends.stdout))
        inodes = [os.fstat(fd).st_ino for fd in reversed(kept)]
        assert process.inodes()["stdout"] == inodes[: 1 + 2 * OLD_PIPES]
        for fd in kept:
            os.close(fd)
        go_on()
