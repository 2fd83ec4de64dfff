"""System calls that keep the interpreter's lock do what those of `os` and `select` do."""

import os
import select
import subprocess
import sys

from supervise.system.swift import hung_up, unregister

ALONE = """
import os
from supervise.system.swift import ended_child

child = os.fork()
if not child:
    os.read(os.pipe()[0], 1)
assert ended_child() == (0, 0)
os.kill(child, 9)
os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
pid, status = ended_child()
assert (pid, os.waitstatus_to_exitcode(status)) == (child, -9)
try:
    ended_child()
except ChildProcessError:
    print("none")
"""


def test_a_child_that_has_ended_is_told_with_its_status() -> None:
    """In a process of its own: the children of this one are other tests'."""
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("none\n", "")


def test_a_descriptor_is_watched_no_more() -> None:
    reader, writer = os.pipe()
    with select.epoll() as epoll:
        epoll.register(reader, select.EPOLLIN)
        os.write(writer, b"x")
        assert epoll.poll(0)
        unregister(epoll, reader)
        assert not epoll.poll(0)
        unregister(epoll, reader)
    os.close(reader)
    os.close(writer)


def test_a_pipe_is_hung_up_when_nobody_can_write_to_it() -> None:
    reader, writer = os.pipe()
    assert not hung_up(reader)
    os.write(writer, b"x")
    assert not hung_up(reader)
    os.close(writer)
    assert hung_up(reader), "though there is something in it"
    os.close(reader)
