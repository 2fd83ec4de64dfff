"""B1 to B18: the worst defects of supervisord 4.3.0. Each is shown to be there with the real one, and not here.

A test is named after its row. Where the real one shows the defect within seconds, it is asked too (`theirs`), so that a
test which no longer looks at the right thing fails.
"""

import http.client
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

import psutil
import pytest

from tests.compat.pair import Pair
from tests.daemon.listening import script
from tests.daemons import Daemon, Kind, Supervisors, client_command, configuration
from tests.tools import alive, wait_for

pytestmark = pytest.mark.timeout(300)

ALL_BYTES = "printf '" + "".join(f"\\{number:03o}" for number in range(256)) + "\\nend\\n'; sleep 1000"
DUMP = """sh -c 'printf "READY\\\\n"; exec cat > {place}/%(program_name)s.got'"""

LAST = "1234567890<!--XSUPERVISOR:BEG"  # what could have become the token that capture looks for
PROGRAMS = f"""
[program:quick]
command = true
autostart = false
startretries = 0

[program:spin]
command = true
startsecs = 0
autorestart = true

[program:wrapper]
command = sh -c '(trap "" TERM; exec sleep 999) & exec sleep 1000'
killasgroup = true
stopwaitsecs = 2
startsecs = 0

[program:parent]
command = sh -c '(trap "" TERM HUP; while echo alive; do sleep 0.1; done; touch {{place}}/cut) & exec sleep 1000'
startsecs = 0

[program:short]
command = printf '{LAST}'
stdout_capture_maxbytes = 1KB
startsecs = 0
autorestart = false
stdout_logfile = {{place}}/short.log

[eventlistener:raw]
command = {DUMP}
events = REMOTE_COMMUNICATION
startsecs = 0

[program:é]
command = sleep 1000
startsecs = 0

[program:bytes]
command = sh {{place}}/bytes.sh
startsecs = 0

[program:pipe]
command = sh -c 'echo line; exec sleep 1000'
autostart = false
stdout_logfile = {{place}}/pipe
startsecs = 0

[program:lines]
command = seq -f 'line %%010.0f' 1 2000
stdout_logfile = {{place}}/lines.log
stdout_logfile_maxbytes = 1KB
stdout_logfile_backups = 100
startsecs = 0
autorestart = false

[program:full]
command = sh -c 'while sleep 0.01; do echo line; done'
stdout_logfile = /dev/full
startsecs = 0

[eventlistener:slow]
command = {sys.executable} -IS {{place}}/slow.py {{place}}/slow.events
events = REMOTE_COMMUNICATION
startsecs = 0

[eventlistener:rude]
command = {sys.executable} -IS {{place}}/rude.py {{place}}/rude.events
events = REMOTE_COMMUNICATION
startsecs = 0

[program:typo]
command = sleep 1000 "a ; b"
autostrat = false
startsecs = 0
"""


def prepare(place: Path) -> None:
    """The files that the programs need."""
    (place / "bytes.sh").write_text(ALL_BYTES)
    os.mkfifo(place / "pipe")
    slow, rude = script(place, "result()"), script(place, "say('what?\\n') if first and n == 1 else result()")
    text = slow.read_text().replace(
        "stdin, n =", "while not os.path.exists(sys.argv[1] + '.go'): time.sleep(0.05)\nstdin, n ="
    )
    (place / "slow.py").write_text(text)
    rude.rename(place / "rude.py")


@pytest.fixture(scope="module")
def pair(shared_supervisors: Supervisors) -> Pair:
    """Both, on the same programs."""
    return Pair(shared_supervisors, PROGRAMS, prepare=prepare)


@pytest.fixture
def ours(pair: Pair) -> Daemon:
    return pair.ours


@pytest.fixture
def theirs(pair: Pair) -> Daemon:
    return pair.theirs


BROKEN = "[program:web]\nautostart = perhaps\n"
WEB = "[program:web]\ncommand = sleep 1000\nstartsecs = 0\n"


