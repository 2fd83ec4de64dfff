"""B34 to B46: defects of supervisord 4.3.0 with descriptors and logs, and that they are not here.

A test is named after its row; where the real one shows the defect within seconds, it is asked too.
"""

import os
import re
import signal
import socket
import time
import xmlrpc.client
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests.api.test_logtail import streaming
from tests.compat.pair import Pair, call
from tests.daemons import KINDS, Daemon, Kind, Supervisors
from tests.tools import alive, wait_for

pytestmark = pytest.mark.timeout(300)

PROGRAMS = """
[program:mute]
command = sh -c 'exec >&- 2>&-; touch {place}/mute.started; exec sleep 1000'
startsecs = 0

[program:cycled]
command = sh -c 'echo line; exec sleep 1000'
autostart = false
startsecs = 0

[program:talker]
command = sh -c 'head -c 3000000 /dev/zero; touch {place}/talked; exec sleep 1000'
stdout_logfile = /dev/full
startsecs = 0

[program:folder]
command = sleep 1000
stdout_logfile = {place}/folder
startsecs = 0
startretries = 0

[program:done]
command = sh -c 'echo something'
startsecs = 0
autorestart = false
stdout_logfile = {place}/done.log

[program:both]
command = sh -c 'for i in 1 2 3 4 5 6 7 8 9; do echo $i; echo $i >&2; done'
redirect_stderr = true
startsecs = 0
autorestart = false
stdout_logfile = {place}/both.log

[program:blocked]
command = sleep 1000
startsecs = 0

[program:steady]
command = sleep 1000
startsecs = 0
"""


@pytest.fixture(scope="module")
def pair(shared_supervisors: Supervisors) -> Pair:
    """Both, on the same programs."""
    return Pair(shared_supervisors, PROGRAMS, prepare=lambda place: (place / "folder").mkdir())


@pytest.fixture
def ours(pair: Pair) -> Daemon:
    return pair.ours


@pytest.fixture
def theirs(pair: Pair) -> Daemon:
    return pair.theirs


def least_used(daemon: Daemon) -> float:
    """Seconds of processor time in 0.4 seconds, the least of some."""
    process = psutil.Process(daemon.pid)

    def used() -> float:
        times = process.cpu_times()
        return times.user + times.system

    def in_a_while() -> float:
        before = used()
        time.sleep(0.4)
        return used() - before

    return min(in_a_while() for _ in range(4))


def test_b34_a_child_that_closes_its_output_costs_nothing(ours: Daemon, theirs: Daemon) -> None:
    """A loop that polls a closed pipe would use all the processor time there is. supervisord 4.3.0 has learnt that, but
    not for a listening socket that it cannot accept from: see B36."""
    for daemon in (ours, theirs):
        wait_for((daemon.place / "mute.started").exists)
        wait_for(lambda daemon=daemon: least_used(daemon) < 0.1, "it is idle when all that it was sent is dealt with")
        assert daemon.info("mute")["statename"] == "RUNNING"


def test_b35_nothing_leaks_when_groups_come_and_go(ours: Daemon) -> None:
    rpc, process = ours.rpc.supervisor, psutil.Process(ours.pid)

    def cycle(times: int) -> int:
        for _ in range(times):
            rpc.startProcess("cycled")
            ours.request("POST", "/api/v1/processes/cycled/rotate")
            process.send_signal(signal.SIGUSR2)
            rpc.stopProcess("cycled")
            rpc.removeProcessGroup("cycled")
            rpc.addProcessGroup("cycled")
        return process.num_fds()

    before = cycle(10)
    cycle(50)
    wait_for(lambda: process.num_fds() <= before + 2)  # the log thread closes pipes when it comes to it


def test_b35_nor_when_a_start_fails(supervisors: Supervisors) -> None:
    """supervisord keeps the pipes that it has made for a program whose log cannot be opened."""
    rest = "autostart = false\nstartsecs = 0\nstartretries = 0\n"
    fails = f"[program:a]\ncommand = sleep 1000\nstdout_logfile = {{place}}/folder/a.log\n{rest}"
    nothing = f"[program:b]\ncommand = /etc\n{rest}"
    both = Pair(supervisors, fails + nothing, prepare=lambda place: (place / "folder").mkdir())

    def grown(daemon: Daemon) -> int:
        (daemon.place / "folder").rmdir()
        process = psutil.Process(daemon.pid)

        def cycle(times: int) -> int:
            for name in ("a", "b"):
                for _ in range(times):
                    call("supervisor.startProcess", name)(daemon)
                    call("supervisor.stopProcess", name)(daemon)
            return settled(process)

        before = cycle(3)
        return cycle(10) - before

    assert grown(both.ours) <= 2
    assert grown(both.theirs) >= 20


