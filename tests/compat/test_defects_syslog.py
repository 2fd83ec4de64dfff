"""B42: syslog output that drops and blocks without a word, has no tag, and cuts lines where a read of a pipe ends."""

import re
import socket
import time
from pathlib import Path

import psutil
import pytest

from tests.daemons import KINDS, Daemon, Kind, Supervisors, proxy
from tests.tools import need, need_root, wait_for

pytestmark = pytest.mark.timeout(300)


def test_b42_syslog_neither_blocks_nor_drops_in_silence(supervisors: Supervisors) -> None:
    flood = "printf 'first\\nsecond\\n'; yes 0123456789 | head -c 3000000; echo end; exec sleep 1000"
    daemon = supervisors.start(
        "supervise",
        f"""
        [program:p]
        command = sh -c "{flood}"
        stdout_logfile = {{place}}/p.log
        stdout_syslog = true
        syslog_target = {{place}}/late
        syslog_tag = shop
        """,
    )
    wait_for(lambda: daemon.read("p.log").endswith("end\n"), "a dead server holds up no output")
    daemon.wait_log("cannot send to")
    minutes = (time.time() - psutil.Process(daemon.pid).create_time()) // 60
    assert daemon.log.count("cannot send to") <= 1 + minutes, "once a minute"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(daemon.place / "late"))
        server.settimeout(60)
        received = [server.recv(65536).decode() for _ in range(1000)]
    assert re.fullmatch(r"<14>\w{3} [ \d]\d [\d:]{8} shop\[\d+\]: first", received[0])
    assert received[1].endswith(": second")
    assert all("\n" not in line for line in received)
    assert re.search(r"sending to \S+ again; [1-9]\d* lines were lost", daemon.wait_log("lines were lost"))


# A /dev of its own, in which /dev/log is a socket of the test.
OWN_LOG = """
mount -t tmpfs none /mnt && cp -a /dev/null /dev/urandom /mnt/ && mkdir /mnt/shm && ln -s /proc/self/fd /mnt/fd &&
ln -s "$0/log" /mnt/log && mount --move /mnt /dev && exec "$@"
"""
TALKER = """
[program:p]
command = sh -c "printf 'one '; read go; echo line; read go; yes 0123456789 | head -n 100000; exec sleep 1000"
stdout_syslog = true
autostart = false
startsecs = 0
"""


@pytest.mark.parametrize("kind", KINDS)
def test_b42_a_server_that_takes_nothing_stops_supervisord_as_a_whole(supervisors: Supervisors, kind: Kind) -> None:
    """On /dev/log, the only one that it knows; it also sends a line as the pieces in which it came."""
    need_root("CAP_SYS_ADMIN")
    place = supervisors.place()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(place / "log"))
        server.settimeout(60)
        prefix = (need("unshare"), "-m", "sh", "-c", OWN_LOG, str(place))
        daemon = supervisors.start(kind, TALKER, place=place, prefix=prefix)
        daemon.rpc.supervisor.startProcess("p")
        log = Path(daemon.info("p")["stdout_logfile"])
        wait_for(lambda: log.read_text() == "one ", "one piece has come")
        daemon.rpc.supervisor.sendProcessStdin("p", "go\n")
        first = server.recv(65536).decode()
        assert first.rstrip("\0\n").endswith(": p one line") is (kind == "supervise"), first
        if kind == "supervisord":
            assert "line" in server.recv(65536).decode()
        daemon.rpc.supervisor.sendProcessStdin("p", "go\n")
        wait_for(lambda: is_full(place / "log"), "nobody reads")
        if kind == "supervise":
            assert daemon.rpc.supervisor.getState()["statename"] == "RUNNING"
            wait_for(lambda: log.stat().st_size == len("one line\n") + 1_100_000)
            return
        wait_for(lambda: hangs(daemon), "it does nothing any more")


def hangs(daemon: Daemon) -> bool:
    """Whether it gives no answer at all."""
    try:
        with proxy(daemon.socket, timeout=5) as rpc:
            rpc.supervisor.getState()
    except TimeoutError:
        return True
    return False


def is_full(path: Path) -> bool:
    """Whether a datagram socket takes no more."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        try:
            client.sendto(b"", socket.MSG_DONTWAIT, str(path))
        except BlockingIOError:
            return True
        return False