def test_b1_a_reload_with_a_broken_file_changes_nothing(supervisors: Supervisors) -> None:
    mine, real = (supervisors.start(kind, WEB) for kind in ("supervise", "supervisord"))
    pid = mine.wait_state("web", "RUNNING")["pid"]
    victim = real.wait_state("web", "RUNNING")["pid"]
    for daemon in (mine, real):
        daemon.configure(BROKEN)
    answer, lie = mine.ctl("reload"), real.ctl("reload")
    assert lie.returncode == 0
    assert real.process.wait(60) == 2
    assert not alive(victim)
    assert answer.returncode == 1
    assert "perhaps" in answer.stdout + answer.stderr
    mine.wait_log("perhaps")
    mine.process.send_signal(signal.SIGHUP)
    wait_for(lambda: mine.log.count("perhaps") > 1)
    assert mine.info("web")["pid"] == pid


# Ends only when everybody has been told to end: one after the other, that never happens.
ROUND = """
[program:{name}]
command = sh -c 'trap "touch {{place}}/{name}.told" TERM; touch {{place}}/{name}.set; \
while [ $(ls {{place}} | grep -c told) -lt 3 ]; do sleep 0.05; done'
stopwaitsecs = {seconds}
startsecs = 0
"""


def test_b2_a_shutdown_stops_all_groups_at_once(supervisors: Supervisors) -> None:
    cases: dict[Kind, int] = {"supervise": 60, "supervisord": 1}
    for kind, seconds in cases.items():
        programs = "".join(ROUND.replace("{name}", name).replace("{seconds}", str(seconds)) for name in "abc")
        daemon = supervisors.start(kind, programs.replace("{{place}}", "{place}"))
        for name in "abc":
            wait_for((daemon.place / f"{name}.set").exists)
        assert daemon.stop() == 0
        assert ("with SIGKILL" in daemon.log) is (kind == "supervisord"), daemon.log


ORDER = """
[eventlistener:l]
command = sleep 1000
events = TICK_3600
startsecs = 0
[program:first]
command = sleep 1000
priority = 1
startsecs = 0
[program:second]
command = sleep 1000
priority = 2
startsecs = 0
"""


def test_b3_stop_all_goes_by_descending_priority_and_listeners_last(supervisors: Supervisors) -> None:
    cases: dict[Kind, list[str]] = {"supervise": ["second", "first", "l"], "supervisord": ["l", "first", "second"]}
    for kind, order in cases.items():
        daemon = supervisors.start(kind, ORDER, "loglevel = debug\n")
        for name in ("l:l", "first", "second"):
            daemon.wait_state(name, "RUNNING")
        wait_for(lambda daemon=daemon: len(children(daemon, "sleep", "1000")) == 3, "each executes its own code")
        daemon.rpc.supervisor.stopAllProcesses()
        killing = re.compile(r"killing (\w+) \(pid \d+\) with signal SIGTERM")
        wait_for(lambda daemon=daemon, killing=killing: len(killing.findall(daemon.log)) >= 3)
        assert killing.findall(daemon.log) == order


def test_b4_a_quick_success_that_counts_as_a_failure_says_so(ours: Daemon, theirs: Daemon) -> None:
    """The rule is supervisord's and stays; what was missing is the reason."""
    for daemon in (ours, theirs):
        daemon.rpc.supervisor.startProcess("quick", False)
        assert "Exited too quickly" in daemon.wait_state("quick", "FATAL")["spawnerr"]
    explained = ours.ctl("explain", "quick").stdout
    assert "Exited too quickly" in explained
    assert "gave up after a failed start" in explained
    assert "code 0" in explained or "exit status 0" in explained, explained


def spawns(daemon: Daemon, name: str) -> list[float]:
    """When the program was spawned, in seconds, as the main log says."""
    found = re.findall(rf"(?m)^\S+ (\d+):(\d+):(\d+),(\d+) INFO spawned: '{name}'", daemon.log)
    return [int(h) * 3600 + int(m) * 60 + int(s) + int(ms) / 1000 for h, m, s, ms in found]


