"""Programs and the main log in syslog: a real rsyslog, and supervisord's own lines beside ours."""

import re
import signal
import socket
import subprocess
import sys

from tests.daemons import Kind, Supervisors, configuration, daemon_command, environment
from tests.tools import ROOT, free_ports, need, need_root, wait_for

RSYSLOG = """
global(workDirectory="{place}")
module(load="imuxsock" SysSock.Use="off")
module(load="imudp")
module(load="imtcp")
input(type="imuxsock" Socket="{place}/log" CreatePath="on")
input(type="imudp" address="127.0.0.1" port="{udp}")
input(type="imtcp" address="127.0.0.1" port="{tcp}")
template(name="seen" type="string" string="%syslogfacility-text%.%syslogseverity-text%|%app-name%|%procid%|%msg%\\n")
action(type="omfile" file="{place}/seen" template="seen")
"""
PROGRAMS = """
[program:stock]
command = sh -c 'echo one; echo two >&2; exec sleep 1000'
stdout_syslog = true
stderr_logfile = syslog
syslog_target = {place}/log

[program:udp]
command = sh -c 'echo over udp; exec sleep 1000'
stdout_logfile = syslog
stdout_syslog_priority = local3.notice
syslog_target = udp://127.0.0.1:{udp}
syslog_tag = shop

[program:tcp]
command = sh -c 'i=0; while [ $i -lt 300 ]; do i=$((i+1)); echo line $i; done; exec sleep 1000'
stdout_syslog = true
syslog_target = tcp://127.0.0.1:{tcp}
syslog_format = rfc5424
"""


def listens(kind: str, port: int) -> bool:
    """Whether there is a socket for it (proc_pid_net(5))."""
    with open(f"/proc/net/{kind}") as file:
        return any(line.split()[1].endswith(f":{port:04X}") for line in file)


def test_rsyslog_understands_us(supervisors: Supervisors) -> None:
    place = supervisors.place()
    udp, tcp = free_ports(2)
    (place / "rsyslog.conf").write_text(RSYSLOG.format(place=place, udp=udp, tcp=tcp))
    facts = {"udp": str(udp), "tcp": str(tcp)}
    programs = PROGRAMS
    for name, value in facts.items():
        programs = programs.replace(f"{{{name}}}", value)
    argv = [need("rsyslogd"), "-n", "-f", f"{place}/rsyslog.conf", "-i", f"{place}/rsyslog.pid"]
    with (place / "rsyslog.out").open("wb") as output:
        server = subprocess.Popen(argv, stdout=output, stderr=output)
    try:
        wait_for(lambda: (place / "log").exists() and listens("udp", udp) and listens("tcp", tcp), "rsyslog listens")
        daemon = supervisors.start("supervise", programs, "syslog_facility = daemon", place=place)
        pid = daemon.wait_state("udp", "RUNNING")["pid"]
        tcp_pid = daemon.wait_state("tcp", "RUNNING")["pid"]
        wait_for(lambda: daemon.read("seen").count("\n") >= 303, daemon.read("rsyslog.out"))
        seen = daemon.read("seen").splitlines()
        assert {"user.info|supervisord|-| stock one", "user.info|supervisord|-| stock two"} <= set(seen)
        assert f"local3.notice|shop|{pid}| over udp" in seen
        sent = [line for line in seen if "|tcp|" in line]
        assert [line.strip() for line in sent] == [f"user.info|tcp|{tcp_pid}|line {n}" for n in range(1, 301)]
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)
    daemon.wait_state("tcp", "RUNNING")
    assert daemon.stop() == 0


COLLECT = """
import os, socket, sys
server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
server.bind("/dev/log")
if os.fork():
    sys.exit()
os.setsid()
with open(sys.argv[1], "ab", 0) as out:
    while True:
        out.write(server.recv(65536).rstrip(b"\\n") + b"\\n")
"""
STORY = """
[program:p]
command = sh -c "printf 'one\\n\\ntwo\\nthree\\n'; echo err >&2; exec sleep 1000"
stdout_logfile = none
stdout_syslog = true
stderr_logfile = syslog
"""


