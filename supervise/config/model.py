"""What can be configured: one frozen dataclass a section, one field an option.

A field made by `option` is that option's only declaration. The readers, `check`, the JSON Schema, the reference in
README.md and `diff` read it from here; `==` on these classes is what `reread` compares. So there is no I/O here, no
method that changes anything, and no default that depends on the machine (those are None, and `load` fills them in).

Values are converted and expanded. Paths of [supervisord] and the servers are absolute; those of programs are as
written, with `~` expanded. Times are seconds, sizes bytes, umasks and modes plain integers, users and groups numbers.
"""

import dataclasses
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from supervise.config import addresses, values
from supervise.config.access import Role
from supervise.config.addresses import DEV_LOG, SyslogFormat
from supervise.config.control import CtlConfig, PluginConfig, ServerConfig, UserConfig
from supervise.config.declare import Change, Names, derived, option
from supervise.config.endings import EndOptions
from supervise.config.pools import EventLength, OnProtocolError, PoolOptions
from supervise.config.values import AUTO, AutoRestart, OnLeftover, RunType, StopScope, UserEnv
from supervise.errors import ConfigError

# The enumerations among the values below, and what stands in `control`.
__all__ = ["AUTO", "AutoRestart", "EventLength", "OnLeftover", "OnProtocolError", "RunType"]
__all__ += ["StopScope", "SyslogFormat", "UserEnv"]
__all__ += ["Config", "CtlConfig", "DaemonConfig", "GroupConfig", "PluginConfig", "ProgramConfig"]
__all__ += ["Role", "ServerConfig", "SocketConfig", "UserConfig"]
MB = 1024**2
MAX_SOCKETS = 32  # of one program: descriptors 3 to 34, which the daemon leaves free for this
ANY_PROGRAM = ("program", "eventlistener", "fcgi-program")


@dataclass(frozen=True, kw_only=True)
class SocketConfig:
    """A listening socket for programs, at a path or at an address (`host` "" is every IPv4 one).

    `owner`: user and group, -1: no change; `backlog` None: as long as the system allows. `name` "": an fcgi-program's.
    """

    name: str = ""
    path: str = ""
    host: str = ""
    port: int = 0
    backlog: int | None = None
    owner: tuple[int, int] | None = None
    mode: int = 0o700
    reuse_port: bool = False

    @property
    def url(self) -> str:
        """`unix://<absolute path>` or `tcp://<host>:<port>`."""
        host = f"[{self.host}]" if ":" in self.host else self.host or "*"
        return f"unix://{self.path}" if self.path else f"tcp://{host}:{self.port}"


