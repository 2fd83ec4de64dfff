"""Event listeners that others wrote, unmodified, under our daemon: superlance, and what childutils' users write."""

import http.server
import json
import os
import signal
import socketserver
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemons import Daemon, Kind, Supervisors
from tests.tools import alive, need, wait_for

# Text on stdin and stdout, as its examples have it; writes down what it is sent, and asks the daemon back.
CHILDUTILS = """\
import json, os, sys
from supervisor import childutils
rpc = childutils.getRPCInterface(os.environ)
while True:
    headers, payload = childutils.listener.wait(sys.stdin, sys.stdout)
    with open(sys.argv[1], "a") as out:
        out.write(json.dumps([headers, payload, rpc.supervisor.getState()["statename"]]) + "\\n")
    childutils.listener.ok(sys.stdout)
"""

# (childutils.pcomm.stdout writes bytes to a stream of text, and fails, in 4.3.0.)
COMMUNICATES = """\
import sys, time
from supervisor import childutils
print("before", flush=True)
childutils.pcomm.send(b"a message\\nof two lines", sys.stdout.buffer)
print("after", flush=True)
time.sleep(1000)
"""

# What many container images use: a fatal program ends the daemon.
EXIT_ON_FATAL = """\
import os, signal, sys
def write(text):
    sys.stdout.write(text)
    sys.stdout.flush()
while True:
    write("READY\\n")
    headers = dict(word.split(":") for word in sys.stdin.readline().split())
    sys.stdin.read(int(headers["len"]))
    os.kill(os.getppid(), signal.SIGQUIT)
    write("RESULT 2\\nOK")
"""

# Reads bytes, takes its time before it is ready, and writes every event down.
SLOW_STARTER = """\
import sys, time
time.sleep(2)
stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
out = open(sys.argv[1], "ab", 0)
while True:
    stdout.write(b"READY\\n")
    stdout.flush()
    header = stdin.readline()
    length = int(header.split(b"len:")[1])
    payload = stdin.read(length)
    assert len(payload) == length
    out.write(header.strip() + b" | " + payload.replace(b"\\n", b"/") + b"\\n")
    stdout.write(b"RESULT 2\\nOK")
    stdout.flush()
"""


class Served:
    """A server in a thread, and what it has been sent."""

    def __init__(self, server: socketserver.TCPServer, seen: list[str]) -> None:
        self.server, self.seen = server, seen
        self.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def failing_site() -> Iterator[Served]:
    """A web server that answers 500."""
    seen: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            self.send_error(500)

        def log_message(self, *args: Any) -> None:
            pass

    served = Served(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler), seen)
    yield served
    served.close()


@pytest.fixture
def post_office() -> Iterator[Served]:
    """An SMTP server that takes everything."""
    seen: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def say(self, text: str) -> None:
            self.wfile.write(text.encode() + b"\r\n")

        def handle(self) -> None:
            self.say("220 test")
            while line := self.rfile.readline():
                match line[:4].upper():
                    case b"DATA":
                        self.say("354 go on")
                        mail = b""
                        while (line := self.rfile.readline()) != b".\r\n":
                            mail += line
                        seen.append(mail.decode())
                        self.say("250 taken")
                    case b"QUIT":
                        self.say("221 bye")
                        return
                    case _:
                        self.say("250 fine")

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = daemon_threads = True

    served = Served(Server(("127.0.0.1", 0), Handler), seen)
    yield served
    served.close()


def python(place: Path, name: str, text: str) -> str:
    """A command that runs a script."""
    path = place / f"{name}.py"
    path.write_text(textwrap.dedent(text))
    return f"{sys.executable} {path}"


def pid(daemon: Daemon, name: str) -> int:
    return int(daemon.info(name)["pid"])


def other_pid(daemon: Daemon, name: str, old: int) -> Callable[[], bool]:
    return lambda: pid(daemon, name) not in (0, old)


