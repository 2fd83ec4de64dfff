"""What is sent to processes that read late, or never."""

import asyncio
import os
from pathlib import Path

import pytest

from supervise.core.events import Start, State
from supervise.daemon import stdinqueue as module
from supervise.daemon.stdinqueue import LIMIT, StdinQueues
from supervise.daemon.supervisor import Supervisor
from supervise.system.stdin import Stdin
from tests.daemon.running import eventually, group, process, reach, run, sh, supervising

DATA = bytes(range(256)) * 2000  # half a megabyte: eight times what a pipe holds


async def running(supervisor: Supervisor, name: str = "p") -> tuple[Stdin, int]:
    """Start a process; its stdin and pid."""
    one = process(supervisor, name)
    supervisor.tell(one, Start())
    await reach(supervisor, name, State.RUNNING)
    assert one.child is not None
    assert one.child.stdin is not None
    return one.child.stdin, one.child.pid


def test_what_does_not_fit_waits_for_its_reader(tmp_path: Path) -> None:
    async def story() -> None:
        late = sh(
            "p", f"while [ ! -e {tmp_path}/go ]; do sleep 0.01; done; exec cat", stdout_logfile=str(tmp_path / "out")
        )
        async with supervising(tmp_path, group(late)) as supervisor:
            stdin, pid = await running(supervisor)
            queues = StdinQueues(None)
            await queues.send(stdin, pid, DATA)
            await queues.send(stdin, pid, b"the end")
            assert queues.waiting(stdin) == len(DATA) + 7 - 65536
            (tmp_path / "go").touch()
            await eventually(lambda: (tmp_path / "out").read_bytes() == DATA + b"the end")
            assert queues.waiting(stdin) == 0
            await queues.send(stdin, pid, b"!")
            await eventually(lambda: (tmp_path / "out").read_bytes().endswith(b"the end!"))

    run(story)


def test_too_much_is_refused_as_a_whole(tmp_path: Path) -> None:
    async def story() -> None:
        async with supervising(tmp_path, group(sh("p", "exec sleep 1000"))) as supervisor:
            stdin, pid = await running(supervisor)
            queues = StdinQueues(None)
            with pytest.raises(BlockingIOError, match="0 bytes wait already"):
                await queues.send(stdin, pid, b"x" * (LIMIT + 1))
            await queues.send(stdin, pid, b"x" * LIMIT)
            waiting = queues.waiting(stdin)
            with pytest.raises(BlockingIOError, match=f"{waiting} bytes wait already"):
                await queues.send(stdin, pid, b"x" * 65537)
            assert queues.waiting(stdin) == waiting

    run(story)


def test_what_waits_for_a_process_that_ends_is_dropped(tmp_path: Path) -> None:
    async def story() -> None:
        async with supervising(tmp_path, group(sh("p", "exec sleep 1000"))) as supervisor:
            stdin, pid = await running(supervisor)
            queues, before = StdinQueues(None), len(os.listdir("/proc/self/fd"))
            await queues.send(stdin, pid, DATA)
            await supervisor.stop([process(supervisor, "p")])
            await eventually(lambda: queues.waiting(stdin) == 0)
            assert len(os.listdir("/proc/self/fd")) <= before
            with pytest.raises(OSError, match="no process"):
                await queues.send(stdin, pid, b"x")

    run(story)


def test_a_process_that_closed_its_stdin(tmp_path: Path) -> None:
    async def story() -> None:
        async with supervising(tmp_path, group(sh("p", "exec <&-; echo closed; exec sleep 1000"))) as supervisor:
            stdin, pid = await running(supervisor)
            await eventually(lambda: process(supervisor, "p").logs.stdout.tail_ring() == b"closed\n")
            before = len(os.listdir("/proc/self/fd"))
            with pytest.raises(BrokenPipeError):
                await StdinQueues(None).send(stdin, pid, b"x")
            assert len(os.listdir("/proc/self/fd")) <= before

    run(story)


def test_what_waits_outlives_the_daemon(tmp_path: Path) -> None:
    async def story() -> None:
        kept = tmp_path / "kept"
        kept.mkdir()
        late = sh(
            "p", f"while [ ! -e {tmp_path}/go ]; do sleep 0.01; done; exec cat", stdout_logfile=str(tmp_path / "out")
        )
        async with supervising(tmp_path, group(late)) as supervisor:
            stdin, pid = await running(supervisor)
            dead = StdinQueues(str(kept))
            await dead.send(stdin, pid, DATA)
            await dead.send(stdin, pid, b"the end")
            [queue] = dead._queues.values()
            asyncio.get_running_loop().remove_writer(queue.fd)
            os.close(queue.fd)
            (kept / "stdin-1").write_bytes(b"of one that has ended")
            again = StdinQueues(str(kept))
            again.resume(supervisor.processes())
            assert os.listdir(kept) == [f"stdin-{stdin.inode}"]
            assert again.waiting(stdin) == len(DATA) + 7 - 65536
            assert not again.renew(str(kept))
            (kept / f"stdin-{stdin.inode}").unlink()
            assert again.renew(str(kept))
            assert os.listdir(kept) == [f"stdin-{stdin.inode}"]
            await again.send(stdin, pid, b", really")
            (tmp_path / "go").touch()
            await eventually(lambda: (tmp_path / "out").read_bytes() == DATA + b"the end, really")
            await eventually(lambda: os.listdir(kept) == [])

    run(story)


def test_what_cannot_be_read_again_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        async with supervising(tmp_path, group(sh("p", "exec sleep 1000"))) as supervisor:
            stdin, pid = await running(supervisor)
            (tmp_path / f"stdin-{stdin.inode}").symlink_to("/dev/null")  # which is not opened
            before = os.listdir("/proc/self/fd")
            StdinQueues(str(tmp_path)).resume(supervisor.processes())
            assert set(os.listdir("/proc/self/fd")) <= set(before)
            assert f"what waited for the stdin of pid {pid} is lost" in caplog.text

    run(story)


def test_its_file_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST", 200_000)

    async def story() -> None:
        kept = tmp_path / "kept"
        kept.mkdir()
        slow = sh("p", "while sleep 0.002; do head -c 20000; done", stdout_logfile=str(tmp_path / "out"))
        async with supervising(tmp_path, group(slow)) as supervisor:
            stdin, pid = await running(supervisor)
            queues = StdinQueues(str(kept))
            await queues.send(stdin, pid, b"x" * 100_000)
            for _ in range(40):
                await eventually(lambda: queues.waiting(stdin) < 30_000)
                await queues.send(stdin, pid, b"x" * 20_000)
                assert sum(path.stat().st_size for path in kept.iterdir()) < 250_000

    run(story)