@dataclass(frozen=True, kw_only=True, slots=True)
class ProgramConfig(EndOptions):
    """One process, after numprocs: everything converted and expanded."""

    IN = ANY_PROGRAM
    NAMES = Names.PROGRAM

    name: str
    program: str = dataclasses.field(default="", compare=False)  # the x of [program:x]
    group_name: str
    process_num: int = dataclasses.field(default=0, compare=False)
    kind: Literal["program", "eventlistener", "fcgi-program"] = derived(Change.RESTART, "program")

    command: str = option(
        "The command, split into words as a shell would, but run without a shell. Without a slash it is looked up in"
        " the program's PATH.",
        values.COMMAND,
        changed=Change.RESTART,
        names=Names.PROCESS,
    )
    priority: int = option(
        "Lower starts earlier and stops later. Also the priority of the program's own group.",
        values.INTEGER,
        999,
        names=Names.HERE,
    )
    autostart: bool = option(
        "Start with the daemon, its group, or an update that sets it.", values.BOOLEAN, True, changed=Change.NEXT_START
    )
    autorestart: AutoRestart = option(
        "Restart after an exit from RUNNING: always (true), never (false) or if the code is not in exitcodes.",
        values.RESTART,
        AutoRestart.UNEXPECTED,
    )
    startsecs: float = option(
        "How long it must stay up for its start to count as successful; 0: no time at all.",
        values.SECONDS,
        1,
        changed=Change.NEXT_START,
    )
    type: RunType = option(
        "simple: an exit within startsecs is a failed start, whatever its code. oneshot: it is meant to end, and an"
        " expected exit at any time is a success.",
        values.RUN_TYPE,
        RunType.SIMPLE,
    )
    startretries: int = option(
        "Failed starts that are followed by another attempt, before FATAL.",
        values.INTEGER,
        3,
        changed=Change.NEXT_START,
    )
    exitcodes: tuple[int, ...] = option("Exit codes that are expected.", values.EXIT_CODES, (0,))
    stopsignal: int = option("The signal that asks it to stop.", values.SIGNAL, 15)
    stopwaitsecs: float = option("How long to wait after that signal before SIGKILL.", values.SECONDS, 10)
    stopasgroup: bool = option("Send the stop signal to its whole process group.", values.BOOLEAN, False)
    killasgroup: bool = option(
        "Send SIGKILL to its whole process group. Unset: the value of stopasgroup.", values.BOOLEAN, False
    )
    stop_scope: StopScope = option(
        "What must be gone before it counts as stopped, and is signalled and killed until it is: the process, its"
        " process group, or all that it has started, in a cgroup of its own where one can be made. Unset: tree with"
        " killasgroup, else process.",
        values.STOP_SCOPE,
        StopScope.PROCESS,
    )
    user: str | None = option(
        "The user, by name or number, to run as; only root can.",
        values.TEXT,
        None,
        changed=Change.RESTART,
        compare=False,
    )
    uid: int | None = derived(Change.RESTART)
    group: str | None = option(
        "With user: the group to run as, instead of the user's own.",
        values.TEXT,
        None,
        changed=Change.RESTART,
        compare=False,
    )
    gid: int | None = derived(Change.RESTART)
    user_env: UserEnv = option(
        "With user: keep the daemon's HOME, USER, LOGNAME and SHELL, set them to the user's, or start from a clean"
        " environment that has only these and PATH.",
        values.USER_ENV,
        UserEnv.KEEP,
        changed=Change.RESTART,
    )
    redirect_stderr: bool = option(
        "Send what it writes to stderr to its stdout.", values.BOOLEAN, False, changed=Change.RESTART
    )
    stdout_logfile: str | None = option(
        "Where its output goes: a path, AUTO (a file in childlogdir; NAME.last after the daemon's next start) or NONE.",
        values.CHILD_LOG,
        AUTO,
        names=Names.PROCESS,
    )
    stdout_logfile_maxbytes: int = option(
        "Rotate before the file is longer than this; 0: never.", values.SIZE, 50 * MB, names=Names.PROCESS
    )
    stdout_logfile_backups: int = option(
        "How many rotated files to keep; 0: truncate instead.", values.INTEGER, 10, names=Names.PROCESS
    )
    stdout_capture_maxbytes: int = option(
        "How much output between capture tokens is kept for a PROCESS_COMMUNICATION event; 0: no capture.",
        values.SIZE,
        0,
        changed=Change.NEXT_START,
    )
    stdout_events_enabled: bool = option("Emit a PROCESS_LOG event for its output.", values.BOOLEAN, False)
    stdout_syslog: bool = option(
        "Send its output to syslog as well, line by line.", values.BOOLEAN, False, names=Names.PROCESS
    )
    stderr_logfile: str | None = option(
        "As stdout_logfile, for stderr; ignored with redirect_stderr.", values.CHILD_LOG, AUTO, names=Names.PROCESS
    )
    stderr_logfile_maxbytes: int = option(
        "As stdout_logfile_maxbytes, for stderr.", values.SIZE, 50 * MB, names=Names.PROCESS
    )
    stderr_logfile_backups: int = option(
        "As stdout_logfile_backups, for stderr.", values.INTEGER, 10, names=Names.PROCESS
    )
    stderr_capture_maxbytes: int = option(
        "As stdout_capture_maxbytes, for stderr.", values.SIZE, 0, changed=Change.NEXT_START
    )
    stderr_events_enabled: bool = option("As stdout_events_enabled, for stderr.", values.BOOLEAN, False)
    stderr_syslog: bool = option("As stdout_syslog, for stderr.", values.BOOLEAN, False, names=Names.PROCESS)
    stdout_syslog_priority: str = option(
        "Facility and severity of its lines in syslog; one alone: the other is user or info.",
        addresses.PRIORITY,
        "user.info",
        names=Names.PROCESS,
    )
    stderr_syslog_priority: str = option(
        "As stdout_syslog_priority, for stderr.", addresses.PRIORITY, "user.info", names=Names.PROCESS
    )
    syslog_target: str = option(
        "Where its lines for syslog go. Unset: where those of [supervisord] go.",
        addresses.SYSLOG_TARGET,
        DEV_LOG,
        names=Names.PROCESS,
    )
    syslog_format: SyslogFormat = option(
        "How they are wrapped. Unset: as those of [supervisord].",
        addresses.SYSLOG_FORMAT,
        SyslogFormat.RFC3164,
        names=Names.PROCESS,
    )
    syslog_tag: str | None = option(
        "The tag of its lines, followed by its pid. Unset: supervisord, and the process's name before each line, as"
        " supervisord sends them; with rfc5424 and in the journal the process's name.",
        values.TEXT,
        None,
        names=Names.PROCESS,
    )
    environment: tuple[tuple[str, str], ...] = option(
        "Variables added to its environment, over those of [supervisord] environment. Stored sorted by name.",
        values.ENVIRONMENT,
        (),
        changed=Change.RESTART,
        names=Names.PROCESS,
    )
    directory: str | None = option(
        "The directory it starts in. Unset: the daemon's.",
        values.TEXT,
        None,
        changed=Change.RESTART,
        names=Names.PROCESS,
    )
    umask: int | None = option("Its umask. Unset: the daemon's.", values.OCTAL, None, changed=Change.RESTART)
    serverurl: str | None = option(
        "SUPERVISOR_SERVER_URL in its environment; AUTO: the daemon's own socket; nothing: not set.",
        values.URL,
        None,
        changed=Change.RESTART,
    )
    sockets: tuple[str, ...] = option(
        "Names of [socket:x] sections: listening sockets that it gets as descriptors 3 and up, in this order, with"
        " LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES in its environment. They stay open while it is restarted.",
        values.NAMES,
        (),
        changed=Change.RESTART,
    )
    listening: tuple[SocketConfig, ...] = derived(Change.RESTART, ())  # what `sockets` names
    fcgi_socket: SocketConfig | None = derived(Change.RESTART)  # what it gets as descriptor 0

    @property
    def namespec(self) -> str:
        """`name`, or `group:name` where they differ."""
        return self.name if self.name == self.group_name else f"{self.group_name}:{self.name}"

    @property
    def argv(self) -> list[str]:
        """The words of `command`. Raises ValueError for unbalanced quotes."""
        return shlex.split(self.command)


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupConfig(PoolOptions):
    """Processes that are added, removed and addressed together. A pool has events; an fcgi group has a socket."""

    IN = ("group",)
    NAMES = Names.HERE

    name: str
    kind: Literal["group", "pool", "fcgi"] = "group"
    priority: int = option("Lower starts earlier and stops later.", values.INTEGER, 999)
    processes: tuple[ProgramConfig, ...] = ()
    socket: SocketConfig | None = None  # of an fcgi group; every process has it too


