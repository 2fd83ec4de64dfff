"""The environment that a child is given."""

import os
import pwd
from typing import Any

import pytest

from supervise.config.model import ProgramConfig, UserEnv
from supervise.system.environment import encoded, environment, variable

BASE = {
    **{"PATH": "/bin", "HOME": "/root", "USER": "root", "LC_ALL": "C", "SECRET": "1", "NOTIFY_SOCKET": "/run/x"},
    **{"WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "LISTEN_FDS": "1", "LISTEN_PID": "1", "LISTEN_FDNAMES": "a"},
}


def env(url: str | None = None, **options: Any) -> dict[str, str]:
    config = ProgramConfig(name="web-0", group_name="web", command="cat", **options)
    return environment(config, BASE, url)


def test_the_names_of_supervisord() -> None:
    found = env("unix:///run/s.sock")
    assert {name: value for name, value in found.items() if name.startswith("SUPERVISOR_")} == {
        "SUPERVISOR_ENABLED": "1",
        "SUPERVISOR_SERVER_URL": "unix:///run/s.sock",
        "SUPERVISOR_PROCESS_NAME": "web-0",
        "SUPERVISOR_GROUP_NAME": "web",
    }


def test_no_url_without_a_server_and_the_programs_own_before_the_daemons() -> None:
    assert "SUPERVISOR_SERVER_URL" not in env()
    assert env("unix:///a", serverurl="http://other")["SUPERVISOR_SERVER_URL"] == "http://other"
    assert "SUPERVISOR_SERVER_URL" not in env("unix:///a", serverurl="")


def test_configured_names_win_over_all() -> None:
    found = env(environment=(("HOME", "/mine"), ("SUPERVISOR_GROUP_NAME", "odd")), uid=0, user_env=UserEnv.SET)
    assert (found["HOME"], found["SUPERVISOR_GROUP_NAME"]) == ("/mine", "odd")


def test_what_our_manager_told_us_is_not_for_children() -> None:
    assert not {name for name in env() if name.startswith(("NOTIFY_", "WATCHDOG_", "LISTEN_"))}


def test_keep_changes_nothing() -> None:
    found = env(uid=pwd.getpwnam("nobody").pw_uid)
    assert (found["HOME"], found["USER"], found["SECRET"]) == ("/root", "root", "1")


def test_set_takes_the_users() -> None:
    nobody = pwd.getpwnam("nobody")
    found = env(uid=nobody.pw_uid, user_env=UserEnv.SET)
    assert (found["USER"], found["LOGNAME"], found["SECRET"]) == ("nobody", "nobody", "1")
    assert (found["HOME"], found["SHELL"]) == (nobody.pw_dir, nobody.pw_shell)


def test_clean_keeps_path_and_locale_only() -> None:
    found = env(uid=pwd.getpwnam("nobody").pw_uid, user_env=UserEnv.CLEAN)
    assert {name for name in found if not name.startswith("SUPERVISOR_")} == {
        *("PATH", "LC_ALL", "HOME", "USER", "LOGNAME", "SHELL"),
    }


def test_set_without_a_user_is_our_own() -> None:
    assert env(user_env=UserEnv.SET)["USER"] == pwd.getpwuid(os.geteuid()).pw_name


def test_a_number_without_a_name() -> None:
    found = env(uid=54321, user_env=UserEnv.SET)
    assert (found["USER"], found["HOME"], found["SHELL"]) == ("54321", "/", "/bin/sh")


def test_words_as_execve_takes_them() -> None:
    assert encoded("ä\udcff") == b"\xc3\xa4\xff"
    assert variable("\udcfe", "a=b") == b"\xfe=a=b"


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [("A\0", "", "null byte"), ("A", "\0", "null byte"), ("A=B", "", "illegal"), ("A", "\ud800", "surrogates")],
)
def test_what_no_program_could_be_told(name: str, value: str, why: str) -> None:
    for _ in range(2):  # an error is not remembered as an answer
        with pytest.raises(ValueError, match=why):
            variable(name, value)
