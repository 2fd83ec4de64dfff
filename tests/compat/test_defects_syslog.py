"""B42: syslog output that drops and blocks without a word, has no tag, and sends several lines as one."""

import re
import socket

from tests.daemons import Supervisors
from tests.tools import wait_for


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
    assert daemon.log.count("cannot send to") == 1
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(daemon.place / "late"))
        server.settimeout(60)
        received = [server.recv(65536).decode() for _ in range(1000)]
    assert re.fullmatch(r"<14>\w{3} [ \d]\d [\d:]{8} shop\[\d+\]: first", received[0])
    assert received[1].endswith(": second")
    assert all("\n" not in line for line in received)
    assert re.search(r"sending to \S+ again; [1-9]\d* lines were lost", daemon.wait_log("lines were lost"))