def lines_of(kind: Kind, supervisors: Supervisors) -> list[str]:
    """What a daemon with logfile=syslog sends to /dev/log, in a namespace that has one of its own."""
    place = supervisors.place()
    config = place / "s.conf"
    text = configuration(place, STORY).replace(f"logfile = {place}/main.log", "logfile = syslog")
    config.write_text(text)
    (place / "collect.py").write_text(COLLECT)
    command = " ".join([*daemon_command(kind), "-n", "-c", str(config)])
    script = (
        "mount -t tmpfs none /mnt && cp -a /dev/null /dev/urandom /mnt/ && mkdir /mnt/shm"
        " && ln -s /proc/self/fd /mnt/fd && mount --move /mnt /dev"
        f" && {sys.executable} {place}/collect.py {place}/seen && exec {command}"
    )
    with (place / "output").open("wb") as output:
        daemon = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", script], stdout=output, stderr=output, env=environment(place), cwd=ROOT
        )
    seen = place / "seen"
    try:
        wait_for(
            lambda: all(text in seen.read_bytes() for text in (b"entered RUNNING", b"p three", b"p err")),
            (place / "output").read_text(),
        )
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(60)
        wait_for(lambda: b"stopped: p" in seen.read_bytes())
    finally:
        daemon.kill()
        daemon.wait()
    stamped = re.compile(r"^(<\d+>)\w{3} [ \d]\d [\d:]{8} (supervisord: )(\d{4}-\S+ \S+ (\w{4}) )?", re.MULTILINE)
    text = re.sub(r"with pid \d+", "with pid N", stamped.sub(r"\1\2\4 ", seen.read_text()))
    return [line for line in text.splitlines() if "running as root" not in line and "authentication" not in line]


def test_the_lines_are_supervisords(supervisors: Supervisors) -> None:
    need_root("CAP_SYS_ADMIN")
    ours, theirs = (sorted(set(lines_of(kind, supervisors))) for kind in ("supervise", "supervisord"))
    programs = [line for line in ours if " p " in line[:24]]
    assert programs == [line for line in theirs if " p " in line[:24]]
    assert len(programs) == 5
    # Ours have the severity that the level says; supervisord's are all "info".
    unify = re.compile(r"^<\d+>")
    main = {unify.sub("", line) for line in ours} - {unify.sub("", line) for line in programs}
    missing = {unify.sub("", line) for line in theirs if "waiting for" not in line and "RPC" not in line} - main
    assert not {line for line in missing if " p " not in line[:24]}


def test_a_main_log_without_a_server_delays_nothing(supervisors: Supervisors) -> None:
    place = supervisors.place()
    config = place / "s.conf"
    text = configuration(place, "[program:p]\ncommand = sleep 1000\n", f"syslog_target = {place}/late")
    config.write_text(text.replace(f"logfile = {place}/main.log", "logfile = syslog"))
    daemon = supervisors.run("supervise", config, place)
    daemon.wait_state("p", "RUNNING")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(place / "late"))
        server.settimeout(60)
        while "started with pid" not in server.recv(65536).decode():  # it waited until somebody came
            pass
    assert b"p" in daemon.request("GET", "/api/v1/processes")[2]
    assert daemon.stop() == 0


def test_a_mistake_is_told_with_its_place(supervisors: Supervisors) -> None:
    place = supervisors.place()
    config = place / "s.conf"
    config.write_text(configuration(place, "[program:p]\ncommand = x\nsyslog_target = loghost:514\n"))
    daemon = supervisors.run("supervise", config, place, answers=False)
    assert daemon.process.wait(60) == 2
    assert re.search(r":\d+: \[program:p\] syslog_target: expected journald, /dev/log", daemon.output)
