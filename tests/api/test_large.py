"""Large answers arrive whole, however slowly they are read, and the connection goes on."""

import json
import socket
import time
from typing import Any

import pytest

from tests.api.asking import connected
from tests.daemons import Daemon, Supervisors, UnixConnection
from tests.tools import PATIENCE

MANY = 500
PROGRAMS = f"""
[program:p]
command = sleep 1000
process_name = p%(process_num)04d
numprocs = {MANY}
autostart = false
"""
LIST = "/api/v1/processes"


@pytest.fixture(scope="module")
def daemon(shared_supervisors: Supervisors) -> Daemon:
    return shared_supervisors.start("supervise", PROGRAMS)


def names(listed: Any) -> list[str]:
    return [one["name"] for one in listed]


def test_they_are_whole_and_the_connection_goes_on(daemon: Daemon) -> None:
    expected = [f"p{number:04}" for number in range(MANY)]
    for _ in range(2):
        assert names(daemon.rpc.supervisor.getAllProcessInfo()) == expected
    connection = UnixConnection(daemon.socket)
    try:
        for method in ("GET", "HEAD", "GET"):
            connection.request(method, LIST)
            answer = connection.getresponse()
            body = answer.read()
            assert answer.getheader("Server") == "supervise"
            assert int(answer.getheader("Content-Length") or 0) > 200_000
            assert method == "HEAD" or names(json.loads(body)["processes"]) == expected
    finally:
        connection.close()


def test_a_slow_reader_gets_it_all_and_delays_nobody(daemon: Daemon) -> None:
    with connected(daemon) as slow:
        slow.sendall(f"GET {LIST} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        received = slow.recv(100)
        for _ in range(3):
            assert daemon.rpc.supervisor.getState()["statename"] == "RUNNING"
        time.sleep(0.1)
        while data := slow.recv(65536):
            received += data
    assert names(json.loads(received.partition(b"\r\n\r\n")[2])["processes"])[-1] == f"p{MANY - 1:04}"


def test_who_leaves_in_the_middle_harms_nobody(daemon: Daemon) -> None:
    for _ in range(5):
        with socket.socket(socket.AF_UNIX) as leaving:
            leaving.settimeout(PATIENCE)
            leaving.connect(str(daemon.socket))
            leaving.sendall(f"GET {LIST} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            leaving.recv(100)
    assert len(daemon.rpc.supervisor.getAllProcessInfo()) == MANY
    assert "internal error" not in daemon.log
