import os
import subprocess
import sys
import threading
import time

from supervise.system.blocked import is_python, naps, readers, waits_for_stdin
from tests.tools import wait_for


def test_a_reader_and_a_sleeper() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as reader, subprocess.Popen(["sleep", "1000"]) as sleeper:
        try:
            wait_for(lambda: waits_for_stdin(reader.pid), "cat reads")
            time.sleep(0.1)
            assert not waits_for_stdin(sleeper.pid)
        finally:
            reader.kill()
            sleeper.kill()


def test_who_runs_python() -> None:
    assert is_python(os.getpid())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as python:
        wait_for(lambda: is_python(python.pid) and waits_for_stdin(python.pid), "Python reads")
        python.kill()
    assert not is_python(1) or os.path.basename(os.readlink("/proc/1/exe")).startswith(("python", "pypy"))


def test_who_reads_a_pipe() -> None:
    """Also what somebody else has started."""
    with subprocess.Popen(["sh", "-c", "cat; exit"], stdin=subprocess.PIPE) as shell:
        assert shell.stdin is not None
        pipe = os.fstat(shell.stdin.fileno()).st_ino
        wait_for(lambda: any(map(waits_for_stdin, readers(pipe))), "cat reads")
        found = set(readers(pipe))
        assert shell.pid in found
        assert len(found) == 2
        shell.stdin.close()
    assert set(readers(pipe)) == set()


def test_nobody() -> None:
    assert waits_for_stdin(2**22 + 1) is None
    assert not is_python(2**22 + 1)


def rests(thread: int) -> int:
    """How often it has gone to sleep, if it sleeps on: who waits for the interpreter's lock looks every 5 ms."""
    seen = naps(thread)
    time.sleep(0.1)
    return seen if naps(thread) == seen else 0


def test_a_thread_that_sleeps_and_one_that_does_not() -> None:
    over = threading.Event()

    def spin() -> None:
        while not over.is_set():
            pass

    spinner, sleeper = threading.Thread(target=spin), threading.Thread(target=over.wait)
    for thread in (spinner, sleeper):
        thread.start()
    assert spinner.native_id
    assert sleeper.native_id
    asleep = sleeper.native_id
    try:
        count = wait_for(lambda: rests(asleep))
        for _ in range(50):
            seen = naps(spinner.native_id)
            time.sleep(0.02)
            now = naps(spinner.native_id)
            assert now == -1 or now > seen, "it waits for the lock, or runs"
        assert naps(asleep) == count
    finally:
        over.set()
        spinner.join()
        sleeper.join()
    assert naps(2**22 + 1) == 0
