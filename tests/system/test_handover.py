import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from supervise.system.handover import Handover, pipes_in_use


@contextmanager
def holding(fd: int) -> Iterator[int]:
    """A session leader whose stdout is `fd`."""
    with subprocess.Popen(["sleep", "1000"], stdout=fd, start_new_session=True) as child:
        yield child.pid
        child.kill()


def inode(fd: int) -> int:
    return os.fstat(fd).st_ino


def test_what_was_received_is_known_by_what_it_is() -> None:
    reader, writer = os.pipe()
    null = os.open("/dev/null", os.O_RDONLY)
    with socket.create_server(("127.0.0.1", 0)) as server:
        listening = os.dup(server.fileno())
        handover = Handover([reader, null, listening])
        assert handover.sockets == [listening]
        assert handover.pipe(inode(writer)) == reader
        handover.close()
    os.close(reader)
    os.close(writer)
    for closed in (null, listening):
        assert not os.path.exists(f"/proc/self/fd/{closed}")


def test_a_pipe_is_opened_anew_where_a_process_has_it() -> None:
    reader, writer = os.pipe()
    both = os.open(f"/proc/self/fd/{writer}", os.O_RDWR)
    number = inode(both)
    with holding(both) as pid:
        for fd in (reader, writer, both):
            os.close(fd)
        assert (number, f"/proc/{pid}/fd/1") in set(pipes_in_use())
        handover = Handover()
        assert handover.leader_with(number) == pid
        found = handover.pipe(number)
        assert found is not None
        assert inode(found) == number
        assert not os.get_blocking(found)
        os.close(found)


def test_what_nobody_has_is_gone() -> None:
    reader, writer = os.pipe()
    number = inode(reader)
    os.close(reader)
    os.close(writer)
    handover = Handover()
    assert handover.pipe(number) is None
    assert handover.leader_with(number) is None


def test_statuses() -> None:
    handover = Handover()
    handover.statuses = {1: 3 << 8, 2: 9, 3: 11 | 0x80}
    assert [handover.end_of(pid) for pid in (1, 2, 3, 4)] == [(3, False), (-9, False), (-11, True), (None, False)]
