"""The whole pipeline; above all what it says about what is wrong."""

import grp
import pwd
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supervise.config.load import Examination, examine, load, load_ctl
from supervise.config.machine import Machine
from supervise.config.problems import MachineError
from supervise.errors import ConfigErrors

Look = Callable[..., Examination]
Write = Callable[..., Path]

BAD_PROGRAMS = [
    ("", "", "program section program:x does not specify a command"),
    ("command=y\nautostart=maybe", "autostart", "not a valid boolean value: 'maybe'"),
    ("command=y\nautorestart=maybe", "autorestart", "invalid 'autorestart' value 'maybe'"),
    ("command=y\nstartsecs=3]", "startsecs", "invalid literal for int() with base 10: '3]'"),
    ("command=y\nexitcodes=0,999", "exitcodes", "not a valid list of exit codes: '0,999'"),
    ("command=y\nstopsignal=NOPE", "stopsignal", "value 'NOPE' is not a valid signal name"),
    ("command=y\nstopsignal=999", "stopsignal", "value '999' is not a valid signal number"),
    ("command=y\numask=9", "umask", "9 can not be converted to an octal type"),
    (
        "command=y\nstdout_logfile_maxbytes=5M",
        "stdout_logfile_maxbytes",
        "invalid literal for int() with base 10: '5m'",
    ),
    (
        "command=y\nstopasgroup=true\nkillasgroup=false",
        "killasgroup",
        "Cannot set stopasgroup=true and killasgroup=false",
    ),
    ("command=y\nnumprocs=2", "process_name", "%(process_num) must be present within process_name when numprocs > 1"),
    ("command=y\nnumprocs=99999\nprocess_name=%(process_num)d", "numprocs", "99999 is above upper bound (10000)"),
    ("command=y\nprocess_name=a b", "process_name", "Invalid name: 'a b' because of character: ' '"),
    ("command=y\nprocess_name=a:b", "process_name", "Invalid name: 'a:b' because of character: ':'"),
    ("command=y\nprocess_name=", "process_name", "Invalid name: '' is empty"),
    (
        "command=y\nenvironment=A=b C=d",
        "environment",
        "Unexpected end of key/value pairs in value 'A=********': at character 5",
    ),
    ("command=%(nope)s", "command", "Format string '%(nope)s' for 'program:x.command' contains names ('nope')"),
    ("command=y %Y", "command", "Format string 'y %Y' for 'program:x.command' is badly formatted: unsupported format"),
    ("command=y\nenvironment=A=%(b)s", "environment", "Format string 'A=%(b)s' for 'environment' contains names ('b')"),
    ("command=y\nprocess_name=%(b)s", "process_name", "Format string '%(b)s' for 'process_name' contains names ('b')"),
    ("command=y\nstop_scope=all", "stop_scope", "expected process, group, tree, not 'all'"),
    ("command=y\nuser_env=all", "user_env", "expected keep, set, clean, not 'all'"),
]