def settled(process: psutil.Process) -> int:
    """How many descriptors it has when that no longer changes: the log thread closes pipes when it comes to it."""
    seen = list[int]()

    def steady() -> int:
        seen.append(process.num_fds())
        return seen[-1] if len(seen) > 10 and len(set(seen[-10:])) == 1 else 0

    return wait_for(steady)


def exhaust(process: psutil.Process) -> tuple[int, int]:
    """Have no descriptor left to it, not even one that it has closed; the limits that it had."""
    settled(process)
    soft, hard = process.rlimit(psutil.RLIMIT_NOFILE)
    used = {int(name) for name in os.listdir(f"/proc/{process.pid}/fd")}
    process.rlimit(psutil.RLIMIT_NOFILE, (min(set(range(len(used) + 1)) - used), hard))
    return soft, hard


def test_b36_no_descriptors_left_is_told_and_recovered_from(supervisors: Supervisors) -> None:
    program = "[program:a]\ncommand = sleep 1000\nautostart = false\nstartretries = 0\nstartsecs = 0\n"
    daemon = supervisors.start("supervise", program, "minfds = 200\n")
    daemon.rpc.supervisor.startProcess("a")  # what is opened once is open now
    daemon.rpc.supervisor.stopProcess("a")
    process = psutil.Process(daemon.pid)
    limits = exhaust(process)
    with pytest.raises(xmlrpc.client.Fault, match="SPAWN_ERROR"):
        daemon.rpc.supervisor.startProcess("a")  # on the connection that is there already
    info = daemon.info("a")
    assert (info["statename"], info["pid"]) == ("FATAL", 0)
    assert "EMFILE" in info["spawnerr"] or "too many open files" in info["spawnerr"].lower()
    process.rlimit(psutil.RLIMIT_NOFILE, limits)
    assert daemon.rpc.supervisor.startProcess("a") is True
    assert "Traceback" not in daemon.log + daemon.output


def test_b36_callers_wait_for_a_descriptor_and_nothing_is_busy_meanwhile(supervisors: Supervisors) -> None:
    """supervisord asks again and again for the connection that it cannot accept, and says nothing."""
    both = Pair(supervisors, "", "minfds = 200\n")
    for daemon, busy in ((both.ours, False), (both.theirs, True)):
        daemon.rpc.supervisor.getState()
        process = psutil.Process(daemon.pid)
        limits = exhaust(process)
        with ExitStack() as waiting:
            callers = [waiting.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(20)]
            for caller in callers:
                caller.connect(str(daemon.socket))
                caller.sendall(b"GET /ok.html HTTP/1.0\r\n\r\n")
            if busy:
                begun = sum(process.cpu_times()[:2])
                wait_for(lambda process=process, begun=begun: sum(process.cpu_times()[:2]) > begun + 0.5)
            else:
                assert least_used(daemon) < 0.1
            assert ("too many open files" in daemon.log) is not busy
            process.rlimit(psutil.RLIMIT_NOFILE, limits)
            for caller in callers:
                caller.settimeout(60)
                assert caller.recv(15).startswith(b"HTTP/1.")


def test_b37_a_child_never_blocks_on_a_log_that_takes_nothing(ours: Daemon, theirs: Daemon) -> None:
    """supervisord 4.3.0 goes on reading, too (and throws a traceback for each piece: B13). What makes a read of a pipe
    fail, after which it would not, cannot be brought about from outside."""
    for daemon in (ours, theirs):
        wait_for((daemon.place / "talked").exists, "3 MB are taken off it")
    wait_for(lambda: ours.api("/processes/talker")["log_dropped"] >= 3000000, "and the last of them are looked at")


def test_b37_a_deleted_log_is_no_end(ours: Daemon) -> None:
    path = Path(ours.info("cycled")["stdout_logfile"])

    def once() -> None:
        ours.rpc.supervisor.startProcess("cycled")
        wait_for(lambda: path.read_text().endswith("line\n"))
        ours.rpc.supervisor.stopProcess("cycled")

    once()
    path.unlink()
    ours.process.send_signal(signal.SIGUSR2)
    wait_for(path.exists)
    once()
    assert path.read_text() == "line\n"


