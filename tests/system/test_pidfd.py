"""How processes end that were not our children."""

import os
import subprocess

from supervise.system.journal import start_time
from supervise.system.pidfd import exit_status, zombie_status
from tests.tools import wait_for


def knows_exit_status() -> bool:
    release = tuple(int(part) for part in os.uname().release.split(".")[:2])
    return release >= (6, 15)


def test_before_and_after_its_parent_has_taken_the_status() -> None:
    with subprocess.Popen(["sh", "-c", "read x; exit 7"], stdin=subprocess.PIPE) as child:
        start, pidfd = start_time(child.pid) or 0, os.pidfd_open(child.pid)
        assert exit_status(pidfd) is None
        assert zombie_status(child.pid, start) is None
        assert child.stdin is not None
        child.stdin.close()
        wait_for(lambda: zombie_status(child.pid, start) is not None)
        assert zombie_status(child.pid, start) == 7 << 8
        assert zombie_status(child.pid, start + 1) is None, "another process"
        assert exit_status(pidfd) is None
        child.wait()
    assert zombie_status(child.pid, start) is None
    assert exit_status(pidfd) == (7 << 8 if knows_exit_status() else None)
    os.close(pidfd)


def test_what_is_no_pidfd_knows_nothing() -> None:
    reader, writer = os.pipe()
    assert exit_status(reader) is None
    os.close(reader)
    os.close(writer)