BAD_FILES = [
    ("[program:a b]\ncommand=x", "program:a b", "", "Invalid name: 'a b' because of character: ' '"),
    ("[program:a/b]\ncommand=x", "program:a/b", "", "Invalid name: 'a/b' because of character: '/'"),
    ("[program:]\ncommand=x", "program:", "", "Invalid name: '' is empty"),
    ("[group:a:b]\nprograms=", "group:a:b", "", "Invalid name: 'a:b' because of character: ':'"),
    (
        "[program:web]\ncommand=x\n[group:g]\nprograms=wab",
        "group:g",
        "programs",
        "[group:g] names unknown program or fcgi-program wab; did you mean web?",
    ),
    (
        "[program:a]\ncommand=x\n[fcgi-program:a]\ncommand=x\nsocket=tcp://a:1\n[group:g]\nprograms=a",
        "group:g",
        "programs",
        "[group:g] name a is ambiguous (exists as program and fcgi-program)",
    ),
    (
        "[eventlistener:l]\ncommand=x",
        "eventlistener:l",
        "events",
        '[eventlistener:l] section requires an "events" line',
    ),
    (
        "[eventlistener:l]\ncommand=x\nevents=TOCK_5",
        "eventlistener:l",
        "events",
        "Unknown event type TOCK_5 in [eventlistener:l] events; did you mean TICK_5?",
    ),
    (
        "[eventlistener:l]\ncommand=x\nevents=EVENT\nbuffer_size=0",
        "eventlistener:l",
        "buffer_size",
        "[eventlistener:l] section sets invalid buffer_size (0)",
    ),
    (
        "[eventlistener:l]\ncommand=x\nevents=EVENT\nredirect_stderr=true",
        "eventlistener:l",
        "redirect_stderr",
        "[eventlistener:l] section sets redirect_stderr=true but this is not allowed because it will interfere with the"
        " eventlistener protocol",
    ),
    ("[fcgi-program:f]\ncommand=x", "fcgi-program:f", "socket", '[fcgi-program:f] section requires a "socket" line'),
    (
        "[fcgi-program:f]\ncommand=x\nsocket=nope",
        "fcgi-program:f",
        "socket",
        "Bad socket format nope in [fcgi-program:f] socket",
    ),
    (
        "[fcgi-program:f]\ncommand=x\nsocket=tcp://h:0",
        "fcgi-program:f",
        "socket",
        "0 is below lower bound (1) in [fcgi-program:f] socket",
    ),
    (
        "[fcgi-program:f]\ncommand=x\nsocket=unix://rel",
        "fcgi-program:f",
        "socket",
        "Unix socket path rel is not an absolute path in [fcgi-program:f] socket",
    ),
    (
        "[fcgi-program:f]\ncommand=x\nsocket=tcp://h:1\nsocket_mode=0700",
        "fcgi-program:f",
        "socket",
        "socket_owner and socket_mode params should only be used with a Unix domain socket in [fcgi-program:f] socket",
    ),
    (
        "[fcgi-program:f]\ncommand=x\nsocket=unix:///x\nsocket_mode=9",
        "fcgi-program:f",
        "socket_mode",
        "Invalid socket_mode value 9: 9 can not be converted to an octal type",
    ),
    (
        "[fcgi-program:f]\ncommand=x\nsocket=unix:///x\nsocket_backlog=0",
        "fcgi-program:f",
        "socket_backlog",
        "Invalid socket_backlog value 0",
    ),
    ("[unix_http_server]\n", "unix_http_server", "", "section [unix_http_server] has no file value"),
    ("[unix_http_server]\nfile=/x\nchmod=9", "unix_http_server", "chmod", "Invalid chmod value 9: 9 can not be"),
    ("[inet_http_server]\n", "inet_http_server", "", "section [inet_http_server] has no port value"),
    ("[inet_http_server]\nport=x", "inet_http_server", "port", "not a valid port number: 'x'"),
    (
        "[inet_http_server]\nport=1\nusername=u",
        "inet_http_server",
        "username",
        "Section [inet_http_server] contains incomplete authentication: If a username or a password is specified, both"
        " the username and password must be specified",
    ),
    ("[inet_http_server]\nport=1\npassword=u", "inet_http_server", "password", "Section [inet_http_server] contains"),
    ("[supervisord]\nloglevel=loud", "supervisord", "loglevel", "bad logging level name 'loud'"),
    ("[supervisord]\nminfds=many", "supervisord", "minfds", "invalid literal for int() with base 10: 'many'"),
    (
        "[supervisord]\nlogfile=%(program_name)s",
        "supervisord",
        "logfile",
        "Format string '%(program_name)s' for 'supervisord.logfile' contains names ('program_name') which cannot be"
        " expanded. Available names: ENV_COLOR, ENV_HOME, here",
    ),
    (
        "[rpcinterface:x]\n",
        "rpcinterface:x",
        "",
        "section [rpcinterface:x] does not specify a supervisor.rpcinterface_factory",
    ),
]

