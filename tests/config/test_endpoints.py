from collections.abc import Callable

from supervise.config.load import Examination
from supervise.config.model import Config, DaemonConfig, PluginConfig, ServerConfig

Look = Callable[..., Examination]


def config(found: Examination) -> Config:
    assert not found.errors, found.errors
    assert found.config
    return found.config


def test_the_defaults_of_the_daemon(look: Look) -> None:
    found = config(look("[supervisord]"))
    assert found.daemon == DaemonConfig(
        logfile=f"{found.here}/supervisord.log",
        logfile_maxbytes=50 * 1024**2,
        logfile_backups=10,
        loglevel=20,
        pidfile=f"{found.here}/supervisord.pid",
        umask=0o22,
        minfds=1024,
        minprocs=200,
        childlogdir="/tmp",
        identifier="supervisor",
        shutdown_timeout=None,
    )


def test_the_daemon(look: Look) -> None:
    daemon = config(
        look(
            """
            [supervise]
            logfile=~/x/../d.log
            loglevel=TRACE
            user=www-data
            environment=B="2",A="%(here)s"
            shutdown_timeout=1m
            directory=/tmp
            umask=077
            """,
            is_directory=lambda path: True,
        )
    ).daemon
    assert (daemon.logfile, daemon.loglevel, daemon.uid, daemon.gid) == ("/root/d.log", 5, 33, 33)
    assert (daemon.shutdown_timeout, daemon.directory, daemon.umask) == (60, "/tmp", 0o77)
    assert daemon.environment[1] == ("B", "2")


def test_a_user_without_a_record(look: Look) -> None:
    def nobody(uid: int) -> int:
        raise KeyError(uid)

    found = look("[supervisord]\nuser=0", primary_group=nobody)
    assert [error.message for error in found.errors] == ["Invalid user id 0"]


def test_servers(look: Look) -> None:
    servers = config(
        look(
            """
            [unix_http_server]
            file=%(here)s/../x.sock
            chmod=0770
            chown=alice:www-data
            username=u
            password={SHA}abc
            [inet_http_server]
            port=*:9001
            [inet_http_server:six]
            port=[::1]:9002
            """
        )
    ).servers
    here = servers[2].file.removesuffix("/x.sock")
    assert servers == (
        ServerConfig(kind="inet", section="inet_http_server", host="", port=9001),
        ServerConfig(kind="inet", section="inet_http_server:six", host="::1", port=9002),
        ServerConfig(
            kind="unix",
            section="unix_http_server",
            file=f"{here}/x.sock",
            chmod=0o770,
            chown=(1000, 33),
            username="u",
            password="{SHA}abc",
        ),
    )


def test_plugins(look: Look) -> None:
    found = config(
        look(
            """
            [rpcinterface.supervisor]
            "supervisor.rpcinterface_factory" = "supervisor.rpcinterface:make_main_rpcinterface"
            [rpcinterface.other]
            supervisor.rpcinterface_factory = "os:getpid"
            retries = 5
            colour = "%(ENV_COLOR)s"
            [supervisord]
            """,
            "supervise.toml",
        )
    )
    assert found.rpcinterfaces == (
        PluginConfig(name="supervisor", factory="supervisor.rpcinterface:make_main_rpcinterface"),
        PluginConfig(name="other", factory="os:getpid", options=(("retries", "5"), ("colour", "dark 100%"))),
    )


def test_no_client_section(look: Look) -> None:
    assert config(look("[supervisord]")).ctl is None
