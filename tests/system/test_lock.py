"""The pidfile as a lock."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from supervise.system.lock import LockedError, PidFile
from tests.disks import mount
from tests.tools import ROOT


def acquire_elsewhere(path: Path) -> str:
    code = (
        "import sys; from supervise.system.lock import *\n"
        "try: print(PidFile.acquire(sys.argv[1]).write())\n"
        "except LockedError as e: print(e)"
    )
    return subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, cwd=ROOT, check=True
    ).stdout.strip()


def test_a_life(tmp_path: Path) -> None:
    path = tmp_path / "d.pid"
    own = PidFile.acquire(str(path))
    assert path.read_text() == "", "taken, and nothing written yet"
    assert own.write()
    assert path.read_text() == f"{os.getpid()}\n"
    assert path.stat().st_mode & 0o777 == 0o644
    own.release()
    own.release()
    assert not path.exists()


def test_a_second_daemon_hears_who_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "d.pid"
    own = PidFile.acquire(str(path))
    own.write()
    assert acquire_elsewhere(path) == f"another daemon is already running with pidfile {path} (pid {os.getpid()})"
    assert path.read_text() == f"{os.getpid()}\n"
    own.release()


@pytest.mark.parametrize("content", ["1\n", "", "4194304\n\n", " 77 "])
def test_a_stale_file_is_no_obstacle(tmp_path: Path, content: str) -> None:
    """Whether or not the pid in it is alive: only a lock counts."""
    path = tmp_path / "d.pid"
    path.write_text(content)
    own = PidFile.acquire(str(path))
    assert path.read_text() == content
    assert own.write()
    assert path.read_text() == f"{os.getpid()}\n"
    own.release()


def test_the_lock_ends_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "d.pid"
    assert acquire_elsewhere(path) == "True"
    assert path.exists()
    PidFile.acquire(str(path)).release()


def test_a_forked_child_holds_it_too(tmp_path: Path) -> None:
    path = tmp_path / "d.pid"
    own = PidFile.acquire(str(path))
    if (pid := os.fork()) == 0:
        own.write()
        time.sleep(1000)
    try:
        os.close(own.fd)
        with pytest.raises(LockedError):
            PidFile.acquire(str(path))
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_who_removes_another_ones_file_is_not_us(tmp_path: Path) -> None:
    path = tmp_path / "d.pid"
    old = PidFile.acquire(str(path))
    path.unlink()
    new = PidFile.acquire(str(path))
    new.write()
    old.release()
    assert path.read_text() == f"{os.getpid()}\n"
    new.release()


def test_never_two_at_once(tmp_path: Path) -> None:
    path, holders, most = tmp_path / "d.pid", [0], [0]
    guard = threading.Lock()

    def contend() -> None:
        for _ in range(300):
            try:
                own = PidFile.acquire(str(path))
            except LockedError:
                continue
            with guard:
                holders[0] += 1
                most[0] = max(most[0], holders[0])
            with guard:
                holders[0] -= 1
            own.release()

    threads = [threading.Thread(target=contend) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]


def test_files_that_are_no_pidfiles_are_left_alone(tmp_path: Path) -> None:
    text, fifo, link = tmp_path / "text", tmp_path / "fifo", tmp_path / "link"
    text.write_text("root:x:0:0\n")
    os.mkfifo(fifo)
    link.symlink_to(text)
    for path, why in ((text, "something else"), (link, "something else"), (fifo, "regular"), (tmp_path, "directory")):
        own = PidFile.acquire(str(path))
        assert why in own.problem.lower()
        assert not own.write()
        own.release()
    assert text.read_text() == "root:x:0:0\n"
    assert fifo.exists()


@pytest.mark.parametrize("path", ["/no/such/dir/x.pid", "/proc/x.pid"])
def test_a_file_that_cannot_be_made(path: str) -> None:
    own = PidFile.acquire(path)
    assert own.problem
    assert not own.write()
    own.release()


def test_a_full_device(tmp_path: Path) -> None:
    with mount(tmp_path / "small", "-t", "tmpfs", "-o", "size=4k", "none") as place:
        own = PidFile.acquire(str(place / "d.pid"))
        (place / "big").write_bytes(b"x" * 4096)
        assert not own.write()
        assert "space" in own.problem
        own.release()