def test_superlance(supervisors: Supervisors, failing_site: Served, post_office: Served) -> None:
    place = supervisors.place()
    sendmail = place / "sendmail"
    sendmail.write_text(f"#!/bin/sh\ncat >> {place}/mails\n")
    sendmail.chmod(0o755)
    batch = f"{need('fatalmailbatch')} --toEmail=a@test --fromEmail=b@test --interval=0.01 --tickEvent=TICK_5"
    daemon = supervisors.start(
        "supervise",
        f"""
        [eventlistener:memmon]
        command = {need("memmon")} -p hog=1KB -m a@test -s {sendmail}
        events = TICK_5
        [eventlistener:httpok]
        command = {need("httpok")} -p web -m a@test -s {sendmail} http://127.0.0.1:{failing_site.port}/health
        events = TICK_5
        [eventlistener:crashmail]
        command = {need("crashmail")} -a -m a@test -s {sendmail}
        events = PROCESS_STATE
        [eventlistener:fatalmailbatch]
        command = {batch} --smtpHost=127.0.0.1:{post_office.port}
        events = PROCESS_STATE,TICK_5
        [program:hog]
        command = sleep 1000
        startsecs = 0
        [program:web]
        command = sleep 1000
        startsecs = 0
        [program:crash]
        command = sh -c "sleep 0.3; exit 3"
        startsecs = 0
        autorestart = false
        [program:broken]
        command = sh -c "exit 1"
        startretries = 0
        """,
        place=place,
    )
    listeners = ("memmon", "httpok", "crashmail", "fatalmailbatch")
    hog, web = (daemon.wait_state(name, "RUNNING")["pid"] for name in ("hog", "web"))
    first = {name: daemon.wait_state(name, "RUNNING")["pid"] for name in listeners}
    wait_for(other_pid(daemon, "hog", hog), "memmon restarts the hog")
    wait_for(other_pid(daemon, "web", web), "httpok restarts web")
    assert failing_site.seen[0] == "/health"
    wait_for(lambda: "Subject:  crash crashed at" in daemon.read("mails"), "crashmail sends a mail")
    wait_for(lambda: any("broken:broken failed to start too many times" in mail for mail in post_office.seen))
    for name, before in first.items():
        assert pid(daemon, name) == before, f"{name} was restarted:\n{daemon.log}"
    assert daemon.stop() == 0
    assert "UNKNOWN" not in daemon.log


def test_childutils(supervisors: Supervisors) -> None:
    place = supervisors.place()
    daemon = supervisors.start(
        "supervise",
        f"""
        [eventlistener:text]
        command = {python(place, "text", CHILDUTILS)} {place}/events
        events = PROCESS_COMMUNICATION,REMOTE_COMMUNICATION,PROCESS_LOG
        startsecs = 0
        [program:talker]
        command = {python(place, "talker", COMMUNICATES)}
        stdout_capture_maxbytes = 1MB
        stdout_events_enabled = true
        stdout_logfile = {place}/talker.log
        startsecs = 0
        """,
        place=place,
    )
    daemon.rpc.supervisor.sendRemoteCommEvent("greeting", "hello")

    def got() -> dict[str, tuple[str, str]]:
        lines = daemon.read("events").splitlines()
        return {headers["eventname"]: (payload, state) for headers, payload, state in map(json.loads, lines)}

    wait_for(lambda: len(got()) == 3, "three kinds of events")
    talker = pid(daemon, "talker")
    assert got()["REMOTE_COMMUNICATION"] == ("type:greeting\nhello", "RUNNING")
    assert got()["PROCESS_COMMUNICATION_STDOUT"] == (
        f"processname:talker groupname:talker pid:{talker}\na message\nof two lines",
        "RUNNING",
    )
    wait_for(lambda: daemon.read("talker.log") == "before\nafter\n")