def test_b4b_endless_quick_exits_are_held_back(ours: Daemon, theirs: Daemon) -> None:
    times = wait_for(lambda: found if len(found := spawns(ours, "spin")) >= 14 else [])
    pauses = [later - earlier for earlier, later in itertools.pairwise(times[11:])]
    assert all(pause > 0.9 for pause in pauses if pause > -1000), "midnight apart"
    assert "held back to one a second" in ours.ctl("explain", "spin").stdout
    times = wait_for(lambda: found if len(found := spawns(theirs, "spin")) >= 30 else [])
    assert any(0 <= later - earlier < 0.5 for earlier, later in itertools.pairwise(times[20:]))


def children(daemon: Daemon, *words: str) -> list[psutil.Process]:
    """What runs with exactly this command line, below the daemon."""
    return [one for one in psutil.Process(daemon.pid).children(recursive=True) if one.cmdline() == list(words)]


def test_b5_nothing_of_a_group_is_left_after_a_stop(ours: Daemon, theirs: Daemon) -> None:
    """The leader obeys at once, its child ignores the signal; supervisord kills the group only after a timeout."""
    for daemon, left in ((ours, False), (theirs, True)):
        (child,) = wait_for(lambda daemon=daemon: children(daemon, "sleep", "999"))
        daemon.rpc.supervisor.stopProcess("wrapper")
        assert daemon.info("wrapper")["statename"] == "STOPPED"
        assert alive(child.pid) is left


def test_b6_who_survives_its_leader_can_still_write(ours: Daemon, theirs: Daemon) -> None:
    def written(daemon: Daemon) -> int:
        return len(Path(daemon.info("parent")["stdout_logfile"]).read_text().split())

    for daemon in (ours, theirs):
        wait_for(lambda daemon=daemon: written(daemon) > 1)
        daemon.rpc.supervisor.stopProcess("parent")
    wait_for((theirs.place / "cut").exists, "its child was cut off from its output")
    before = written(ours)
    wait_for(lambda: written(ours) > before + 2, "what it writes still arrives")
    assert not (ours.place / "cut").exists()


def test_b7_the_last_bytes_before_an_end_are_in_the_log(ours: Daemon, theirs: Daemon) -> None:
    for daemon in (ours, theirs):
        daemon.wait_state("short", "EXITED")
    wait_for(lambda: ours.read("short.log") == LAST)
    assert theirs.read("short.log") != LAST


def test_b8_the_length_of_an_event_counts_bytes(ours: Daemon, theirs: Daemon) -> None:
    for daemon, right in ((ours, True), (theirs, False)):
        wait_for((daemon.place / "raw.got").exists)
        daemon.rpc.supervisor.sendRemoteCommEvent("t", "données")
        got = wait_for(lambda daemon=daemon: daemon.read("raw.got") if "données" in daemon.read("raw.got") else "")
        header, _, payload = got.partition("\n")
        assert (int(header.rpartition("len:")[2]) == len(payload.encode())) is right


def test_b9_names_that_are_not_ascii_cut_no_answer(ours: Daemon, theirs: Daemon) -> None:
    def stop(daemon: Daemon) -> list[dict[str, Any]]:
        daemon.disconnect()
        return list(daemon.rpc.supervisor.stopProcessGroup("é"))

    assert [row["name"] for row in stop(ours)] == ["é"]
    assert ours.info("é")["statename"] == "STOPPED"
    with pytest.raises((ExpatError, http.client.HTTPException)):
        stop(theirs)
    theirs.disconnect()


def test_b10_any_byte_in_a_log_can_be_read(ours: Daemon, theirs: Daemon) -> None:
    def tail(daemon: Daemon) -> str:
        return str(daemon.rpc.supervisor.tailProcessStdoutLog("bytes", 0, 4000)[0])

    for daemon in (ours, theirs):
        path = Path(daemon.info("bytes")["stdout_logfile"])
        wait_for(lambda path=path: path.read_bytes().endswith(b"end\n"))
    assert " !\"#$%&'()*" in tail(ours)
    assert tail(ours).endswith("\nend\n")
    with pytest.raises(Exception, match=r"."):  # an HTTP error, or an answer that is no XML
        tail(theirs)
    theirs.disconnect()
    command = [*client_command("supervise"), "-c", str(ours.config), "tail", "bytes"]
    shown = subprocess.run(command, capture_output=True, env=ours.env, timeout=60)
    assert (shown.returncode, shown.stdout) == (0, bytes(range(256)) + b"\nend\n\n")
    status, _, exact = ours.request("GET", "/api/v1/processes/bytes/logs/stdout?bytes=4000&raw=1")
    assert (status, exact) == (200, bytes(range(256)) + b"\nend\n")


