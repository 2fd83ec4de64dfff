from collections.abc import Callable

import pytest

from supervise.config.load import Examination
from supervise.config.model import AUTO, GroupConfig, ProgramConfig
from supervise.config.values import AutoRestart, StopScope, UserEnv

Look = Callable[..., Examination]


def groups(found: Examination) -> tuple[GroupConfig, ...]:
    assert not found.errors, found.errors
    assert found.config
    return found.config.groups


def one(found: Examination) -> ProgramConfig:
    ((process,),) = (group.processes for group in groups(found))
    return process


def test_defaults_are_supervisords(look: Look) -> None:
    assert one(look("[program:a]\ncommand=x")) == ProgramConfig(
        name="a",
        program="a",
        group_name="a",
        kind="program",
        command="x",
        priority=999,
        autostart=True,
        autorestart=AutoRestart.UNEXPECTED,
        startsecs=1,
        startretries=3,
        exitcodes=(0,),
        stopsignal=15,
        stopwaitsecs=10,
        stop_scope=StopScope.PROCESS,
        user_env=UserEnv.KEEP,
        stdout_logfile=AUTO,
        stdout_logfile_maxbytes=50 * 1024**2,
        stderr_logfile_backups=10,
    )


def test_every_option_in_both_forms(look: Look) -> None:
    ini = look(
        """
        [program:web]
        command=sh -c 'x; y'
        process_name=%(program_name)s-%(process_num)d
        numprocs=2
        numprocs_start=1
        autorestart=true
        startsecs=1m
        exitcodes=0,2
        stopsignal=INT
        killasgroup=true
        user=alice
        group=www-data
        user_env=set
        environment=A="b c",N="%(process_num)d"
        umask=027
        directory=%(ENV_A)s
        """
    )
    toml = look(
        """
        [program.web]
        command = ["sh", "-c", "x; y"]
        process_name = "%(program_name)s-%(process_num)d"
        numprocs = 2
        numprocs_start = 1
        autorestart = true
        startsecs = 60
        exitcodes = [0, 2]
        stopsignal = "SIGINT"
        killasgroup = true
        user = "alice"
        group = "www-data"
        user_env = "set"
        umask = "027"
        directory = "%(ENV_A)s"
        [program.web.environment]
        A = "b c"
        N = "%(process_num)d"
        """,
        "supervise.toml",
    )
    (group,) = groups(ini)
    assert groups(toml) == (group,)
    first, second = group.processes
    assert [process.name for process in group.processes] == ["web-1", "web-2"]
    assert (first.uid, first.gid, first.umask, first.stop_scope) == (1000, 33, 0o27, StopScope.TREE)
    assert (first.directory, second.environment) == ("b c", (("A", "b c"), ("N", "2")))


def test_common_environment_and_its_names(look: Look) -> None:
    process = one(
        look(
            """
            [supervisord]
            environment=BASE="/srv",A="common"
            [program:a]
            command=%(ENV_BASE)s/bin/%(ENV_A)s %(ENV_COLOR)s %%
            environment=A="own"
            """
        )
    )
    assert process.command == "/srv/bin/own dark 100% %"
    assert process.environment == (("A", "own"), ("BASE", "/srv"))


def test_groups_take_their_programs_and_are_sorted(look: Look) -> None:
    found = groups(
        look(
            """
            [program:z]
            command=z
            priority=1
            [program:b]
            command=b
            [program:a]
            command=a
            [program:both]
            command=both
            [group:g]
            programs=both, b
            priority=5
            [group:h]
            programs=both
            [eventlistener:l]
            command=l
            events=TICK_5,PROCESS_STATE
            """
        )
    )
    assert [(group.name, group.priority, [process.namespec for process in group.processes]) for group in found] == [
        ("l", -1, ["l"]),
        ("z", 1, ["z"]),
        ("g", 5, ["g:both", "g:b"]),
        ("a", 999, ["a"]),
        ("h", 999, ["h:both"]),
    ]
    pool = found[0]
    assert (pool.kind, pool.events, pool.buffer_size, pool.processes[0].priority) == (
        "pool",
        ("PROCESS_STATE", "TICK_5"),
        None,
        999,
    )


@pytest.mark.parametrize(
    ("options", "url", "owner", "mode"),
    [
        ("socket=tcp://LocalHost:9000", "tcp://localhost:9000", None, 0o700),
        ("socket=tcp://[::1]:9000", "tcp://[::1]:9000", None, 0o700),
        ("socket=unix:///run/%(program_name)s.sock", "unix:///run/php.sock", None, 0o700),
        ("socket=unix:///run/x\nuser=alice", "unix:///run/x", (1000, 1000), 0o700),
        (
            "socket=unix:///run/x\nsocket_owner=www-data\nsocket_mode=0660\nsocket_backlog=5",
            "unix:///run/x",
            (33, -1),
            0o660,
        ),
    ],
)
def test_fcgi_sockets(look: Look, options: str, url: str, owner: tuple[int, int] | None, mode: int) -> None:
    (group,) = groups(look(f"[fcgi-program:php]\ncommand=x\n{options}"))
    assert group.socket
    assert (group.kind, group.socket.url, group.socket.owner, group.socket.mode) == (
        "fcgi",
        url,
        owner,
        mode,
    )
    assert group.processes[0].kind == "fcgi-program"
    assert group.processes[0].fcgi_socket == group.socket