@dataclass(frozen=True, kw_only=True)
class DaemonConfig:
    """[supervisord]. `logfile` may be the word syslog; `uid` and `gid` are those of `user`."""

    IN = ("supervisord",)
    NAMES = Names.HERE

    logfile: str = option("The daemon's own log: a path, or syslog.", values.LOG, "supervisord.log")
    logfile_maxbytes: int = option("Rotate it before it is longer than this; 0: never.", values.SIZE, 50 * MB)
    logfile_backups: int = option("How many rotated ones to keep.", values.INTEGER, 10)
    loglevel: int = option("critical, error, warn, info, debug, trace or blather.", values.LOG_LEVEL, 20)
    pidfile: str = option("Where the daemon's process id is written.", values.PATH, "supervisord.pid")
    umask: int = option("The umask of the daemon, when it daemonises.", values.OCTAL, 0o022)
    nodaemon: bool = option("Stay in the foreground.", values.BOOLEAN, False)
    silent: bool = option("In the foreground, do not copy the log to stdout.", values.BOOLEAN, False)
    minfds: int = option("The file descriptors that must be available.", values.INTEGER, 1024)
    minprocs: int = option("The processes that must be available.", values.INTEGER, 200)
    nocleanup: bool = option("Keep the AUTO logs of an earlier run.", values.BOOLEAN, False)
    childlogdir: str = option(
        "Where AUTO logs are. Unset: the system's directory for temporary files.", values.DIRECTORY, ""
    )
    user: str | None = option("The user to become; only root can.", values.TEXT, None)
    uid: int | None = None
    gid: int | None = None
    directory: str | None = option("The directory to be in, when it daemonises.", values.DIRECTORY, None)
    strip_ansi: bool = option("Strip ANSI escapes from the logs of programs.", values.BOOLEAN, False)
    follow_links: bool = option("Let others' links lead to logs, also where we are root.", values.BOOLEAN, False)
    environment: tuple[tuple[str, str], ...] = option(
        "Variables for all programs; also usable as %(ENV_X)s in other sections.", values.ENVIRONMENT, ()
    )
    identifier: str = option("The name of this daemon, for RPC and AUTO logs.", default="supervisor")
    syslog_target: str = option(
        "Where the main log goes with logfile=syslog, and what programs send to syslog unless they say otherwise.",
        addresses.SYSLOG_TARGET,
        DEV_LOG,
    )
    syslog_format: SyslogFormat = option(
        "How lines are wrapped for syslog; programs may say otherwise.",
        addresses.SYSLOG_FORMAT,
        SyslogFormat.RFC3164,
    )
    syslog_facility: str = option("The facility of the main log in syslog.", addresses.FACILITY, "user")
    syslog_tag: str | None = option(
        "The tag of the main log in syslog. Unset: supervisord, and time and level in each line, as supervisord sends"
        " them; with rfc5424 and in the journal the identifier.",
        values.TEXT,
        None,
    )
    shutdown_timeout: float | None = option(
        "Everything still running this long after a shutdown began is killed. Unset or none: no bound beside each"
        " program's stopwaitsecs.",
        values.SHUTDOWN,
        None,
    )
    on_leftover: OnLeftover = option(
        "What becomes of programs that a daemon before this one left running when it was killed: adopt them as they"
        " are, stop them first, or ignore them (and so start second copies, as supervisord does).",
        values.ON_LEFTOVER,
        OnLeftover.ADOPT,
    )


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that was configured. `groups` are in supervisord's order: by priority, then by name."""

    daemon: DaemonConfig
    servers: tuple[ServerConfig, ...] = ()
    users: tuple[UserConfig, ...] = ()
    ctl: CtlConfig | None = None
    groups: tuple[GroupConfig, ...] = ()
    sockets: tuple[SocketConfig, ...] = ()
    rpcinterfaces: tuple[PluginConfig, ...] = ()
    ctlplugins: tuple[PluginConfig, ...] = ()
    file: str
    here: str
    files: tuple[str, ...] = ()
    origins: Mapping[tuple[str, str], str] = dataclasses.field(default_factory=dict, compare=False, repr=False)
    """(section, option) -> "file:line", for every option that a file sets."""
    warnings: tuple[ConfigError, ...] = dataclasses.field(default=(), compare=False)
    messages: tuple[tuple[int, str], ...] = dataclasses.field(default=(), compare=False)
    """(logging level, text) that the daemon logs when its log is open; includes every warning."""

    @property
    def serverurl(self) -> str | None:
        """What children get as SUPERVISOR_SERVER_URL: a unix socket if there is one, else the last inet one."""
        unix = [server.url for server in self.servers if server.kind == "unix"]
        inet = [server.url for server in self.servers if server.kind == "inet"]
        return unix[0] if unix else inet[-1] if inet else None
