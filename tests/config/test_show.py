import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from supervise.config.load import Examination
from supervise.config.model import GroupConfig, ProgramConfig, ServerConfig, SocketConfig
from supervise.config.show import as_json, group_values, program_values, server_values

Look = Callable[..., Examination]
PROCESS = ProgramConfig(name="a", group_name="g", command="sh -c 'x'")


def test_a_process_under_supervisords_names() -> None:
    shown = program_values(replace(PROCESS, environment=(("A", "b"),), uid=5))
    assert (shown["name"], shown["namespec"], shown["argv"], shown["uid"]) == ("a", "g:a", ["sh", "-c", "x"], 5)
    assert (shown["autorestart"], shown["stopsignal"], shown["stopsignal_name"]) == ("unexpected", 15, "SIGTERM")
    assert (shown["environment"], shown["exitcodes"], shown["stop_scope"]) == ({"A": "b"}, [0], "process")


@pytest.mark.parametrize(("number", "name"), [(9, "SIGKILL"), (0, "signal 0")])
def test_names_of_signals(number: int, name: str) -> None:
    assert program_values(replace(PROCESS, stopsignal=number))["stopsignal_name"] == name


def test_a_command_that_cannot_be_split() -> None:
    assert program_values(replace(PROCESS, command="sh '"))["argv"] is None


def test_groups() -> None:
    pool = GroupConfig(name="p", kind="pool", events=("TICK_5",))
    assert group_values(pool) == {
        "class": "EventListenerPoolConfig",
        "name": "p",
        "priority": 999,
        "buffer_size": 10,
        "buffer_limit": 1000,
        "pool_events": ["TICK_5"],
        "result_handler": "supervisor.dispatchers:default_handler",
        "on_protocol_error": "restart",
        "event_length": "auto",
        "processes": [],
    }
    tcp = SocketConfig(host="h", port=1)
    assert group_values(GroupConfig(name="f", kind="fcgi", socket=tcp))["socket"] == {
        "url": "tcp://h:1",
        "backlog": None,
        "host": "h",
        "port": 1,
    }
    unix = SocketConfig(path="/x", mode=0o700, owner=(1, 2))
    assert group_values(GroupConfig(name="f", kind="fcgi", socket=unix))["socket"] == {
        "url": "unix:///x",
        "backlog": None,
        "path": "/x",
        "mode": 0o700,
        "owner": [1, 2],
    }


def test_servers_without_passwords() -> None:
    unix = ServerConfig(kind="unix", section="unix_http_server", file="/x", username="u", password="secret")
    assert server_values(unix) == {
        "section": "unix_http_server",
        "name": None,
        "family": "AF_UNIX",
        "file": "/x",
        "chmod": 0o700,
        "chown": [-1, -1],
        "username": "u",
        "password": "********",
    }


def test_what_supervisord_does_not_have_is_shown_where_it_is_set() -> None:
    unix = ServerConfig(kind="unix", section="unix_http_server", file="/x", read_groups=(50,))
    assert server_values(unix)["read_groups"] == [50]
    assert "admin_groups" not in server_values(unix)


def test_everything_is_json_and_says_where_it_is_from(look: Look) -> None:
    found = look(
        """
        [supervisord]
        [supervisorctl]
        password=secret
        [inet_http_server]
        port=9001
        username=u
        password=secret
        [program:a]
        command=x
        [rpcinterface:supervisor]
        supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
        """
    )
    assert found.config
    text = json.dumps(as_json(found.config))
    assert "secret" not in text
    shown = json.loads(text)
    assert shown["origins"]["program:a"] == {"command": f"{found.config.file}:10"}
    assert shown["supervisord"]["uid"] is None
    assert shown["supervisorctl"]["serverurl"] == "http://localhost:9001"
    assert [plugin["name"] for plugin in shown["rpcinterfaces"]] == ["supervisor"]
    assert [group["name"] for group in shown["groups"]] == ["a"]
