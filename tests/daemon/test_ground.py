"""What is decided before the loop. (What becomes of it: test_main.py, e2e/test_survival.py.)"""

import os
from pathlib import Path

import pytest

from supervise.config.model import Config, DaemonConfig
from supervise.daemon.ground import background, in_container, report_refusal, started_by_systemd, wants_keeper
from supervise.system.handover import Handover
from tests.tools import need_root


@pytest.mark.parametrize(
    ("nodaemon", "environ", "pid", "expected"),
    [
        (False, {}, 500, True),
        (True, {}, 500, False),
        (False, {}, 1, False),
        (False, {"NOTIFY_SOCKET": "/run/systemd/notify"}, 500, False),
        (False, {"INVOCATION_ID": "x"}, 500, True),  # Type=forking wants it to go away
    ],
)
def test_when_to_go_into_the_background(nodaemon: bool, environ: dict[str, str], pid: int, expected: bool) -> None:
    config = Config(daemon=DaemonConfig(nodaemon=nodaemon), file="/x", here="/")
    assert background(config, environ, pid) is expected


@pytest.mark.parametrize(
    ("environ", "pid", "parent", "expected"),
    [
        ({}, 500, 1, False),
        ({"NOTIFY_SOCKET": "/run/systemd/notify"}, 500, 400, True),
        ({"INVOCATION_ID": "x"}, 500, 1, True),  # Type=forking
        ({"INVOCATION_ID": "x", "SYSTEMD_EXEC_PID": "500"}, 500, 400, True),  # in a unit of a user's manager
        ({"INVOCATION_ID": "x", "SYSTEMD_EXEC_PID": "300"}, 500, 400, False),  # in a shell of a desktop
    ],
)
def test_who_is_a_service(environ: dict[str, str], pid: int, parent: int, expected: bool) -> None:
    assert started_by_systemd(environ, pid, parent) is expected


def test_what_is_a_container() -> None:
    assert in_container({}, 1)
    assert in_container({"container": "podman"}, 500)
    assert not in_container({"container": ""}, 500)


@pytest.mark.parametrize(
    ("respawn", "foreground", "service", "pid", "expected"),
    [
        (None, False, False, 500, True),
        (None, True, False, 500, False),
        (True, True, False, 500, True),
        (False, False, False, 500, False),
        (True, True, True, 500, False),
        (None, False, True, 500, False),
        (True, True, False, 1, False),
    ],
)
def test_who_has_a_keeper(respawn: bool | None, foreground: bool, service: bool, pid: int, expected: bool) -> None:
    assert wants_keeper(respawn, foreground, service, pid) is expected


def test_a_refusal_is_said_where_the_log_is(tmp_path: Path) -> None:
    main_log = tmp_path / "main.log"
    handover = Handover({}, {"log": str(main_log)})
    report_refusal(handover, "Error: nothing\nFor help, use supervise -h\n")
    assert not main_log.exists(), "a log is not made for that"
    main_log.write_text("before\n")
    report_refusal(handover, "Error: one\ntwo\nFor help, use supervise -h\n")
    report_refusal(Handover(), "Error: x\nFor help, use supervise -h\n")
    lines = main_log.read_text().splitlines()
    assert lines[0] == "before"
    assert [line.split(",000 ", 1)[1] for line in lines[1:]] == [
        "CRIT cannot start again: Error: one",
        "CRIT cannot start again: two",
    ]


def test_a_refusal_is_not_said_where_somebody_else_has_put_a_link(tmp_path: Path) -> None:
    need_root()
    (tmp_path / "precious").write_text("")
    (tmp_path / "log").mkdir()
    os.chown(tmp_path / "log", 12345, -1)
    (tmp_path / "log" / "main.log").symlink_to(tmp_path / "precious")
    report_refusal(
        Handover({}, {"log": str(tmp_path / "log" / "main.log")}), "Error: one\nFor help, use supervise -h\n"
    )
    assert (tmp_path / "precious").read_text() == ""
