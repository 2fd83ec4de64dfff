"""The journal, asked by journalctl: a real journald beside a real systemd (`tests.machine`)."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.daemons import Supervisors, configuration, daemon_command, environment
from tests.machine import Machine, booted
from tests.tools import need, wait_for

JOURNALD = "[Service]\nExecStart=/lib/systemd/systemd-journald\nStandardOutput=null\n"
CONFIG = """
[program:web]
command = sh -c 'echo out; printf "two  words \\303\\244\\377 \\033[1m\\n" >&2; exec sleep 1000'
process_name = web_%(process_num)d
numprocs = 2
stdout_syslog = true
stderr_syslog = true
[program:tagged]
command = sh -c 'echo mine; exec sleep 1000'
stdout_syslog = true
syslog_tag = other
stdout_syslog_priority = local3.notice
"""


@pytest.fixture
def machine(supervisors: Supervisors) -> Iterator[Machine]:
    """With a journal, and a supervised daemon that writes to it."""
    need("journalctl")
    place = supervisors.place()
    with booted(place) as machine:
        machine.unit("journal.service", JOURNALD)
        machine.systemctl("start", "journal")
        wait_for(lambda: machine.run("test", "-S", "/run/systemd/journal/socket") == "")
        config = place / "s.conf"
        config.write_text(configuration(place, CONFIG, "logfile = syslog\nsyslog_target = journald\n"))
        variables = "".join(
            f'Environment="{name}={value}"\n' for name, value in environment(place, LANG="C.UTF-8").items()
        )
        command = " ".join([*daemon_command("supervise"), "--nodaemon", "-c", str(config)])
        machine.unit(
            "us.service",
            f"[Service]\nType=notify\n{variables}ExecStart={command}\nStandardOutput=append:{place}/output\n",
        )
        assert not machine.systemctl("start", "us", check=False), (place / "output").read_text()
        yield machine
        machine.systemctl("stop", "us", check=False)


def entries(machine: Machine, *matches: str) -> list[dict[str, Any]]:
    """What journalctl finds; a value that is not UTF-8 is a list of numbers."""
    said = machine.run("journalctl", "--no-pager", "--quiet", "--output=json", *matches)
    return [json.loads(line) for line in said.splitlines()]


def test_journalctl_finds_lines_by_their_program(machine: Machine) -> None:
    found = wait_for(lambda: len(out := entries(machine, "SUPERVISE_STREAM=stdout")) == 3 and out, "three lines")
    lines = {each["SUPERVISE_PROCESS"]: each for each in found}
    assert set(lines) == {"web_0", "web_1", "tagged"}
    for name in ("web_0", "web_1"):
        line = lines[name]
        assert (line["MESSAGE"], line["SUPERVISE_PROGRAM"], line["SUPERVISE_GROUP"]) == ("out", "web", "web")
        assert line["SYSLOG_PID"] == line["OBJECT_PID"] != line["_PID"], "its pid, though we write"
        assert line["_SYSTEMD_UNIT"] == "us.service"
    assert lines["web_0"]["SYSLOG_PID"] != lines["web_1"]["SYSLOG_PID"]
    assert [lines["tagged"][f] for f in ("SYSLOG_IDENTIFIER", "SYSLOG_FACILITY", "PRIORITY")] == ["other", "19", "5"]
    [error] = wait_for(lambda: entries(machine, "SUPERVISE_PROCESS=web_0", "SUPERVISE_STREAM=stderr"))
    assert bytes(error["MESSAGE"]) == "two  words ä".encode() + b"\xff \x1b[1m", "byte for byte"


def test_the_main_log_is_there_with_its_levels(machine: Machine) -> None:
    wait_for(lambda: any("spawned: 'web_0' with pid" in str(each["MESSAGE"]) for each in entries(machine)))
    [critical] = [each for each in entries(machine, "PRIORITY=2") if "running as root" in str(each["MESSAGE"])]
    assert critical["_SYSTEMD_UNIT"] == "us.service"
