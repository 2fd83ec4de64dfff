"""One run of supervisectl: where the daemon is, what has been printed, and the exit code so far."""

import json
import os
import sys
from typing import Any

import click

from supervise.cli.settings import Settings
from supervise.client import Client
from supervise.errors import Fault
from supervise.http1 import ServerError

# LSB, as supervisorctl uses it: of an action, and of `status`.
GENERIC, INVALID, UNIMPLEMENTED, DEAD = 1, 2, 3, 7
NOT_RUNNING, UNKNOWN = 3, 4
DEAD_FAULTS = frozenset({Fault.SPAWN_ERROR, Fault.ABNORMAL_TERMINATION, Fault.NOT_RUNNING})

# What supervisorctl says, and exits with, when the daemon is shutting down.
SHUTTING_DOWN = {
    "reread": ("ERROR: supervisor shutting down", 1),
    "avail": ("ERROR: supervisor shutting down", 1),
    "add": ("ERROR: shutting down", 1),
    "remove": ("ERROR: shutting down", 1),
    "update": ("ERROR: already shutting down", 1),
    "shutdown": ("ERROR: already shutting down", 0),
    "reload": ("ERROR: already shutting down", 1),
}
# These ask supervisord's version first ("upcheck"), and then say plainly that it cannot be reached.
CHECKED = frozenset(
    {"status", "start", "stop", "restart", "signal", "tail", "maintail"}
    | {"clear", "version", "pid", "fg", "rotate", "wait", "explain"}
)


class Session:
    """Made once a process. `code` is set by actions, the last problem wins; `leaving`: the shell is to end;
    `denied`: the daemon wants credentials, and there is somebody to ask for them; `as_json`: a program reads stdout."""

    def __init__(self, settings: Settings, interactive: bool = False) -> None:
        self.settings, self.interactive = settings, interactive
        self.code = 0
        self.leaving = self.denied = self.as_json = False
        self._client: Client | None = None

    @property
    def client(self) -> Client:
        if self._client is None:
            at = self.settings
            try:
                self._client = Client(at.serverurl, at.username, at.password, trust=at.trust)
            except ValueError:
                # supervisorctl calls it an unknown protocol, after having accepted any URL.
                raise ServerError("protocol", f"Unknown protocol for serverurl {at.serverurl}") from None
        return self._client

    def connect(self, **changes: str) -> None:
        """Talk to another daemon, or as another user."""
        for name, value in changes.items():
            setattr(self.settings, name, value)
        self._client = None

    def out(self, text: str) -> None:
        """One line, or several, on stdout."""
        sys.stdout.write(text + "\n")

    def write(self, data: bytes) -> None:
        """Bytes of a log, untouched."""
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    def out_json(self, value: Any) -> None:
        """A document for programs; indented for people."""
        self.out(json.dumps(value, indent=2 if self.terminal else None, ensure_ascii=False))

    def out_now(self, text: str) -> None:
        """A line that must be seen at once, also through a pipe."""
        self.out(text)
        sys.stdout.flush()

    def complain(self, text: str) -> None:
        """Say what went wrong: on stdout, where supervisorctl says it, unless that is for JSON."""
        print(text, file=sys.stderr if self.as_json else sys.stdout)

    def fail(self, text: str, code: int = GENERIC) -> None:
        """Say what went wrong, and remember the exit code."""
        self.complain(text)
        self.code = code

    def note_fault(self, fault: int, ignored: int = Fault.SUCCESS) -> None:
        """The exit code of one result of an action."""
        if fault not in (Fault.SUCCESS, ignored):
            self.code = DEAD if fault in DEAD_FAULTS else GENERIC

    def fail_server(self, action: str, error: ServerError) -> None:
        """A request failed as a whole: one line, and the exit code that belongs to the action."""
        if error.fault == Fault.SHUTDOWN_STATE:
            text, code = SHUTTING_DOWN.get(action, ("ERROR: supervisor shutting down", GENERIC))
            self.complain(text)
            self.code = code or self.code
        elif error.reason in ("missing", "refused") and action == "shutdown":
            self.fail(f"ERROR: {error} (already shut down?)")
        elif error.reason in ("missing", "refused") and action in CHECKED:
            self.fail(str(error), UNKNOWN if action == "status" else error.code)
        elif error.reason == "credentials":
            self.denied = self.interactive
            self.fail(str(error), GENERIC)
        elif error.reason == "protocol" and error.status == 404:
            self.fail(f"error: {error}", UNKNOWN if action == "status" else UNIMPLEMENTED)
        else:
            away = error.reason in ("missing", "refused", "unreachable", "timeout", "cut")
            self.fail(f"error: {error}", UNKNOWN if action == "status" and away else GENERIC)

    @property
    def terminal(self) -> bool:
        """Somebody watches: tables and hints instead of supervisorctl's lines."""
        return sys.stdout.isatty()

    @property
    def colour(self) -> bool:
        """https://no-color.org, and terminals that cannot."""
        return self.terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def sure(self, question: str) -> bool:
        """Ask before something drastic, where a person is there to answer."""
        if not self.interactive:
            return True
        try:
            return input(question).lower().startswith("y")
        except EOFError:
            self.out("")
            return False


pass_session = click.make_pass_decorator(Session)
