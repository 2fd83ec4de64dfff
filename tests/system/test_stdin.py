"""Writing to a child's stdin through /proc."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervise.system.stdin import Stdin, reopenable
from tests.tools import need_root, wait_for


@pytest.fixture
def cat() -> Iterator[tuple[subprocess.Popen[bytes], Stdin]]:
    stdin, end = Stdin.open(None)
    with subprocess.Popen(["sleep", "1000"], stdin=end) as process:
        os.close(end)
        yield process, stdin
        process.kill()


def test_a_full_pipe_is_said_and_does_not_block(cat: tuple[subprocess.Popen[bytes], Stdin]) -> None:
    process, stdin = cat
    assert stdin.write(process.pid, b"x" * 100_000) == 65536
    with pytest.raises(BlockingIOError):
        stdin.write(process.pid, b"more")


def test_a_process_that_closed_or_replaced_its_stdin() -> None:
    for command in ("exec <&-; exec sleep 1000", "exec </dev/zero; exec sleep 1000", "sleep 1000 | sleep 1000"):
        stdin, end = Stdin.open(None)
        with subprocess.Popen(["bash", "-c", command], stdin=end) as process:
            os.close(end)
            victim = process.pid
            children = Path(f"/proc/{victim}/task/{victim}/children")
            if "|" in command:  # the second half of the pipeline has another pipe
                victim = int(wait_for(lambda path=children: path.read_text().split()[1:])[0])
            comm = Path(f"/proc/{victim}/comm")
            wait_for(lambda path=comm: path.read_text() == "sleep\n")
            with pytest.raises(BrokenPipeError):
                stdin.write(victim, b"x")
            if victim != process.pid:
                subprocess.run(["kill", "-9", *children.read_text().split()], check=True)
            process.kill()


@pytest.mark.parametrize("elsewhere", ["< /dev/zero", "<&-", "< /proc/version"])
def test_a_shell_that_has_its_stdin_under_another_number(elsewhere: str) -> None:
    """As it has while a command of its own reads something else."""
    stdin, end = Stdin.open(None)
    words = f"exec 9<&0 {elsewhere}; echo moved; exec sleep 1000"
    with subprocess.Popen(["sh", "-c", words], stdin=end, stdout=subprocess.PIPE) as shell:
        os.close(end)
        try:
            assert shell.stdout
            assert shell.stdout.readline() == b"moved\n"
            assert stdin.write(shell.pid, b"x") == 1
        finally:
            shell.kill()


def test_a_shell_that_reads_from_a_file_in_turn() -> None:
    stdin, end = Stdin.open(None)
    words = "echo ready; while :; do read x < /dev/null; done"
    with subprocess.Popen(["bash", "-c", words], stdin=end, stdout=subprocess.PIPE) as shell:
        os.close(end)
        try:
            assert shell.stdout
            assert shell.stdout.readline() == b"ready\n"
            for _ in range(1000):
                assert stdin.write(shell.pid, b"x") == 1
        finally:
            shell.kill()


def test_a_process_that_is_gone(cat: tuple[subprocess.Popen[bytes], Stdin]) -> None:
    process, stdin = cat
    process.kill()
    process.wait()
    with pytest.raises(ProcessLookupError):
        stdin.write(process.pid, b"x")


def test_close_may_be_called_again(cat: tuple[subprocess.Popen[bytes], Stdin]) -> None:
    stdin = cat[1]
    other_end, stdin.kept = os.pipe()
    stdin.close()
    stdin.close()
    assert os.read(other_end, 1) == b""  # a thread has closed it, or will
    os.close(other_end)


def test_whose_stdin_can_be_opened_again() -> None:
    need_root()
    assert reopenable(None)
    assert reopenable(12345)
    assert reopenable(os.geteuid())