def test_an_fcgi_program_in_a_group_keeps_its_socket(look: Look) -> None:
    (group,) = groups(look("[fcgi-program:php]\ncommand=x\nsocket=tcp://h:1\n[group:g]\nprograms=php"))
    assert (group.socket, group.processes[0].kind) == (None, "program")
    assert group.processes[0].fcgi_socket
    assert group.processes[0].fcgi_socket.url == "tcp://h:1"
    found = look("[fcgi-program:php]\ncommand=x\n[group:g]\nprograms=php")  # supervisord takes this
    assert groups(found)[0].processes[0].fcgi_socket is None
    assert "has no socket" in found.warnings[0].message


@pytest.mark.parametrize(
    ("options", "stdout", "stderr", "warnings"),
    [
        ("stdout_logfile=NONE\nstderr_logfile=/tmp/e", None, "/tmp/e", []),
        ("redirect_stderr=true", AUTO, None, []),
        (
            "redirect_stderr=true\nstderr_logfile=/tmp/e",
            AUTO,
            None,
            [
                "For [program:a], redirect_stderr=true but stderr_logfile has also been set to a filename,"
                " the filename has been ignored"
            ],
        ),
        (
            "stdout_logfile_maxbytes=0",
            AUTO,
            AUTO,
            [
                "For [program:a], AUTO logging used for stdout_logfile without rollover, set maxbytes > 0 to avoid"
                " filling up filesystem unintentionally"
            ],
        ),
        (
            "stdout_logfile=syslog",
            None,
            AUTO,
            [
                "For [program:a], stdout_logfile=syslog but this is deprecated and will be removed.  Use"
                " stdout_syslog=true to enable syslog instead."
            ],
        ),
    ],
)
def test_logs(look: Look, options: str, stdout: str | None, stderr: str | None, warnings: list[str]) -> None:
    found = look(f"[program:a]\ncommand=x\n{options}")
    process = one(found)
    assert (process.stdout_logfile, process.stderr_logfile) == (stdout, stderr)
    assert [warning.message for warning in found.warnings] == warnings
    assert found.config
    assert [text for _, text in found.config.messages] == warnings


@pytest.mark.parametrize(
    ("options", "killed", "scope"),
    [
        ("", False, StopScope.PROCESS),
        ("stopasgroup=true", True, StopScope.TREE),
        ("killasgroup=true\nstop_scope=process", True, StopScope.PROCESS),
        ("stop_scope=group", False, StopScope.GROUP),
    ],
)
def test_stop_scope(look: Look, options: str, killed: bool, scope: StopScope) -> None:
    process = one(look(f"[program:a]\ncommand=x\n{options}"))
    assert (process.killasgroup, process.stop_scope) == (killed, scope)


@pytest.mark.parametrize(
    ("options", "gid", "warning"),
    [
        ("user=alice", 1000, None),
        ("user=alice\ngroup=0", 0, None),
        ("group=alice", None, "ignored: it needs user= beside it"),
        ("user=alice\ngroup=nobody", 1000, "ignored: Invalid group name nobody"),
    ],
)
def test_group_never_refuses_what_supervisord_ignored(look: Look, options: str, gid: int, warning: str | None) -> None:
    found = look(f"[program:a]\ncommand=x\n{options}")
    assert one(found).gid == gid
    assert [w.message for w in found.warnings] == ([warning] if warning else [])


def test_a_user_without_a_group(look: Look) -> None:
    def nobody(uid: int) -> int:
        raise KeyError(uid)

    assert one(look("[program:a]\ncommand=x\nuser=alice", primary_group=nobody)).gid is None


def test_numprocs_of_nothing(look: Look) -> None:
    found = look("[program:a]\ncommand=x\nnumprocs=0")
    (group,) = groups(found)
    assert group.processes == ()
    assert [warning.message for warning in found.warnings] == ["numprocs is 0: there is no process"]


def test_names_that_supervisord_lets_through_warn(look: Look) -> None:
    found = look(
        """
        [group:b]
        programs=a,c
        [program:a]
        command=x
        process_name=same
        [program:c]
        command=x
        process_name=same
        [program:b]
        command=x
        [group:empty]
        """
    )
    assert [group.name for group in groups(found)] == ["b", "b", "empty"]
    assert [warning.message for warning in found.warnings] == [
        "has no programs",
        "two processes of the group are called same; only the last one runs",
        "there are two groups called b; only the first one runs",
    ]