BOUND_TO_THE_MACHINE = [
    ("[program:x]\ncommand=y\nuser=bob", "user", "Invalid user name bob"),
    ("[program:x]\ncommand=y\nuser=77", "user", "Invalid user id 77"),
    (
        "[program:x]\ncommand=y\nstdout_logfile=/no/such/x.log",
        "stdout_logfile",
        "The directory named as part of the path /no/such/x.log does not exist",
    ),
    ("[supervisord]\nuser=bob", "user", "Invalid user name bob"),
    ("[supervisord]\nlogfile=/no/such/x.log", "logfile", "The directory named as part of the path /no/such/x.log does"),
    ("[supervisord]\ndirectory=/no/such", "directory", "/no/such is not an existing directory"),
    ("[supervisord]\nchildlogdir=/no/such", "childlogdir", "/no/such is not an existing directory"),
    ("[unix_http_server]\nfile=/x\nchown=bob", "chown", "Invalid sockchown value bob"),
    (
        "[fcgi-program:f]\ncommand=x\nsocket=unix:///x\nsocket_owner=bob",
        "socket_owner",
        "Invalid socket_owner value bob",
    ),
    (
        "[rpcinterface:x]\nsupervisor.rpcinterface_factory=no.such:thing",
        "supervisor.rpcinterface_factory",
        "no.such:thing cannot be resolved within [rpcinterface:x]: No module named",
    ),
    (
        "[eventlistener:l]\ncommand=x\nevents=EVENT\nresult_handler=no.such:thing",
        "result_handler",
        "no.such:thing cannot be resolved within [eventlistener:l]: No module named",
    ),
]


def single(found: Examination) -> tuple[str, str, str]:
    (error,) = found.errors
    return error.section, error.option, error.message


@pytest.mark.parametrize(("options", "option", "message"), BAD_PROGRAMS)
def test_bad_programs(look: Look, options: str, option: str, message: str) -> None:
    found = look(f"[program:x]\n{options}")
    section, at, said = single(found)
    assert (section, at) == ("program:x", option)
    assert said.startswith(message)
    assert found.config is None


@pytest.mark.parametrize(("text", "section", "option", "message"), BAD_FILES)
def test_bad_files(look: Look, text: str, section: str, option: str, message: str) -> None:
    found = look(text)
    where, at, said = next(problem for problem in [(e.section, e.option, e.message) for e in found.errors])
    assert (where, at) == (section, option)
    assert said.startswith(message)
    assert found.config is None
    assert found.errors[0].line > 0


@pytest.mark.parametrize(("text", "option", "message"), BOUND_TO_THE_MACHINE)
def test_what_only_this_machine_lacks(look: Look, text: str, option: str, message: str) -> None:
    found = look(text)
    _, at, said = single(found)
    assert at == option
    assert said.startswith(message)
    assert isinstance(found.errors[0], MachineError)
    assert found.config is not None  # for check to look at


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[program.x]\ncommand = 5", "command: expected a command line, or a list of its words, not 5"),
        ('[program.x]\ncommand = "x"\nstartsecs = true', "startsecs: expected seconds, or a duration"),
        (
            '[program.x]\ncommand = "x"\numask = 18',
            'umask: expected an octal number as a string, such as "0700", not 18',
        ),
        ('[program.x]\ncommand = "x"\nenvironment = ["A=b"]', "environment: expected pairs such as"),
        ('[program.x]\ncommand = "x"\nuser = 1979-05-27', "user: expected text"),
        ("[program.x", "not valid TOML: "),
    ],
)
def test_bad_toml(look: Look, text: str, message: str) -> None:
    found = look(f"{text}\n", "supervise.toml")
    assert message in str(found.errors[0])
    assert re.match(r".*/supervise\.toml:\d+: ", str(found.errors[0]))


NUL = [
    ('[program.a]\ncommand="x"\nuser="\\u0000"', "user"),
    ('[program.a]\ncommand="x"\ndirectory="~\\u0000"', "directory"),
    ('[program.a]\ncommand="x"\nstdout_logfile="~\\u0000/x"', "stdout_logfile"),
    ('[program.a]\ncommand=["x", "\\u0000"]', "command"),
    ('[program.a]\ncommand="x%(process_num)c"', "command"),
    ('[program.a]\ncommand="x"\nenvironment={ A = "\\u0000" }', "environment"),
    ('[program.a]\ncommand="x"\nenvironment={ "A\\u0000" = "x" }', "environment"),
    ('[supervisord]\nuser="\\u0000"', "user"),
    ('[unix_http_server]\nfile="~\\u0000"', "file"),
    ('[unix_http_server]\nfile="x"\nchown="root:\\u0000"', "chown"),
]


