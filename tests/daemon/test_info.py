import re
import signal
from pathlib import Path

import pytest

from supervise.core.events import Start, State
from supervise.daemon.info import INT_MAX, Moment, ProcessInfo, cap, describe, facts, result
from supervise.daemon.process import Process
from supervise.daemon.supervisor import Supervisor
from supervise.errors import Fault
from tests.daemon.running import group, process, program, reach, run, sh, supervising


def tell(process: Process, priority: int, monotonic: float) -> ProcessInfo:
    return describe(facts(process, priority), Moment(1e9, monotonic))


def test_descriptions_are_supervisords(tmp_path: Path) -> None:
    async def story() -> None:
        async with supervising(tmp_path, group(sh("p", "exec sleep 1000")), group(program("bad", "/no/such"))) as s:
            assert shown(s, "p") == "Not started"
            s.tell(process(s, "p"), Start())
            await reach(s, "p", State.RUNNING)
            assert re.fullmatch(r"pid \d+, uptime 0:00:0\d", shown(s, "p"))
            await s.stop([process(s, "p")])
            assert re.fullmatch(r"[A-Z][a-z]{2} \d\d \d\d:\d\d [AP]M", shown(s, "p"))
            s.tell(process(s, "bad"), Start())
            await reach(s, "bad", State.BACKOFF)
            assert shown(s, "bad") == "can't find command '/no/such'"
            one = process(s, "p")
            one.machine.state, one.machine.pid = State.RUNNING, 7
            assert tell(one, 1, one.machine.since + 90061.5).description == "pid 7, uptime 1 day, 1:01:01"
            one.machine.state, one.machine.pid, one.machine.reason = State.FATAL, None, ""
            assert shown(s, "p") == 'unknown error (try "tail p")'
            one.machine.state = State.STOPPED

    def shown(supervisor: Supervisor, name: str) -> str:
        return tell(process(supervisor, name), 999, 0.0).description

    run(story)


def test_facts(tmp_path: Path) -> None:
    async def story() -> None:
        config = sh("p", "exec sleep 1000", group_name="g", stdout_logfile=str(tmp_path / "out"), priority=5)
        async with supervising(tmp_path, group(config)) as supervisor:
            one = process(supervisor, "g:p")
            supervisor.tell(one, Start())
            await reach(supervisor, "g:p", State.RUNNING)
            told = tell(one, 7, one.machine.since + 2.5)
            assert (told.namespec, told.group, told.name) == ("g:p", "g", "p")
            assert (told.state, told.statename, told.pid) == (20, "RUNNING", one.machine.pid)
            assert told.uptime == pytest.approx(2.5)
            assert (told.priority, told.group_priority) == (5, 7)
            assert (told.logfile, told.stdout_logfile, told.stderr_logfile) == (str(tmp_path / "out"),) * 2 + ("",)
            assert told.last_exit is None
            await supervisor.stop([one])
            told = tell(one, 7, 0.0)
            assert (told.pid, told.exitstatus, told.uptime) == (0, -1, 0.0)
            assert told.last_exit is not None
            assert (told.last_exit.code, told.last_exit.signal) == (None, signal.SIGTERM.name)
            assert told.stop >= told.start > 0

    run(story)


def test_next_retry(tmp_path: Path) -> None:
    async def story() -> None:
        async with supervising(tmp_path, group(program("bad", "/no/such"))) as supervisor:
            one = process(supervisor, "bad")
            supervisor.tell(one, Start())
            await reach(supervisor, "bad", State.BACKOFF)
            assert one.machine.deadline is not None
            told = tell(one, 7, one.machine.deadline - 0.25)
            assert told.next_retry == pytest.approx(0.25)
            assert (told.tries, told.wanted) == (1, True)

    run(story)


def test_facts_are_the_same_object_until_they_change(tmp_path: Path) -> None:
    async def story() -> None:
        async with supervising(tmp_path, group(sh("p", "exec sleep 1000"))) as supervisor:
            one = process(supervisor, "p")
            first = facts(one, 7)
            assert facts(one, 7) is first
            assert facts(one, 8) == first._replace(group_priority=8)
            supervisor.tell(one, Start())
            await reach(supervisor, "p", State.RUNNING)
            second = facts(one, 8)
            assert (second.state, second.pid, second.ticking) == (State.RUNNING, one.machine.pid, True)
            assert facts(one, 8) is second

    run(story)


def test_results(tmp_path: Path) -> None:
    async def story() -> None:
        async with supervising(tmp_path, group(sh("p", "true", group_name="g"))) as supervisor:
            one = process(supervisor, "g:p")
            good, bad = result("start", one), result("start", one, Fault.SPAWN_ERROR)
            assert (good.ok, good.description, good.namespec) == (True, "OK", "g:p")
            assert (bad.ok, bad.description) == (False, "SPAWN_ERROR: g:p")

    run(story)


def test_times_fit_into_xmlrpc() -> None:
    assert cap(1e12) == INT_MAX
