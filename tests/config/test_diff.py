from collections.abc import Callable
from typing import Any

import pytest

from supervise.config.declare import Change
from supervise.config.diff import Diff, changes, classify, diff, of_the_daemon, same_frame
from supervise.config.load import Examination
from supervise.config.model import AUTO, AutoRestart, GroupConfig, ProgramConfig, SocketConfig
from supervise.config.sections import options_of
from supervise.config.values import StopScope, UserEnv

Look = Callable[..., Examination]


def process(**options: Any) -> ProgramConfig:
    return ProgramConfig(**{"name": "a", "group_name": "a", "command": "x", **options})


def group(name: str, *processes: ProgramConfig, **options: Any) -> GroupConfig:
    return GroupConfig(name=name, processes=processes, **options)


def test_names_of_groups() -> None:
    old = [group("kept"), group("gone"), group("other", priority=1)]
    new = [group("new"), group("other"), group("kept"), group("new")]
    assert diff(old, new) == Diff(added=("new",), changed=("other",), removed=("gone",))
    assert not diff(new, new)
    assert diff(old, new)


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        (process(), process(), True),
        (process(), process(command="y"), False),
        (process(), process(stdout_logfile="/x"), False),
        (process(stderr_logfile="/x"), process(stderr_logfile=AUTO), True),  # a new AUTO is not compared
        (process(stdout_logfile="/x"), process(stdout_logfile="/y"), False),
        (process(), process(stdout_logfile=None), False),
        (process(stdout_logfile=None), process(), True),
        (process(environment=(("A", "1"),)), process(environment=(("A", "2"),)), False),
        (process(user="root", uid=0), process(user="0", uid=0), True),
        (process(), process(process_num=5, program="b"), True),
    ],
)
def test_what_counts_as_changed(old: ProgramConfig, new: ProgramConfig, same: bool) -> None:
    assert (not diff([group("g", old)], [group("g", new)])) is same


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (group("g"), group("g", kind="pool")),
        (group("g", kind="pool"), group("g", kind="pool", events=("TICK_5",))),
        (group("g", kind="pool"), group("g", kind="pool", buffer_size=5)),
        (group("g", process()), group("g", process(), process(name="b"))),
        (group("g", process(), process(name="b")), group("g", process(name="b"), process())),
        (group("g", socket=SocketConfig(path="/x")), group("g")),
    ],
)
def test_what_counts_as_a_changed_group(old: GroupConfig, new: GroupConfig) -> None:
    assert diff([old], [new]).changed == ("g",)


def test_when_members_can_be_changed_one_by_one() -> None:
    socket = SocketConfig(path="/x")
    assert same_frame(group("g", process()), group("g", priority=1))
    assert not same_frame(group("g"), group("g", kind="fcgi", socket=socket))
    assert not same_frame(group("g", kind="fcgi", socket=socket), group("g", kind="fcgi"))


@pytest.mark.parametrize(
    ("options", "change"),
    [
        ({}, Change.NOTHING),
        ({"priority": 1, "stopsignal": 2, "stop_scope": StopScope.TREE}, Change.LIVE),
        ({"stdout_logfile": "/x", "stderr_syslog": True, "autorestart": AutoRestart.ALWAYS}, Change.LIVE),
        ({"startsecs": 5}, Change.NEXT_START),
        ({"autostart": False, "priority": 1}, Change.NEXT_START),
        ({"command": "y"}, Change.RESTART),
        ({"uid": 5}, Change.RESTART),
        ({"gid": 5, "priority": 1}, Change.RESTART),
        ({"kind": "eventlistener"}, Change.RESTART),
        ({"user_env": UserEnv.SET}, Change.RESTART),
        ({"environment": (("A", "b"),)}, Change.RESTART),
        ({"redirect_stderr": True}, Change.RESTART),
    ],
)
def test_what_a_change_asks_for(options: dict[str, Any], change: Change) -> None:
    assert classify(process(), process(**options)) is change


def test_changed_fields_are_named() -> None:
    assert list(changes(process(), process(command="y", priority=1))) == [
        ("command", Change.RESTART),
        ("priority", Change.LIVE),
    ]


def test_every_option_says_what_its_change_asks_for() -> None:
    assert {option.changed for option in options_of("program").values()} == set(Change) - {Change.NOTHING}


def test_more_processes_leave_the_others_alone(look: Look) -> None:
    text = "[program:w]\ncommand=x %(process_num)d\nprocess_name=%(process_num)02d\nnumprocs={}"
    four, six = look(text.format(4)).config, look(text.format(6)).config
    assert four
    assert six
    assert diff(four.groups, six.groups).changed == ("w",)
    before, after = ({p.name: p for p in found.groups[0].processes} for found in (four, six))
    assert {classify(before[name], after[name]) for name in before} == {Change.NOTHING}
    assert sorted(after.keys() - before.keys()) == ["04", "05"]


def test_a_common_variable_changes_every_group(look: Look) -> None:
    programs = "[program:a]\ncommand=x\n[program:b]\ncommand=y\n[supervisord]\nenvironment=A={}\nloglevel={}"
    old, new, loud = (look(programs.format(*facts)).config for facts in [("1", "info"), ("2", "info"), ("1", "debug")])
    assert old
    assert new
    assert loud
    assert diff(old.groups, new.groups).changed == ("a", "b")
    assert of_the_daemon(old, new) == [], "with that, it is in force"
    assert not diff(old.groups, loud.groups)


def test_what_an_update_does_not_touch(look: Look) -> None:
    unix = "[unix_http_server]\nfile = /run/x.sock\n"
    inet = "[inet_http_server]\nport = 127.0.0.1:9\n"
    old, same, new = (
        look(text).config
        for text in (
            f"[supervisord]\n{unix}",
            f"[supervisord]\n{unix}[program:a]\ncommand = a\n",
            f"[supervisord]\nloglevel = debug\nminfds = 99\n{unix}chmod = 0770\n{inet}",
        )
    )
    assert old
    assert same
    assert new
    assert of_the_daemon(old, same) == []
    wanted = ["[inet_http_server]", "[supervisord] loglevel", "[supervisord] minfds", "[unix_http_server] chmod"]
    assert of_the_daemon(old, new) == wanted