def test_exit_on_fatal(supervisors: Supervisors) -> None:
    place = supervisors.place()
    daemon = supervisors.start(
        "supervise",
        f"""
        [eventlistener:exit]
        command = {python(place, "exit", EXIT_ON_FATAL)}
        events = PROCESS_STATE_FATAL
        startsecs = 0
        [program:good]
        command = sleep 1000
        startsecs = 0
        [program:bad]
        command = false
        autostart = false
        startretries = 0
        """,
        place=place,
    )
    good = daemon.wait_state("good", "RUNNING")["pid"]
    daemon.wait_state("exit", "RUNNING")
    with pytest.raises(Exception, match=r"ABNORMAL_TERMINATION|SPAWN_ERROR"):
        daemon.rpc.supervisor.startProcess("bad")
    assert daemon.process.wait(60) == 0
    assert "received SIGQUIT indicating exit request" in daemon.log
    assert not alive(good)


def test_nothing_is_lost_when_200_programs_start_before_their_listener(supervisors: Supervisors) -> None:
    place, names = supervisors.place(), [f"p{number}" for number in range(199)] + ["café"]
    programs = "".join(f"[program:{name}]\ncommand=sleep 1000\nstartsecs=0\nstdout_logfile=NONE\n" for name in names)
    listener = f"[eventlistener:slow]\ncommand={python(place, 'slow', SLOW_STARTER)} {place}/events\nevents=EVENT\n"
    daemon = supervisors.start("supervise", listener + programs, place=place)
    wait_for(lambda: daemon.read("events").count("eventname:PROCESS_STATE_RUNNING") == 201, "every RUNNING")
    got = daemon.read("events").splitlines()
    assert [f"serial:{number}" in line and f"poolserial:{number}" in line for number, line in enumerate(got)] == [
        True
    ] * len(got)
    for name in (*names, "slow"):
        for state, facts in (("STARTING", "from_state:STOPPED tries:0"), ("RUNNING", "from_state:STARTING pid:")):
            wanted = f"| processname:{name} groupname:{name} {facts}"
            assert sum(wanted in line and f"eventname:PROCESS_STATE_{state} " in line for line in got) == 1
        assert sum(line.endswith(f"| groupname:{name}/") for line in got) == 1
    added = next(line for line in got if line.endswith("| groupname:café/"))
    assert " len:16 | " in added  # bytes, and 15 characters
    assert "overflowed" not in daemon.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_listener_ends_with_its_daemon_unless_that_is_killed(supervisors: Supervisors, number: int) -> None:
    place = supervisors.place()
    config = f"[eventlistener:text]\ncommand={python(place, 'text', SLOW_STARTER)} {place}/events\nevents=EVENT\n"
    config += "[program:other]\ncommand=sleep 1000\nstartsecs=0\n"
    daemon = supervisors.start("supervise", config, place=place)
    daemon.wait_state("text", "RUNNING")
    wait_for(lambda: "SUPERVISOR_STATE_CHANGE_RUNNING" in daemon.read("events"))
    listener = pid(daemon, "text")
    daemon.disconnect()
    os.kill(daemon.pid, number)
    daemon.process.wait(60)
    if number == signal.SIGTERM:
        wait_for(lambda: not alive(listener))
        assert "SUPERVISOR_STATE_CHANGE_STOPPING" in daemon.read("events")
        assert told_of(daemon, "other")[-1] == "PROCESS_STATE_STOPPED from_state:STOPPING pid:N"
    else:
        again = supervisors.run("supervise", daemon.config, place)
        wait_for(lambda: daemon.read("events").count("SUPERVISOR_STATE_CHANGE_RUNNING") == 2)
        assert pid(again, "text") == listener