def test_b11_a_log_that_is_a_pipe_is_no_error(ours: Daemon, theirs: Daemon) -> None:
    for daemon in (ours, theirs):
        reader = os.open(daemon.place / "pipe", os.O_RDWR | os.O_NONBLOCK)
        try:
            daemon.rpc.supervisor.startProcess("pipe", False)
            assert wait_for(lambda reader=reader: os.read(reader, 100)) == b"line\n"
            if daemon is theirs:
                daemon.wait_log("Illegal seek")
            daemon.rpc.supervisor.stopProcess("pipe")
            assert ("Illegal seek" in daemon.log) is (daemon is theirs)
        finally:
            os.close(reader)


def test_b12_rotation_is_bounded_and_cuts_no_line(ours: Daemon, theirs: Daemon) -> None:
    def files(daemon: Daemon) -> list[bytes]:
        """Oldest first."""
        daemon.wait_state("lines", "EXITED")
        paths = sorted(daemon.place.glob("lines.log*"), key=lambda path: -int("0" + path.suffix[1:].strip("log")))
        return [path.read_bytes() for path in paths]

    wanted = b"".join(b"line %010d\n" % number for number in range(1, 2001))
    mine = wait_for(lambda: found if b"".join(found := files(ours)) == wanted else [], "all of it, in its order")
    assert len(mine) > 20
    assert max(map(len, mine)) <= 1024
    assert all(text.endswith(b"\n") for text in mine if text)
    assert max(map(len, files(theirs))) > 1024


def test_b13_a_full_disk_stops_nobody_and_is_told_once(ours: Daemon, theirs: Daemon) -> None:
    dropped = wait_for(lambda: ours.api("/processes/full")["log_dropped"])
    wait_for(lambda: ours.api("/processes/full")["log_dropped"] > dropped + 100)
    info = ours.api("/processes/full")
    assert (info["statename"], info["restarts"]) == ("RUNNING", 0)
    assert "No space left on device" in info["log_problem"]
    minutes = (time.time() - psutil.Process(ours.pid).create_time()) // 60
    assert 1 <= ours.log.count("/dev/full") <= 3 + minutes, "and once a minute"
    assert "Traceback" not in ours.output
    wait_for(lambda: "Traceback" in theirs.output and "No space left" in theirs.output)


def test_b14_events_wait_for_a_slow_listener_and_a_rude_one_is_restarted(ours: Daemon, theirs: Daemon) -> None:
    def heard(daemon: Daemon, name: str) -> list[str]:
        events = [json.loads(line) for line in daemon.read(f"{name}.events").splitlines()]
        return [text for _, payload, _ in events if (text := payload.partition("\n")[2]).startswith("e")]

    wanted = [f"e{number}" for number in range(200)]
    for daemon in (ours, theirs):
        for text in wanted:
            daemon.rpc.supervisor.sendRemoteCommEvent("t", text)
        (daemon.place / "slow.events.go").touch()
        wait_for(lambda daemon=daemon: "e199" in heard(daemon, "slow"))
    assert heard(ours, "slow") == wanted
    assert len(heard(theirs, "slow")) < 50
    assert "overflowed" in theirs.log
    wait_for(lambda: heard(ours, "rude")[-1:] == ["e199"], "it is restarted, and goes on")
    assert set(heard(ours, "rude")) == set(wanted), "nothing was lost by that"
    ours.wait_log("rude: has entered the UNKNOWN state")
    assert "rude: has entered the UNKNOWN state" in theirs.log
    assert theirs.info("rude:rude")["statename"] == "RUNNING", "deaf for ever, and looks well"
    assert len(heard(theirs, "rude")) < 2
    listener = ours.api("/processes/rude:rude")["listener"]
    assert listener["state"] in ("READY", "BUSY")
    assert listener["waiting"] == 0


