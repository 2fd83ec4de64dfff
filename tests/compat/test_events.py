"""Events of output, from both: what is captured and what is logged, in the order in which it was written."""

import ast
import re
import sys
from pathlib import Path

import pytest

from tests.compat.pair import Pair
from tests.daemons import Daemon, Supervisors
from tests.tools import wait_for

LISTENER = """
import sys
while True:
    sys.stdout.write("READY\\n")
    sys.stdout.flush()
    header = dict(word.split(":") for word in sys.stdin.readline().split())
    data = sys.stdin.read(int(header["len"]))
    with open("events", "a") as file:
        file.write(repr((header["eventname"], data)) + "\\n")
    sys.stdout.write("RESULT 2\\nOK")
    sys.stdout.flush()
"""
# Longer than a token wherever supervisord would keep a piece for the next read.
CHILD = """
import os, time
BEGIN, END = b"<!--XSUPERVISOR:BEGIN-->", b"<!--XSUPERVISOR:END-->"
def write(fd, *pieces):
    os.write(fd, b"".join(pieces))
    time.sleep(0.3)
write(1, b"before\\n", BEGIN, b"inside", END, b"a line after it, and more\\n")
write(1, b"a line of forty characters, or so\\n", BEGIN, b"x", END, BEGIN, b"second", END, b"the tail of it\\n" * 3)
write(1, BEGIN, b"begun here and now")
write(1, b"in the middle of it, which is long enough")
write(1, b"ended", END, b"the rest of that, on a line\\n")
write(2, b"the other stream\\n", BEGIN, b"captured there", END, b"what comes behind, on a line\\n")
write(1, b"no tokens any more, and then the end\\n")
time.sleep(1000)
"""
PROGRAMS = """
[eventlistener:l]
command = {python} {place}/listener.py
events = PROCESS_LOG,PROCESS_COMMUNICATION
buffer_size = 100
directory = {place}
[program:c]
command = {python} {place}/child.py
stdout_events_enabled = true
stderr_events_enabled = true
stdout_capture_maxbytes = 1KB
stderr_capture_maxbytes = 1KB
stdout_logfile = {place}/out
stderr_logfile = {place}/err
[program:plain]
command = {python} {place}/child.py
stdout_logfile = {place}/whole
stderr_logfile = NONE
"""


def prepare(place: Path) -> None:
    (place / "listener.py").write_text(LISTENER)
    (place / "child.py").write_text(CHILD)


@pytest.fixture(scope="module")
def pair(shared_supervisors: Supervisors) -> Pair:
    pair = Pair(shared_supervisors, PROGRAMS.replace("{python}", sys.executable), prepare=prepare)
    for daemon in (pair.ours, pair.theirs):
        wait_for(lambda daemon=daemon: "and then the end" in daemon.read("events"), "the last event")
    return pair


def told(daemon: Daemon, channel: str) -> list[tuple[str, str]]:
    """(kind, text) of each event of a channel; pieces of the log that follow each other are one."""
    found: list[tuple[str, str]] = []
    for line in daemon.read("events").splitlines():
        kind, payload = ast.literal_eval(line)
        if kind.endswith(channel):
            text = payload.partition("\n")[2]
            if found and kind == found[-1][0] and kind.startswith("PROCESS_LOG"):
                text = found.pop()[1] + text
            found.append((kind, text))
    return found


def without_captured(events: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """supervisord sends captured text as PROCESS_LOG as well, which its manual says it does not."""
    found: list[tuple[str, str]] = []
    for kind, text in events:
        if kind.startswith("PROCESS_COMMUNICATION") and found and found[-1][1].endswith(text):
            found[-1] = (found[-1][0], found[-1][1].removesuffix(text))
            if not found[-1][1]:
                found.pop()
        found.append((kind, text))
    return found


@pytest.mark.parametrize("channel", ["STDOUT", "STDERR"])
def test_captured_and_logged_in_their_order(pair: Pair, channel: str) -> None:
    ours, theirs = told(pair.ours, channel), told(pair.theirs, channel)
    assert ours == without_captured(theirs)
    assert ours != theirs
    kinds = [kind.removeprefix("PROCESS_").removesuffix(f"_{channel}") for kind, _ in ours]
    assert kinds[:4] == ["LOG", "COMMUNICATION", "LOG", "COMMUNICATION"][: len(kinds)]


@pytest.mark.parametrize("name", ["out", "err"])
def test_the_logs_hold_what_was_not_captured(pair: Pair, name: str) -> None:
    last = {"out": "and then the end\n", "err": "comes behind, on a line\n"}[name]
    for daemon in (pair.ours, pair.theirs):
        wait_for(lambda daemon=daemon: daemon.read(name).endswith(last))
    pair.agree(lambda daemon: daemon.read(name))


def test_where_nothing_is_captured_the_tokens_are_output(pair: Pair) -> None:
    for daemon in (pair.ours, pair.theirs):
        wait_for(lambda daemon=daemon: daemon.read("whole").endswith("and then the end\n"))
    pair.agree(lambda daemon: daemon.read("whole"))
    assert pair.ours.read("whole").count("<!--XSUPERVISOR:BEGIN-->inside<!--XSUPERVISOR:END-->") == 1


HEADER = ["ver", "server", "serial", "pool", "poolserial", "eventname", "len"]
HEADERS = """
import sys
while True:
    sys.stdout.write("READY\\n")
    sys.stdout.flush()
    line = sys.stdin.readline()
    data = sys.stdin.read(int(line.rpartition(":")[2]))
    with open(sys.argv[1], "a") as file:
        file.write(repr((line, data)) + "\\n")
    sys.stdout.write("RESULT 2\\nOK")
    sys.stdout.flush()
"""


def write_headers(place: Path) -> None:
    (place / "headers.py").write_text(HEADERS)


def test_headers_and_the_events_of_the_daemon_itself(supervisors: Supervisors) -> None:
    """Ticks, groups, and the beginning and the end; every header with its serials, that of a second pool as well."""
    pools = "".join(
        f"""
[eventlistener:{name}]
command = {sys.executable} {{place}}/headers.py {{place}}/{name}
events = {events}
startsecs = 0
"""
        for name, events in (("all", "TICK,SUPERVISOR_STATE_CHANGE,PROCESS_GROUP"), ("few", "SUPERVISOR_STATE_CHANGE"))
    )
    both = Pair(supervisors, pools, prepare=write_headers)

    def heard(daemon: Daemon) -> object:
        wait_for(lambda: daemon.read("all").count("TICK_5") >= 1)
        daemon.stop()
        stories = []
        for name in ("all", "few"):
            seen = [ast.literal_eval(line) for line in daemon.read(name).splitlines()]
            for header, data in seen:
                words = [word.partition(":") for word in header.split()]
                facts = {key: value for key, _, value in words}
                assert [key for key, _, _ in words] == HEADER
                assert int(facts["len"]) == len(data)
                if facts["eventname"] == "TICK_5":
                    assert data == f"when:{int(data.removeprefix('when:')) // 5 * 5}"
            # supervisord stops a listener before it has told it of the end, unless another one holds it up
            kept = [(header, data) for header, data in seen if "TICK" not in header and "STOPPING" not in header]
            assert "STOPPING len:0" in seen[-1][0] or daemon.kind == "supervisord"
            story = [(re.sub(r"serial:\d+", "serial:N", header), data) for header, data in kept]
            numbers = [int(re.findall(r"poolserial:(\d+)", header)[0]) for header, _ in seen]
            stories.append([story, numbers == list(range(len(numbers)))])
        return stories

    both.agree(heard)
