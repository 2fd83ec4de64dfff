"""The actions of supervisectl as a table: how each is written, and what it does.

`help`, `help ACTION` and each command's own `--help` are made from it.
"""

FORMS: dict[str, tuple[tuple[str, str], ...]] = {
    "add": (("add GROUP...", "Make configured groups active."),),
    "avail": (("avail", "List all configured processes."),),
    "clear": (("clear NAME...", "Empty the log files of processes."), ("clear all", "Empty all of them.")),
    "events": (("events [--json]", "Show changes of state as they happen. Ctrl-C ends."),),
    "exit": (("exit", "Leave the shell."),),
    "explain": (("explain NAME...", "Tell why a process is in its state, its last ends, and what happens next."),),
    "fg": (("fg NAME", "Show what a process writes and send it what you type. Ctrl-C ends."),),
    "help": (("help", "List the actions."), ("help ACTION", "Tell about one.")),
    "maintail": (
        ("maintail [-N]", "Show the last N (1600) bytes of the daemon's own log."),
        ("maintail -n LINES", "Show its last lines."),
        ("maintail -f", "Follow it. Ctrl-C ends."),
    ),
    "open": (("open URL", "Talk to another daemon: http://host:port or unix:///path."),),
    "pid": (
        ("pid", "Show the daemon's process id."),
        ("pid NAME...", "Show those of processes (0: not running)."),
        ("pid all", "Show all of them, one a line."),
    ),
    "quit": (("quit", "Leave the shell."),),
    "reload": (("reload [--wait]", "Restart the daemon: stop everything, read the configuration, start again."),),
    "remove": (("remove GROUP...", "Forget groups that are not running."),),
    "reread": (("reread", "Tell which groups differ in the configuration files; change nothing."),),
    "restart": (
        ("restart NAME...", "Stop, then start processes, without reading the configuration again (see update)."),
        ("restart all", "All of them; with --only-running those that are up."),
    ),
    "rotate": (("rotate [NAME...]", "Rotate log files now; all processes' without a name."),),
    "shutdown": (("shutdown [--wait]", "Stop everything and end the daemon."),),
    "signal": (
        ("signal SIGNAL NAME...", "Send a signal, by name or number."),
        ("signal SIGNAL all", "To every process."),
    ),
    "start": (
        ("start NAME...", "Start processes: name, group:name, group:*, or a pattern such as 'web-*'."),
        ("start all", "Start everything. --now cuts a pending retry's delay short."),
    ),
    "status": (
        ("status", "Show all processes."),
        ("status NAME...", "Show some. --wide: more columns; --watch: again and again; --json: for programs."),
    ),
    "stop": (("stop NAME...", "Stop processes, groups or patterns, all at once."), ("stop all", "Stop everything.")),
    "tail": (
        ("tail [-N] NAME [stdout|stderr]", "Show the last N (1600) bytes of a process's log."),
        ("tail -n LINES NAME", "Show its last lines."),
        ("tail -f NAME...", "Follow one log, or several with the name before each line. Ctrl-C ends."),
    ),
    "update": (
        ("update", "Read the configuration and do what it asks for, restarting only what must be."),
        ("update GROUP...", "Only for some groups. --dry-run shows the plan."),
    ),
    "upgrade": (
        ("upgrade [--wait]", "Run the daemon's newly installed code in its place: programs, pid and sockets stay."),
    ),
    "version": (("version", "Show the version the daemon speaks for."),),
    "wait": (("wait NAME... [--for running|stopped] [--timeout S]", "Wait until processes are up, or down."),),
}


def about(action: str) -> str:
    """One sentence, for a list of actions."""
    return FORMS[action][0][1]


def usage(action: str) -> str:
    """All forms, one a line."""
    width = max(len(form) for form, _ in FORMS[action]) + 4
    return "\n".join(f"{form:<{width}}{sentence}" for form, sentence in FORMS[action])
