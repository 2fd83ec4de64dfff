from collections.abc import Callable

import pytest

from supervise.config.declare import Change
from supervise.config.diff import classify, diff
from supervise.config.load import Examination
from supervise.config.model import GroupConfig, ProgramConfig, SocketConfig, SyslogFormat
from supervise.config.show import as_json

Look = Callable[..., Examination]

INI = """
[socket:web]
address = [::1]:8000
backlog = 64
reuse_port = true

[socket:admin]
address = unix:%(here)s/a.sock
owner = alice:www-data
mode = 0660

[program:app]
command = x
sockets = web, admin
"""
TOML = """
[socket.web]
address = "[::1]:8000"
backlog = 64
reuse_port = true

[socket.admin]
address = "%(here)s/a.sock"
owner = "alice:www-data"
mode = "0660"

[program.app]
command = "x"
sockets = ["web", "admin"]
"""


def program(found: Examination) -> ProgramConfig:
    assert not found.errors, found.errors
    assert found.config
    return found.config.groups[0].processes[0]


@pytest.mark.parametrize(("text", "name"), [(INI, "s.conf"), (TOML, "s.toml")])
def test_sockets_in_both_forms(look: Look, text: str, name: str) -> None:
    found = look(text, name)
    app = program(found)
    assert found.config
    assert app.sockets == ("web", "admin")
    assert app.listening == found.config.sockets
    assert app.listening == (
        SocketConfig(name="web", host="::1", port=8000, backlog=64, reuse_port=True),
        SocketConfig(name="admin", path=f"{found.config.here}/a.sock", owner=(1000, 33), mode=0o660),
    )
    shown = as_json(found.config)
    assert shown["sockets"][0] == {
        "name": "web",
        "url": "tcp://[::1]:8000",
        "backlog": 64,
        "host": "::1",
        "port": 8000,
        "reuse_port": True,
    }
    assert shown["groups"][0]["processes"][0]["sockets"] == ["web", "admin"]


def test_a_port_alone_in_toml(look: Look) -> None:
    assert program(look('[socket.w]\naddress = 8000\n[program.a]\ncommand="x"\nsockets=["w"]', "s.toml")).listening == (
        SocketConfig(name="w", port=8000),
    )


@pytest.mark.parametrize(
    ("text", "line", "option", "message"),
    [
        ("[socket:w]\n", 1, "", "section [socket:w] has no address value"),
        ("[socket:w]\naddress=x", 2, "address", "no port number specified in 'x'"),
        ("[socket:w]\naddress=x:99999", 2, "address", "99999 is above upper bound"),
        ("[socket:w]\naddress=x:1\nbacklog=0", 3, "backlog", "0 is not between 1 and 65535"),
        ("[socket:w]\naddress=x:1\nmode=0700", 3, "mode", "only a socket with a path has this option"),
        ("[socket:w]\naddress=x:1\nowner=alice", 3, "owner", "only a socket with a path has this option"),
        ("[socket:w]\naddress=/x\nreuse_port=1", 3, "reuse_port", "only a socket at a port has this option"),
        ("[socket:w]\naddress=/x\nowner=bob", 3, "owner", "Invalid user:group definition bob: Invalid user name bob"),
        ("[socket:w x]\naddress=/x", 1, "", "Invalid name: 'w x'"),
        (
            "[socket:web]\naddress=/x\n[program:a]\ncommand=x\nsockets=wep",
            5,
            "sockets",
            "unknown socket 'wep'; did you mean web?",
        ),
        ("[program:a]\ncommand=x\nsockets=v", 3, "sockets", "unknown socket 'v'; there is no [socket:v]"),
        ("[socket:w]\naddress=/x\n[program:a]\ncommand=x\nsockets=w,w", 5, "sockets", "socket w is named twice"),
    ],
)
def test_mistakes(look: Look, text: str, line: int, option: str, message: str) -> None:
    found = look(text)
    (error,) = found.errors
    assert (error.line, error.option) == (line, option)
    assert message in error.message


def test_a_wrong_socket_is_told_once(look: Look) -> None:
    (error,) = look("[socket:w]\naddress=x\n[program:a]\ncommand=x\nsockets=w").errors
    assert error.section == "socket:w"


def test_too_many(look: Look) -> None:
    sections = "".join(f"[socket:s{n}]\naddress=/x{n}\n" for n in range(33))
    names = ",".join(f"s{n}" for n in range(33))
    (error,) = look(f"{sections}[program:a]\ncommand=x\nsockets={names}").errors
    assert error.message == "33 sockets are more than 32"


def test_warnings(look: Look) -> None:
    found = look("[socket:a]\naddress=x:1\n[socket:b]\naddress=x:1\n[program:p]\ncommand=x\nsockets=a\n[group:x]\n")
    said = [(warning.section, warning.message) for warning in found.warnings]
    assert ("socket:b", "[socket:a] is at the same address") in said
    assert ("socket:b", "no program names this socket: it is never opened") in said


def test_a_changed_socket_restarts_whoever_has_it(look: Look) -> None:
    old = program(look("[socket:w]\naddress=x:1\n[program:a]\ncommand=x\nsockets=w"))
    new = program(look("[socket:w]\naddress=x:1\nbacklog=5\n[program:a]\ncommand=x\nsockets=w"))
    assert classify(old, new) is Change.RESTART
    assert diff([GroupConfig(name="a", processes=(old,))], [GroupConfig(name="a", processes=(new,))]).changed == ("a",)


def test_syslog_of_programs_is_that_of_the_daemon_unless_they_say(look: Look) -> None:
    found = look(
        """
        [supervisord]
        syslog_target = udp://loghost
        syslog_format = rfc5424
        [program:a]
        command = x
        stdout_syslog = true
        stderr_syslog_priority = daemon.err
        [program:b]
        command = x
        stderr_logfile = syslog
        syslog_target = journald
        syslog_tag = b%(process_num)d
        [program:c]
        command = x
        """
    )
    assert found.config
    a, b, c = (group.processes[0] for group in found.config.groups)
    assert (a.syslog_target, a.syslog_format) == ("udp://loghost:514", SyslogFormat.RFC5424)
    assert (a.stdout_syslog_priority, a.stderr_syslog_priority) == ("user.info", "daemon.err")
    assert (b.stderr_syslog, b.syslog_target, b.syslog_tag) == (True, "journald:/run/systemd/journal/socket", "b0")
    assert c.syslog_target == "unix:/dev/log", "it sends nothing, so nothing about it changes with the daemon's"