def test_b37_a_log_that_is_deleted_in_use_is_made_again(supervisors: Supervisors) -> None:
    """supervisord writes on into what has no name any more, and all of it is lost."""
    echo = "[program:a]\ncommand = sh -c 'while read line; do echo $line; done'\nstartsecs = 0\n"
    both = Pair(supervisors, f"{echo}stdout_logfile = {{place}}/a.log\n")
    for daemon in (both.theirs, both.ours):
        daemon.wait_state("a", "RUNNING")
        daemon.rpc.supervisor.sendProcessStdin("a", "before\n")
        wait_for(lambda daemon=daemon: daemon.read("a.log") == "before\n")
        (daemon.place / "a.log").unlink()

    def heard(daemon: Daemon) -> str:
        daemon.rpc.supervisor.sendProcessStdin("a", "after\n")
        time.sleep(0.1)
        return daemon.read("a.log")

    wait_for(lambda: heard(both.ours).startswith("after\n"))
    assert [heard(both.theirs) for _ in range(20)][-1] == ""


def test_b38_a_log_that_cannot_be_opened_concerns_one_program(ours: Daemon, theirs: Daemon) -> None:
    """So it does with supervisord 4.3.0, where the program does not run; the crashes reported were of earlier ones."""
    assert "EISDIR" in theirs.wait_state("folder", "FATAL")["spawnerr"]
    assert theirs.info("steady")["statename"] == "RUNNING"
    info = ours.wait_state("folder", "RUNNING", "FATAL")
    if info["statename"] == "RUNNING":
        assert alive(info["pid"])
        wait_for(lambda: "directory" in (ours.api("/processes/folder")["log_problem"] or "").lower())
    ours.wait_log(f"{ours.place}/folder")
    assert ours.info("steady")["statename"] == "RUNNING"


CRASHED = "[program:a]\ncommand = sh -c 'echo the reason; exit 1'\nstartsecs = 0\nautorestart = false\n"


@pytest.mark.parametrize("kind", KINDS)
def test_b39_the_last_words_survive_a_restart_of_the_daemon(supervisors: Supervisors, kind: Kind) -> None:
    daemon = supervisors.start(kind, CRASHED)
    daemon.wait_state("a", "EXITED")
    old = Path(daemon.info("a")["stdout_logfile"])
    wait_for(lambda: old.read_text() == "the reason\n")
    daemon.stop()
    supervisors.run(kind, daemon.config, daemon.place)
    kept = [path for path in daemon.place.glob(f"{old.name}*") if path.read_text() == "the reason\n"]
    assert bool(kept) is (kind == "supervise")


@pytest.mark.parametrize("kind", KINDS)
def test_nocleanup_keeps_the_logs_of_earlier_runs_as_they_are(supervisors: Supervisors, kind: Kind) -> None:
    place = supervisors.place()
    old = [place / f"gone-stdout---supervisor-abcdefgh.log{end}" for end in ("", ".1")]
    for path in old:
        path.write_text("the reason\n")
    supervisors.start(kind, CRASHED, place=place, options=("-n", "-k"))
    assert sorted(place.glob("gone-*")) == old


def test_b40_the_log_of_a_stopped_process_can_be_cleared(ours: Daemon, theirs: Daemon) -> None:
    for daemon, left in ((ours, ""), (theirs, "something\n")):
        daemon.wait_state("done", "EXITED")
        wait_for(lambda daemon=daemon: daemon.read("done.log") == "something\n")
        assert call("supervisor.clearProcessLogs", "done")(daemon) is True
        assert daemon.read("done.log") == left


def test_b41_who_changed_what_is_in_the_main_log(ours: Daemon, theirs: Daemon) -> None:
    for daemon in (ours, theirs):
        call("supervisor.signalProcess", "steady", "CONT")(daemon)
        call("supervisor.stopProcess", "nobody")(daemon)
        call("supervisor.reloadConfig")(daemon)
    said = ours.wait_log("reloadConfig")  # the last of them
    lines = [line for line in said.splitlines() if "signalProcess" in line or "reloadConfig" in line]
    assert re.search(r"signalProcess.*steady.*CONT", "\n".join(lines))
    assert all(f"pid {os.getpid()}" in line or "root" in line or f"uid {os.getuid()}" in line for line in lines), lines
    assert re.search(r"stopProcess.*nobody.*BAD_NAME", said)
    assert "signalProcess" not in theirs.log