CREW = """
[program:w]
command = sleep 1000
process_name = w%(process_num)d
numprocs = {numprocs}
startsecs = 0
"""


def test_b15_an_update_restarts_only_what_it_must(supervisors: Supervisors) -> None:
    for kind in ("supervise", "supervisord"):
        daemon = supervisors.start(kind, CREW.replace("{numprocs}", "2"))
        before = [daemon.wait_state(f"w:w{number}", "RUNNING")["pid"] for number in range(2)]
        daemon.configure(CREW.replace("{numprocs}", "3"))
        assert daemon.ctl("update").returncode == 0
        after = [daemon.wait_state(f"w:w{number}", "RUNNING")["pid"] for number in range(3)][:2]
        assert (after == before) is (kind == "supervise")
        daemon.disconnect()
        daemon.process.kill()
        daemon.process.wait()
        gone = daemon.ctl("reread")
        assert gone.returncode != 0 or kind == "supervisord"
        raw = re.search(r"Traceback|<class|error: .*file: ", gone.stdout + gone.stderr)
        assert (raw is not None) is (kind == "supervisord"), gone


def test_b16_typing_errors_in_the_file_are_told(ours: Daemon, theirs: Daemon) -> None:
    for daemon, told in ((ours, True), (theirs, False)):
        if told:
            daemon.wait_log("autostrat")
        assert ("autostrat" in daemon.log) is told
        assert bool(re.search(r"(?i)\[program:typo\].*command.*(cut|truncated|comment)", daemon.log)) is told, (
            daemon.log
        )
    ours.wait_state("typo", "FATAL")
    assert ours.ctl("status", "typo").returncode == 3, "the value is cut all the same, and the quote has no end"


def refusal(supervisors: Supervisors, programs: str, supervisord: str = "") -> str:
    """What the real one says when it does not take a configuration."""
    place = supervisors.place()
    (place / "s.conf").write_text(configuration(place, programs, supervisord))
    daemon = supervisors.run("supervisord", place / "s.conf", place, env={"SECRET": "50%"}, answers=False)
    assert daemon.process.wait(60) == 2
    return daemon.output


PRINTER = """
[program:printer]
command = sh -c 'env > {place}/env.new && mv {place}/env.new {place}/env && exec sleep 1000'
startsecs = 0
"""


def environ(daemon: Daemon) -> dict[str, str]:
    """What the program found in its environment."""
    lines = wait_for(lambda: daemon.read("env")).splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def test_b17_a_percent_sign_is_no_format_twice(supervisors: Supervisors) -> None:
    """Neither in what comes from the environment nor in what was doubled already."""
    once = 'environment = GIVEN="%(ENV_SECRET)s",DOUBLED="50%%"\n'
    assert "badly formatted" in refusal(supervisors, PRINTER, once)
    found = environ(supervisors.start("supervise", PRINTER, once, env={"SECRET": "50%"}))
    assert (found["GIVEN"], found["DOUBLED"]) == ("50%", "50%")
    place = supervisors.place()
    (place / "s.conf").write_text(configuration(place, "[program:a]\ncommand = date +%H\n"))
    daemon = supervisors.run("supervise", place / "s.conf", place, answers=False)
    assert daemon.process.wait(60) == 2
    assert "write %% for a percent sign" in daemon.output


def test_b18_quotes_commas_and_equals_signs_in_values(supervisors: Supervisors) -> None:
    pairs = r"""environment = ESCAPED="say \"hi\"",SINGLE='x, y = "z"',LAST=1""" + "\n"
    assert "Unexpected end of key/value pairs" in refusal(supervisors, PRINTER + pairs)
    found = environ(supervisors.start("supervise", PRINTER + pairs))
    assert (found["ESCAPED"], found["SINGLE"], found["LAST"]) == ('say "hi"', 'x, y = "z"', "1")
