"""The interactive shell: a prompt that runs the same commands as the command line."""

import contextlib
import getpass
import readline
from collections.abc import Callable

from supervise.cli.actions import FORMS
from supervise.cli.completion import candidates
from supervise.cli.session import Session
from supervise.http1 import Json, ServerError

HISTORY_LENGTH = 1000
GROUP_ACTIONS = frozenset({"add", "remove", "update"})
PROCESS_ACTIONS = frozenset(
    {"clear", "explain", "fg", "pid", "restart", "rotate"} | {"signal", "start", "status", "stop", "tail", "wait"}
)

RunLine = Callable[[str], None]


def run_shell(session: Session, run: RunLine) -> None:
    """Read lines until the end of input, `quit` or Ctrl-C; `run` executes one and never raises for a failed one.

    The exit code is 0 whatever happened, as supervisorctl's.
    """
    _prepare(session)
    try:
        answer(session, run, "status")
        while not session.leaving:
            answer(session, run, input(f"{session.settings.prompt}> "))
    except (EOFError, KeyboardInterrupt):
        session.out("")
    finally:
        if path := session.settings.history_file:
            with contextlib.suppress(OSError):
                readline.write_history_file(path)
    session.code = 0


def answer(session: Session, run: RunLine, line: str) -> None:
    """Run a line; again as somebody else, when the daemon wants to know who asks."""
    if not session.denied:
        run(line)
    if not session.denied:
        return
    session.denied, session.code = False, 0
    try:
        username = input("Username:")
        password = getpass.getpass("Password:")
    except EOFError:
        return
    session.out("")
    session.connect(username=username, password=password)
    answer(session, run, line)


def _prepare(session: Session) -> None:
    """History and the TAB key."""
    readline.set_history_length(HISTORY_LENGTH)
    if path := session.settings.history_file:
        with contextlib.suppress(OSError):
            readline.read_history_file(path)
    # `group:process`, `group:*` and `web-1` are one word each.
    readline.set_completer_delims("".join(c for c in readline.get_completer_delims() if c not in ":*-"))
    readline.set_completer(Completer(session))
    readline.parse_and_bind("tab: complete")


class Completer:
    """What readline asks for each TAB: called with 0, 1, 2, … until it answers None."""

    def __init__(self, session: Session) -> None:
        self.session, self.found = session, list[str]()

    def __call__(self, text: str, number: int) -> str | None:
        if number == 0:
            self.found = self.matches(readline.get_line_buffer(), text)
        return self.found[number] if number < len(self.found) else None

    def matches(self, line: str, text: str) -> list[str]:
        """All completions of `text`, the last word of `line`, with a blank behind."""
        before = line.split() if line.endswith((" ", "\t")) else line.split()[:-1]
        if not before or before == ["help"]:
            words = sorted(FORMS)
        elif before[0] in GROUP_ACTIONS:
            words = list(dict.fromkeys(process["group"] for process in self.ask()))
        elif before[0] in PROCESS_ACTIONS:
            words = candidates(self.ask(), text)
        else:
            words = []
        return [f"{word} " for word in words if word.startswith(text)]

    def ask(self) -> list[Json]:
        """Anew at each TAB: it takes a millisecond, and programs come and go."""
        try:
            return self.session.client.processes()
        except ServerError:
            return []
