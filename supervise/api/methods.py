"""supervisord's XML-RPC methods, as a table: what may be called, with what, and by whom.

Names, argument order and types are supervisord 4.3.0's (rpcinterface.py); the sentences are ours.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from supervise.api.calls import Calls
from supervise.config.model import Role

Function: TypeAlias = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """One callable name.

    `function` gets a `Calls` and then the caller's arguments. `takes`: (type, name) of each parameter, of which the
    last `optional` may be left out.
    """

    name: str
    function: Function
    sentence: str
    description: str = ""  # of a plugin, in its own words
    returns: str
    takes: tuple[tuple[str, str], ...] = ()
    optional: int = 0
    variadic: bool = False  # takes any number more
    role: Role = Role.READ
    shown: int = 9  # how many arguments the audit trail may show
    any_state: bool = False  # also answered while the daemon shuts down

    @property
    def signature(self) -> list[str]:
        """As `system.methodSignature` returns it."""
        return [self.returns, *(kind for kind, _ in self.takes)]

    @property
    def help(self) -> str:
        """As `system.methodHelp` returns it."""
        if self.description:
            return self.description
        tags = [f"@param {kind} {name}" for kind, name in self.takes]
        return "\n".join([f"{self.sentence}\n", *tags, f"@return {self.returns}"])

    def accepts(self, count: int) -> bool:
        """Whether the method can be called with that many arguments."""
        if count < len(self.takes) - self.optional:
            return False
        return self.variadic or count <= len(self.takes)


_NAME = ("string", "name")
_WAIT = ("boolean", "wait")
_SIGNAL = ("string", "signal")
_SLICE = (("int", "offset"), ("int", "length"))
_CONTROL, _ADMIN = Role.CONTROL, Role.ADMIN


def _method(name: str, function: Function, returns: str, sentence: str, *takes: tuple[str, str], **more: Any) -> Method:
    return Method(name=name, function=function, returns=returns, sentence=sentence, takes=takes, **more)


# A table, a row a method.
# fmt: off
_TABLE = (
    _method("getAPIVersion", Calls.get_api_version, "string", "The version of this interface."),
    _method("getSupervisorVersion", Calls.get_supervisor_version, "string", "The version of supervisord we act as."),
    _method("getIdentification", Calls.get_identification, "string", "The daemon's `identifier` option."),
    _method("getState", Calls.get_state, "struct", "The daemon's state: {statecode, statename}."),
    _method("getPID", Calls.get_pid, "int", "The daemon's process id."),
    _method("readLog", Calls.read_main_log, "string", "A piece of the main log. Negative offset, length 0: its end.",
            *_SLICE),
    _method("clearLog", Calls.clear_main_log, "boolean", "Empty the main log.", role=_ADMIN),
    _method("shutdown", Calls.shutdown, "boolean", "Stop all programs and end the daemon.", role=_ADMIN),
    _method("restart", Calls.restart, "boolean", "Stop all programs, read the configuration, begin anew.", role=_ADMIN),
    _method("reloadConfig", Calls.reload_config, "array",
            "Read the configuration, change nothing: [[added, changed, removed]] groups.", role=_ADMIN),
    _method("addProcessGroup", Calls.add_group, "boolean", "Make a configured group active, start what is in it.",
            _NAME, role=_ADMIN),
    _method("removeProcessGroup", Calls.remove_group, "boolean", "Forget a group whose processes are stopped.", _NAME,
            role=_ADMIN),
    _method("startProcess", Calls.start, "boolean", "Start a process (or `group:*`).", _NAME, _WAIT,
            optional=1, role=_CONTROL),
    _method("startProcessGroup", Calls.start_group, "array", "Start a group's processes.", _NAME, _WAIT,
            optional=1, role=_CONTROL),
    _method("startAllProcesses", Calls.start_all, "array", "Start all processes.", _WAIT, optional=1, role=_CONTROL),
    _method("stopProcess", Calls.stop, "boolean", "Stop a process (or `group:*`).", _NAME, _WAIT,
            optional=1, role=_CONTROL),
    _method("stopProcessGroup", Calls.stop_group, "array", "Stop a group's processes.", _NAME, _WAIT,
            optional=1, role=_CONTROL),
    _method("stopAllProcesses", Calls.stop_all, "array", "Stop all processes.", _WAIT, optional=1, role=_CONTROL),
    _method("signalProcess", Calls.signal, "boolean", "Send a signal, by name or number, to a process (or `group:*`).",
            _NAME, _SIGNAL, role=_CONTROL),
    _method("signalProcessGroup", Calls.signal_group, "array", "Send a signal to a group's processes.", _NAME, _SIGNAL,
            role=_CONTROL),
    _method("signalAllProcesses", Calls.signal_all, "array", "Send a signal to all processes.", _SIGNAL, role=_CONTROL),
    _method("getProcessInfo", Calls.get_process_info, "struct", "All about a process.", _NAME),
    _method("getAllProcessInfo", Calls.get_all_process_info, "array", "All about all processes, sorted by name."),
    _method("getAllConfigInfo", Calls.get_all_config_info, "array", "How each process is configured, sorted by name."),
    _method("readProcessStdoutLog", Calls.read_stdout, "string",
            "A piece of a process's stdout log. Negative offset, length 0: its end.", _NAME, *_SLICE),
    _method("readProcessStderrLog", Calls.read_stderr, "string",
            "A piece of a process's stderr log. Negative offset, length 0: its end.", _NAME, *_SLICE),
    _method("tailProcessStdoutLog", Calls.tail_stdout, "array",
            "The end of a process's stdout log: [text, size of the log, whether more than asked for].", _NAME, *_SLICE),
    _method("tailProcessStderrLog", Calls.tail_stderr, "array",
            "The end of a process's stderr log: [text, size of the log, whether more than asked for].", _NAME, *_SLICE),
    _method("clearProcessLogs", Calls.clear_logs, "boolean", "Empty a process's logs.", _NAME, role=_CONTROL),
    _method("clearAllProcessLogs", Calls.clear_all_logs, "array", "Empty the logs of all processes.", role=_CONTROL),
    _method("sendProcessStdin", Calls.send_stdin, "boolean", "Write to a process's standard input.", _NAME,
            ("string", "chars"), role=_CONTROL, shown=1),
    _method("sendRemoteCommEvent", Calls.send_event, "boolean", "Send an event to the event listeners.",
            ("string", "type"), ("string", "data"), role=_CONTROL, shown=1, any_state=True),
)

_ALIASES = (
    ("getVersion", "getAPIVersion"),
    ("readMainLog", "readLog"),
    ("readProcessLog", "readProcessStdoutLog"),
    ("tailProcessLog", "tailProcessStdoutLog"),
    ("clearProcessLog", "clearProcessLogs"),
)
# fmt: on


def supervisor_methods(namespace: str = "supervisor") -> dict[str, Method]:
    """supervisord's own methods by full name, the historical aliases included."""
    found = {f"{namespace}.{method.name}": method for method in _TABLE}
    return found | {f"{namespace}.{alias}": found[f"{namespace}.{name}"] for alias, name in _ALIASES}