def test_b42_a_syslog_that_does_not_read_blocks_nobody(supervisors: Supervisors) -> None:
    place = supervisors.place()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(place / "log"))
        program = "command = sh -c 'for i in $(seq 5000); do echo \"line $i\"; done; touch {place}/said; exec sleep 9'"
        daemon = supervisors.start(
            "supervise",
            f"[program:a]\n{program}\nstdout_syslog = true\nsyslog_target = unix:{{place}}/log\nsyslog_tag = tagged\n",
            place=place,
        )
        wait_for((place / "said").exists, "it has written everything")
        wait_for(lambda: Path(daemon.info("a")["stdout_logfile"]).read_text().endswith("line 5000\n"))
        server.settimeout(30)
        first = server.recv(10000)
        assert re.match(rb"<\d+>.*tagged.*: line 1\n?$", first), first
        assert b"\n" not in first.rstrip(b"\n\0"), "one message a line"


def test_b43_one_file_for_both_streams_keeps_their_order(ours: Daemon, theirs: Daemon) -> None:
    """With one pipe, as redirect_stderr makes it, supervisord 4.3.0 does so, too; with two, nobody can: the kernel does
    not tell which of two pipes was written to first."""
    wanted = "".join(f"{number}\n{number}\n" for number in range(1, 10))
    for daemon in (ours, theirs):
        daemon.wait_state("both", "EXITED")
        wait_for(lambda daemon=daemon: daemon.read("both.log") == wanted, daemon.read("both.log"))


def test_b44_a_full_standard_input_is_a_proper_fault(ours: Daemon, theirs: Daemon) -> None:
    question = call("supervisor.sendProcessStdin", "blocked", "x" * 1_000_000)
    answers = [question(ours) for _ in range(20)]
    assert any(answer is not True for answer in answers), "bounded"
    assert all(answer is True or answer["faultCode"] == 30 for answer in answers), answers
    assert "does not read" in answers[-1]["faultString"] or "full" in answers[-1]["faultString"]
    assert ours.info("blocked")["statename"] == "RUNNING"
    real = [question(theirs) for _ in range(3)]
    assert {"http": 500} in real, real


def test_b45_offset_and_length_are_both_needed(ours: Daemon, theirs: Daemon) -> None:
    question = call("supervisor.readLog", "a", 1)
    assert question(ours)["faultCode"] == 2
    assert question(theirs) == {"http": 500}


FOLLOWED = """
[program:a]
command = sh -c 'while read line; do echo "$line"; done'
startsecs = 0
stdout_logfile = {place}/a.log
"""


def test_b46_following_a_log_survives_rotation_and_halves_no_character(supervisors: Supervisors) -> None:
    daemon, real = (supervisors.start(kind, FOLLOWED) for kind in KINDS)
    long = "x" + "é" * 1000 + "\n"  # supervisord starts 1024 bytes before the end: within a character
    for one in (daemon, real):
        one.wait_state("a", "RUNNING")
        one.rpc.supervisor.sendProcessStdin("a", long)
        wait_for(lambda one=one: one.read("a.log") == long)
    with streaming(real, "/logtail/a") as stream:
        assert stream.until("é\n".encode()).startswith("é".encode()[1:])
    with streaming(daemon, "/logtail/a") as stream:
        seen = stream.until("é\n".encode()).decode()
        assert set(seen) == {"é", "\n"}, seen[:5]
        for number in range(3):
            assert daemon.ctl("rotate", "a").returncode == 0
            daemon.rpc.supervisor.sendProcessStdin("a", f"after {number}\n")
            stream.until(f"after {number}\n".encode())
    wait_for(lambda: daemon.read("a.log") == "after 2\n")


FLOOD = """
[program:a]
command = sh -c 'head -c 200000000 /dev/zero | tr "\\\\0" "\\\\n"; touch {place}/written; exec sleep 1000'
autostart = false
startsecs = 0
stdout_logfile_maxbytes = 1MB
stdout_logfile_backups = 1

[program:b]
command = sh -c 'head -c 200000000 /dev/zero; touch {place}/written2; exec sleep 1000'
autostart = false
startsecs = 0
stdout_logfile = /dev/full
"""


def test_memory_is_bounded_under_output(supervisors: Supervisors) -> None:
    """Whether it is written, thrown away, or asked for by a client that then does not read."""
    daemon = supervisors.start("supervise", FLOOD)
    process = psutil.Process(daemon.pid)
    daemon.request("GET", "/api/v1/daemon")
    before = process.memory_info().rss
    with streaming(daemon, "/logtail/a"):
        for name, mark in (("a", "written"), ("b", "written2")):
            daemon.rpc.supervisor.startProcess(name)
            wait_for((daemon.place / mark).exists)
        assert process.memory_info().rss - before < 60_000_000
    assert 1 << 20 < sum(path.stat().st_size for path in daemon.place.glob("a-stdout*")) <= 2 << 20
