import dataclasses

import pytest

from supervise.config.document import KINDS
from supervise.config.model import ProgramConfig
from supervise.config.sections import DECLARATIONS, options_of

PROGRAM_OPTIONS = [
    "command",
    "process_name",
    "numprocs",
    "numprocs_start",
    "priority",
    "autostart",
    "autorestart",
    "startsecs",
    "startretries",
    "exitcodes",
    "stopsignal",
    "stopwaitsecs",
    "stopasgroup",
    "killasgroup",
    "user",
    "redirect_stderr",
    "stdout_logfile",
    "stdout_logfile_maxbytes",
    "stdout_logfile_backups",
    "stdout_capture_maxbytes",
    "stdout_events_enabled",
    "stdout_syslog",
    "stderr_logfile",
    "stderr_logfile_maxbytes",
    "stderr_logfile_backups",
    "stderr_capture_maxbytes",
    "stderr_events_enabled",
    "stderr_syslog",
    "environment",
    "directory",
    "umask",
    "serverurl",
]
OWN = ["type", "on_exit", "on_fatal", "group", "stop_scope", "user_env", "sockets"]
OWN += ["stdout_syslog_priority", "stderr_syslog_priority", "syslog_target", "syslog_format", "syslog_tag"]
ACCESS = [
    "admin_users",
    "control_users",
    "read_users",
    "admin_groups",
    "control_groups",
    "read_groups",
    "pam_service",
    "get_actions",
]
TLS = ["ca", "certfile", "keyfile"]
POOL = ["on_protocol_error", "event_length"]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("program", PROGRAM_OPTIONS + OWN),
        ("eventlistener", [*PROGRAM_OPTIONS, *OWN, "buffer_size", "events", "result_handler", *POOL]),
        ("fcgi-program", [*PROGRAM_OPTIONS, *OWN, "socket", "socket_backlog", "socket_owner", "socket_mode"]),
        ("socket", ["address", "backlog", "owner", "mode", "reuse_port"]),
        ("group", ["programs", "priority"]),
        ("user", ["password", "role"]),
        ("include", ["files"]),
        ("unix_http_server", ["file", "chmod", "chown", "username", "password", *ACCESS]),
        ("inet_http_server", ["port", "username", "password", *ACCESS, "certfile", "keyfile", "client_ca"]),
        ("supervisorctl", ["serverurl", "username", "password", "prompt", "history_file", *TLS]),
        ("rpcinterface", ["supervisor.rpcinterface_factory"]),
        ("ctlplugin", ["supervisor.ctl_factory"]),
    ],
)
def test_every_option_of_supervisord_and_ours(kind: str, options: list[str]) -> None:
    assert sorted(options_of(kind)) == sorted(options)


def test_every_kind_has_options_with_a_sentence() -> None:
    for kind in KINDS:
        assert options_of(kind)
        for option in options_of(kind).values():
            assert option.doc[0].isupper() or option.doc.split()[0].islower()
            assert option.doc.endswith(".")


def test_required_options_come_first() -> None:
    assert next(iter(options_of("program"))) == "command"


def test_values_are_frozen() -> None:
    for declaration in DECLARATIONS:
        assert dataclasses.fields(declaration)
    config = ProgramConfig(name="a", group_name="a", command="x")
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.name = "b"