@pytest.mark.parametrize(("text", "option"), NUL)
def test_no_value_holds_a_nul_byte(look: Look, text: str, option: str) -> None:
    """Every call of the system that got one would raise ValueError."""
    users = {"user_id": lambda name: pwd.getpwnam(name).pw_uid, "group_id": lambda name: grp.getgrnam(name).gr_gid}
    errors = look(text, "x.toml", **users).errors
    assert [(error.option, error.message) for error in errors] == [(option, "contains a NUL byte")]


def test_no_name_holds_one_either(look: Look) -> None:
    errors = look('[program."a\\u0000"]\ncommand="x"', "x.toml").errors
    assert [error.message for error in errors] == [r"Invalid name: 'a\x00' because of character: '\x00'"]


def test_all_problems_are_told_at_once_in_the_order_of_the_files(write: Write, machine: Machine) -> None:
    write("[program:b]\nautostart=x\n", "b.ini")
    main = write("[program:a]\nstartsecs=x\ncommand=y\nuser=bob\n[include]\nfiles=*.ini\n")
    with pytest.raises(ConfigErrors) as refused:
        load(main, machine)
    assert [(Path(e.file).name, e.line, e.option) for e in refused.value.problems] == [
        ("supervisord.conf", 0, ""),  # no [supervisord]
        ("supervisord.conf", 2, "startsecs"),
        ("supervisord.conf", 4, "user"),
        ("b.ini", 1, ""),
        ("b.ini", 2, "autostart"),
    ]
    assert refused.value.problems[0].message == ".ini file does not include supervisord section"


def test_unknown_names_warn_with_a_suggestion(look: Look) -> None:
    found = look(
        """
        [program:x]
        comand=y
        command=y
        depends_on=z
        username=alice
        [programm:y]
        [program]
        [supervisord:x]
        [whatever]
        [DEFAULT]
        anything=goes
        """
    )
    assert found.config
    assert [f"{w.section} {w.option}: {w.message}" for w in found.warnings] == [
        "program:x comand: unknown option; did you mean command?",
        "program:x depends_on: unknown option",
        "program:x username: unknown option; did you mean user?",
        "programm:y : unknown section; did you mean [program:y]?",
        "program : unknown section; did you mean [program:NAME]?",
        "supervisord:x : unknown section; did you mean [supervisord]?",
        "whatever : unknown section",
    ]


def test_defaults_reach_programs_and_not_plugins(look: Look) -> None:
    found = look(
        """
        [DEFAULT]
        autorestart=true
        [program:x]
        command=y
        [rpcinterface:supervisor]
        supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
        own=1
        """
    )
    assert found.config
    assert found.config.groups[0].processes[0].autorestart.value == "true"
    assert found.config.rpcinterfaces[0].options == (("own", "1"),)
    assert found.config.origins["program:x", "autorestart"].endswith(":3")


def test_values_from_the_environment_are_taken_as_they_are(look: Look) -> None:
    found = look('[program:x]\ncommand=echo "%(ENV_COLOR)s"\nstdout_logfile=/tmp/%(ENV_COLOR)s.log')
    assert found.config
    process = found.config.groups[0].processes[0]
    assert (process.command, process.stdout_logfile) == ('echo "dark 100%"', "/tmp/dark 100%.log")


def test_the_command_line_is_stronger_and_is_not_expanded(write: Write, machine: Machine) -> None:
    path = write("[supervisord]\nlogfile=/tmp/file.log\nloglevel=info\n")
    config = load(path, machine, {"logfile": "/tmp/%(here)s.log", "nodaemon": "true"})
    assert (config.daemon.logfile, config.daemon.nodaemon, config.daemon.loglevel) == ("/tmp/%(here)s.log", True, 20)
    with pytest.raises(ConfigErrors, match=r"command line: \[supervisord\] loglevel: bad logging level name 'loud'"):
        load(path, machine, {"loglevel": "loud"})


def test_a_directory(write: Write, machine: Machine, tmp_path: Path) -> None:
    write("[program:a]\ncommand=x", "d/a.conf")
    write('[program.b]\ncommand="x"', "d/b.toml")
    config = load(tmp_path / "d", machine)
    assert [group.name for group in config.groups] == ["a", "b"]


def test_what_is_not_there(machine: Machine) -> None:
    with pytest.raises(ConfigErrors, match="could not find config file nope"):
        load("nope", machine)
    with pytest.raises(ConfigErrors, match="could not find config file nope"):
        load_ctl("nope", machine)