def test_both_daemons_send_the_same_events(supervisors: Supervisors, kind: Kind) -> None:
    """The same story is told to the same listener, apart from pids, and from the order among different processes."""
    place = supervisors.place()
    daemon = supervisors.start(
        kind,
        f"""
        [eventlistener:slow]
        command = {python(place, "slow", SLOW_STARTER)} {place}/events
        events = EVENT
        buffer_size = 1000
        [program:once]
        command = sh -c "sleep 1.5; exit 3"
        autorestart = false
        [program:fatal]
        command = sh -c "exit 1"
        startretries = 1
        startsecs = 30
        [program:talker]
        command = sh -c "printf 'x<!--XSUPERVISOR:BEGIN-->inside<!--XSUPERVISOR:END-->'; sleep 1000"
        stdout_capture_maxbytes = 1000
        [program:raw]
        command = sh -c "printf '\\\\377 raw'; printf more >&2; sleep 1000"
        stdout_events_enabled = true
        stderr_events_enabled = true
        """,
        place=place,
    )
    daemon.wait_state("fatal", "FATAL")
    daemon.wait_state("once", "EXITED")
    for name in ("talker", "raw"):
        daemon.wait_state(name, "RUNNING")
    for text in ("inside", "Undecodable", "stderr/more"):
        wait_for(lambda text=text: text in daemon.read("events"), f"{text} has been said")
    daemon.rpc.supervisor.sendRemoteCommEvent("kind", "some data")
    daemon.rpc.supervisor.stopProcess("raw")
    daemon.rpc.supervisor.removeProcessGroup("raw")
    wait_for(lambda: "PROCESS_GROUP_REMOVED" in daemon.read("events"), "all events so far")
    expected = {
        "once": [
            "PROCESS_STATE_STARTING from_state:STOPPED tries:0",
            "PROCESS_STATE_RUNNING from_state:STARTING pid:N",
            "PROCESS_STATE_EXITED from_state:RUNNING expected:0 pid:N",
        ],
        "fatal": [
            "PROCESS_STATE_STARTING from_state:STOPPED tries:0",
            "PROCESS_STATE_BACKOFF from_state:STARTING tries:1",
            "PROCESS_STATE_STARTING from_state:BACKOFF tries:1",
            "PROCESS_STATE_BACKOFF from_state:STARTING tries:2",
            "PROCESS_STATE_FATAL from_state:BACKOFF",
        ],
        "talker": [
            "PROCESS_COMMUNICATION_STDOUT pid:N/inside",
            "PROCESS_STATE_RUNNING from_state:STARTING pid:N",
            "PROCESS_STATE_STARTING from_state:STOPPED tries:0",
        ],
        "raw": [
            "PROCESS_LOG_STDERR pid:N channel:stderr/more",
            r"PROCESS_LOG_STDOUT pid:N channel:stdout/Undecodable: b'\xff raw'",
            "PROCESS_STATE_RUNNING from_state:STARTING pid:N",
            "PROCESS_STATE_STARTING from_state:STOPPED tries:0",
            "PROCESS_STATE_STOPPED from_state:STOPPING pid:N",
            "PROCESS_STATE_STOPPING from_state:RUNNING pid:N",
        ],
    }
    for name, story in expected.items():
        told = told_of(daemon, name)
        assert (told if name in ("once", "fatal") else sorted(told)) == story
    others = [line for line in daemon.read("events").splitlines() if "processname:" not in line and "TICK" not in line]
    assert [line.partition("eventname:")[2] for line in others] == [
        *(
            f"PROCESS_GROUP_ADDED len:{11 + len(n)} | groupname:{n}/"
            for n in ("slow", "fatal", "once", "raw", "talker")
        ),
        "SUPERVISOR_STATE_CHANGE_RUNNING len:0 | ",
        "REMOTE_COMMUNICATION len:19 | type:kind/some data",
        "PROCESS_GROUP_REMOVED len:14 | groupname:raw/",
    ]


def told_of(daemon: Daemon, name: str) -> list[str]:
    """Types and payloads of the events about one process, without its pid."""
    found = []
    for line in daemon.read("events").splitlines():
        header, _, payload = line.partition(" | ")
        if payload.startswith(f"processname:{name} "):
            type = header.partition("eventname:")[2].partition(" ")[0]
            words = payload.removeprefix(f"processname:{name} groupname:{name} ").split(" ")
            found.append(" ".join([type, *(re_pid(word) for word in words)]))
    return found


def re_pid(word: str) -> str:
    """`pid:N` for any pid, keeping what follows it."""
    key, _, value = word.partition(":")
    return f"pid:N{value.lstrip('0123456789')}" if key == "pid" else word
