"""What the buttons of the status page do: supervisord's actions, with its messages.

1. They are POSTed with a token that only the page hands out; where the request comes from has been checked before
   (B62). There are no cookies, so there is nothing to be SameSite.
2. Links (`index.html?action=stop&processname=web`) act only where the server's `get_actions` says so.
3. Each is one XML-RPC call, or two, with the same faults and the same line in the audit trail. Messages tell what
   really came of it, where supervisord says "restarted" in any case.
"""

import hmac
import secrets
import time
from collections.abc import Mapping
from typing import Any

from supervise.api.auth import Caller
from supervise.api.methods import supervisor_methods
from supervise.api.problem import Problem
from supervise.api.xmlrpc import Rpc
from supervise.daemon.commands import Commands
from supervise.daemon.namespec import is_single, literal
from supervise.errors import CommandError, Fault

REFRESH = "refresh"  # changes nothing
ON_ALL = ("stopall", "restartall")
ON_ONE = ("start", "stop", "restart", "clearlog")

_SAID = {
    Fault.NO_FILE: "no such file",
    Fault.NOT_EXECUTABLE: "file not executable",
    Fault.ALREADY_STARTED: "already started",
    Fault.SPAWN_ERROR: "spawn error",
    Fault.ABNORMAL_TERMINATION: "abnormal termination",
}


class Actions:
    """The actions, and the tokens that allow them. Loop thread only."""

    def __init__(self, commands: Commands) -> None:
        self._commands, self._rpc = commands, Rpc(commands, supervisor_methods())
        self._secret = secrets.token_bytes()

    def token(self, caller: Caller) -> str:
        """What this caller's forms must contain, as long as this daemon lives."""
        return hmac.new(self._secret, f"{caller.uid} {caller.user}".encode(), "sha256").hexdigest()

    def accepts(self, token: str, caller: Caller) -> bool:
        """Whether the token is the caller's."""
        return hmac.compare_digest(token.encode(), self.token(caller).encode())

    async def act(self, action: str, name: str, caller: Caller) -> str:
        """Do it, and return what to tell. Raises Problem 400 for what is no action, 403 for whom may not."""
        if action == REFRESH:
            return f"Page refreshed at {time.ctime()}"
        if action not in ON_ALL and not (action in ON_ONE and name):
            raise Problem(400, f"{action[:60]!a} is no action" + (" without a processname" if action in ON_ONE else ""))
        try:
            return await (self._on_all(action, caller) if action in ON_ALL else self._on_one(action, name, caller))
        except CommandError as error:
            return f"unexpected rpc fault [{error.fault:d}] {error}"

    async def _on_all(self, action: str, caller: Caller) -> str:
        failed = await self._all("supervisor.stopAllProcesses", caller)
        if action == "restartall":
            failed = await self._all("supervisor.startAllProcesses", caller)
        done = "stopped" if action == "stopall" else "restarted"
        return f"ERROR: not {done}: {', '.join(failed)}" if failed else f"All {done} at {time.ctime()}"

    async def _all(self, method: str, caller: Caller) -> list[str]:
        rows: list[Mapping[str, Any]] = await self._rpc.call(method, (), caller)
        return [row["name"] for row in rows if row["status"] != Fault.SUCCESS]

    async def _on_one(self, action: str, name: str, caller: Caller) -> str:
        try:
            if not is_single(name):
                raise CommandError(Fault.BAD_NAME, name)
            self._commands.info(literal(name))
        except CommandError:
            return f"No such process named {name}"
        match action:
            case "start":
                return await self._start(name, caller) or f"Process {name} started"
            case "stop":
                await self._rpc.call("supervisor.stopProcess", (name,), caller)
                return f"Process {name} stopped"
            case "restart":
                try:
                    await self._rpc.call("supervisor.stopProcess", (name,), caller)
                except CommandError as error:
                    if error.fault is not Fault.NOT_RUNNING:
                        raise
                return await self._start(name, caller) or f"Process {name} restarted"
            case _:
                await self._rpc.call("supervisor.clearProcessLogs", (name,), caller)
                return f"Log for {name} cleared"

    async def _start(self, name: str, caller: Caller) -> str:
        """Why it could not be started; "" if it was."""
        try:
            await self._rpc.call("supervisor.startProcess", (name,), caller)
        except CommandError as error:
            why = _SAID.get(error.fault, f"unexpected rpc fault [{error.fault:d}] {error}")
            return f"ERROR: Process {name}: {why}"
        return ""
