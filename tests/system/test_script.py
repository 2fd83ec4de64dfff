"""Programs of our own, as processes."""

import os
import socket

from supervise.system import script

PROGRAM = b"""
import os, socket, sys
link = socket.socket(fileno=int(sys.argv[1]))
link.send(repr([sys.argv[2:], os.getsid(0) == os.getpid(), dict(os.environ), os.listdir("/proc/self/fd")]).encode())
link.recv(1)
"""


def test_a_program_has_its_link_and_nothing_else() -> None:
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with its:
            number = its.fileno()
            pid = script.start(PROGRAM, its, flags=("-I", "-S"), title="one of ours", env={"A": "b"})
        ours.settimeout(60)
        words, is_leader, env, fds = eval(ours.recv(10_000))
        assert words == [str(os.getpid()), "one", "of", "ours"]
        assert is_leader
        assert env.items() >= {"A": "b"}.items()
        assert "HOME" not in env
        assert {int(fd) for fd in fds} >= {0, 1, 2, number}
        assert len(fds) == 5, "one reads the list"
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