def test_this_machine_is_the_default(write: Write) -> None:
    path = write("[supervisord]\n[supervisorctl]\n")
    assert load(path).daemon.childlogdir
    assert load_ctl(path)[0].serverurl == "http://localhost:9001"


def test_the_client_part(write: Write, machine: Machine) -> None:
    write("[supervisorctl]\nserverurl=unix://%(here)s/../run/s.sock\nhistory_file=~/history", "conf.d/ctl.conf")
    path = write("[supervisord]\nloglevel=nope\n[program:x]\n[include]\nfiles=conf.d/*.conf %(ENV_A)s")
    path = write("[supervisord]\nloglevel=nope\n[program:x]\n[include]\nfiles=conf.d/*.conf none/*")
    settings, plugins = load_ctl(path, machine)
    assert settings.serverurl == f"unix://{path.parent}/run/s.sock"
    assert (settings.history_file, settings.prompt, plugins) == ("/root/history", "supervisor", ())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[supervisord]", ".ini file does not include supervisorctl section"),
        ("[supervisorctl]\nprompt=%(here)s", "Format string '%(here)s' for 'supervisorctl.prompt' contains names"),
        ("[supervisorctl]\n[ctlplugin:x]\n", "section [ctlplugin:x] does not specify a supervisor.ctl_factory"),
        ("[supervisorctl]\n)\n", "Source contains parsing errors"),
    ],
)
def test_what_the_client_refuses(write: Write, machine: Machine, text: str, message: str) -> None:
    with pytest.raises(ConfigErrors) as refused:
        load_ctl(write(text), machine)
    assert refused.value.problems[0].message.startswith(message)


def test_mistakes_for_the_client_only_warn_the_daemon(look: Look) -> None:
    found = look("[supervisorctl]\nserverurl=%(nope)s\n[ctlplugin:x]\nsupervisor.ctl_factory=no.such:thing")
    assert not found.errors
    assert [(w.option, w.message.split(" for ")[0]) for w in found.warnings] == [
        ("serverurl", "Format string '%(nope)s'"),
        ("supervisor.ctl_factory", found.warnings[1].message),
    ]


GARBAGE = st.sampled_from(
    [
        *"[]=:;#%()\"'\n\t ,\\é",
        "[program:x]\n",
        "command=",
        "numprocs=3\n",
        "[group:x]\nprograms=x",
        "%(here)s",
        "[include]\nfiles=",
        "[supervisord]\n",
        "environment=",
        "A=b",
        "process_name=",
        "[eventlistener:l]\nevents=",
        "[fcgi-program:f]\nsocket=",
        "[unix_http_server]\nfile=",
        "[inet_http_server]\nport=",
        "priority=",
        "user=",
        "*",
        "/",
        "-1",
        "0",
        "tcp://x:1",
    ]
)


BUSY = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@settings(suppress_health_check=BUSY, deadline=None, max_examples=200)
@given(pieces=st.lists(GARBAGE, max_size=30), name=st.sampled_from(["x.conf", "x.toml"]))
def test_garbage_is_refused_and_never_crashes(tmp_path: Path, machine: Machine, pieces: list[str], name: str) -> None:
    path = tmp_path / name
    path.write_text("[supervisord]\n" + "".join(pieces))
    found = examine(path, replace(machine, cwd="/"))
    assert found.config is not None or found.errors


@settings(suppress_health_check=BUSY, deadline=None)
@given(data=st.binary())
def test_bytes_are_refused_and_never_crash(tmp_path: Path, machine: Machine, data: bytes) -> None:
    path = tmp_path / "x.conf"
    path.write_bytes(data)
    assert examine(path, machine).errors


def test_ten_times_the_programs_are_ten_times_the_work(tmp_path: Path) -> None:
    path, calls = tmp_path / "s.conf", 0

    def called(_: object, event: str, __: object) -> None:
        nonlocal calls
        calls += event == "call"

    def work(count: int) -> int:
        nonlocal calls
        path.write_text("[supervisord]\n" + "".join(f"[program:p{n}]\ncommand = true\n" for n in range(count)))
        calls = 0
        sys.setprofile(called)
        try:
            assert len(load(path).groups) == count
        finally:
            sys.setprofile(None)
        return calls

    assert work(200) < 12 * work(20)
