"""Texts: supervisorctl's to the byte, and ours."""

from typing import Any

import click
import pytest

from supervise.cli import render
from supervise.errors import Fault


def process(name: str = "web", **facts: Any) -> dict[str, Any]:
    usual = {
        "namespec": name,
        "statename": "RUNNING",
        "description": "pid 7, uptime 0:00:01",
        "pid": 7,
        "uptime": 61.0,
        "restarts": 2,
        "tries": 0,
        "now": 1000,
        "last_exit": None,
        "next_retry": None,
    }
    return usual | facts


def result(action: str, status: int, **facts: Any) -> dict[str, Any]:
    return {
        "action": action,
        "group": "web",
        "name": "web",
        "namespec": "web",
        "status": status,
        "description": "",
    } | facts


def test_status_lines_are_supervisorctls() -> None:
    assert render.status_lines([process()]) == ["web                              RUNNING   pid 7, uptime 0:00:01"]
    long = "x" * 40
    assert render.status_lines([process(long), process()]) == [
        f"{long}   RUNNING   pid 7, uptime 0:00:01",
        f"{'web':<43}RUNNING   pid 7, uptime 0:00:01",
    ]


def test_what_a_listener_is_doing() -> None:
    def last(**facts: Any) -> str:
        listener = {"state": "READY", "waiting": 0, "dropped": 0} | facts
        return render.status_table([process(listener=listener)])[1].rpartition("   ")[2].strip()

    assert last().endswith("listener READY")
    assert last(state="BUSY", waiting=3).endswith("listener BUSY, 3 events wait")
    assert last(dropped=2).endswith("listener READY, 2 dropped")


def test_a_description_stays_on_its_line() -> None:
    assert render.status_lines([process(description="a\nb\x1b[31mc")])[0].endswith("a b [31mc")


def test_status_table() -> None:
    exited = {"code": 3, "signal": None, "expected": False, "at": 990, "reason": "exit status 3"}
    lines = render.status_table(
        [
            process(),
            process("w:long-name", statename="BACKOFF", pid=0, last_exit=exited, next_retry=2.5, spawnerr="no luck"),
        ]
    )
    assert lines == [
        "NAME         STATE    PID  UPTIME  RESTARTS  LAST EXIT",
        "web          RUNNING  7    1m 01s  2         -",
        "w:long-name  BACKOFF  -    -       2         code 3, 10s ago  no luck; retry in 2s",
    ]


def test_status_table_in_colour_has_the_same_columns() -> None:
    processes = [process("RUNNING", statename="FATAL", spawnerr="FATAL"), process("b", statename="RUNNING")]
    plain, colour = render.status_table(processes), render.status_table(processes, colour=True)
    assert [click.unstyle(line) for line in colour] == plain
    assert "\x1b[31mFATAL\x1b[0m" in colour[1]
    assert colour[1].startswith("RUNNING  \x1b")


@pytest.mark.parametrize(
    "seconds, text",
    [
        *[(0, "0.0s"), (0.44, "0.4s"), (1, "1s"), (59.9, "59s"), (60, "1m 00s"), (3599, "59m 59s")],
        *[(3600, "1h 00m"), (86399, "23h 59m"), (86400, "1d 0h"), (100 * 86400 + 7200, "100d 2h")],
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert render.duration(seconds) == text


@pytest.mark.parametrize(
    "action, status, line",
    [
        ("start", Fault.SUCCESS, "web: started"),
        ("stop", Fault.SUCCESS, "web: stopped"),
        ("signal", Fault.SUCCESS, "web: signalled"),
        ("clear", Fault.SUCCESS, "web: cleared"),
        ("rotate", Fault.SUCCESS, "web: rotated"),
        ("start", Fault.BAD_NAME, "web: ERROR (no such process)"),
        ("start", Fault.NO_FILE, "web: ERROR (no such file)"),
        ("start", Fault.NOT_EXECUTABLE, "web: ERROR (file is not executable)"),
        ("start", Fault.ALREADY_STARTED, "web: ERROR (already started)"),
        ("start", Fault.SPAWN_ERROR, "web: ERROR (spawn error)"),
        ("start", Fault.ABNORMAL_TERMINATION, "web: ERROR (abnormal termination)"),
        ("start", Fault.SHUTDOWN_STATE, "web: ERROR (shutdown state)"),
        ("stop", Fault.NOT_RUNNING, "web: ERROR (not running)"),
        ("signal", Fault.BAD_SIGNAL, "web: ERROR (bad signal name)"),
        ("clear", Fault.FAILED, "web: ERROR (failed)"),
        ("start", 12345, "web: ERROR (fault 12345)"),
    ],
)
def test_results(action: str, status: int, line: str) -> None:
    assert render.result_line(result(action, status)) == line


def test_results_for_groups() -> None:
    unknown = result("start", Fault.BAD_NAME, group="g", name="*", namespec="g:*")
    assert render.result_line(unknown) == "g: ERROR (no such group)"
    assert render.result_line(result("stop", Fault.FAILED, description="FAILED: why")) == "FAILED: why"


def test_reread() -> None:
    assert render.reread_lines({"added": ["b"], "changed": ["c"], "removed": ["a"]}) == [
        *("a: disappeared", "b: available", "c: changed"),
    ]
    assert render.reread_lines({"added": [], "changed": [], "removed": []}) == ["No config updates to processes"]


def test_available() -> None:
    row = {"name": "w:a", "inuse": True, "autostart": False, "group_priority": 1, "process_priority": 999}
    assert render.available_line(row) == "w:a                              in use    manual    1:999"


def test_event() -> None:
    line = render.event_line("PROCESS_STATE_RUNNING", {"at": 0, "name": "a b\n", "expected": True, "pid": None})
    assert line.endswith(" PROCESS_STATE_RUNNING name=a b  expected=true pid=-")


def test_explanation() -> None:
    story = {
        "process": process(statename="FATAL", log_dropped=5, leftovers=[8, 9]),
        "summary": "gave up after 4 failed starts",
        "next": "nothing",
        "exits": [
            {"reason": "exit status 3", "expected": False, "ago": 5.0, "uptime": 0.1, "last_lines": ["boom\x07"]}
        ],
    }
    assert render.explain_lines(story) == [
        "web: FATAL: gave up after 4 failed starts",
        "next: nothing",
        "restarts: 2",
        "bytes of output lost: 5",
        "left behind: 8 9",
        "5s ago: exit status 3 (after 0.1s, unexpected)",
        "    boom ",
    ]
    assert "\x1b[31mFATAL" in render.explain_lines(story, colour=True)[0]


def test_columns() -> None:
    assert render.columns([]) == []
    assert render.columns(["a", "bb", "c"]) == ["a  bb  c"]
    lines = render.columns([f"word{number:02}" for number in range(30)])
    assert all(len(line) <= 79 for line in lines)
    assert " ".join(lines).split()[0] == "word00"
    assert sorted(" ".join(lines).split()) == [f"word{number:02}" for number in range(30)]
