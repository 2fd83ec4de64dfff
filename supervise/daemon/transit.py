"""Output that is on its way from the log thread to event listeners, kept beyond our death.

It is written down before the log thread goes on (so before what was read counts as dealt with), and forgotten when it
is in the queues of the pools, which remember it then. Of two files one is added to while what the other one has is
being delivered, so that neither grows for ever. Whoever dies in between tells it twice rather than not at all.
"""

import logging
import os
from collections.abc import Callable, Iterable

from supervise.core.events import Communication, Output
from supervise.system.entries import Entries, Entry, forget

log = logging.getLogger("supervise")

PREFIX = "transit-"
KINDS = {kind.PREFIX: kind for kind in (Output, Communication)}


class Transit:
    """The two files. Nothing raises; without a directory nothing is kept."""

    def __init__(self, directory: str | None) -> None:
        self.found: list[Output] = []  # by the daemon before us, the oldest first
        self._files: list[Entries] = []
        self._current = self._count = 0
        self._told = False
        if directory is not None:
            self._try(lambda: self._open(directory))

    def _files_in(self, directory: str) -> list[Entries]:
        return [Entries(f"{directory}/{PREFIX}{number}") for number in (0, 1)]

    def _open(self, directory: str) -> None:
        self._files = self._files_in(directory)
        # By number: of a daemon that died at this very place, some are in both.
        numbered = {int(entry.facts["number"]): entry for file in self._files for entry in file.found}
        entries = [numbered[number] for number in sorted(numbered)]
        self._files[0].rewrite(entries)
        self._files[1].clear()
        self._count = max(numbered, default=0)
        for facts, data in entries:
            kind = KINDS[facts["kind"]]
            self.found.append(kind(facts["group"], facts["name"], facts["pid"], facts["channel"], data))

    def add(self, output: Output) -> None:
        """It is on its way. One thread at a time."""
        if self._files:
            self._try(lambda: self._files[self._current].append(self._entry(output)))

    def _entry(self, output: Output) -> Entry:
        self._count += 1
        facts = {"number": self._count, "kind": output.PREFIX, "group": output.group, "name": output.name}
        return Entry(facts | {"pid": output.pid, "channel": output.channel}, output.data)

    def renew(self, directory: str, waiting: Iterable[Output]) -> bool:
        """If a file was removed, make both anew, there, with what is on its way; whether that was done. Not while
        something is added, or delivered."""
        if not self._files or all(file.intact and os.path.dirname(file.path) == directory for file in self._files):
            return False
        former = self._files
        self._try(lambda: self._replace(directory, waiting))
        return self._files is not former

    def _replace(self, directory: str, waiting: Iterable[Output]) -> None:
        former, self._files, self._current = self._files, self._files_in(directory), 0
        for file in former:
            file.close(remove=False)
        self._files[0].rewrite(map(self._entry, waiting))
        self._files[1].clear()

    def turn(self) -> None:
        """What was added so far is delivered now; what comes from now on is not. Not while something is added."""
        self._current = 1 - self._current

    def delivered(self) -> None:
        """It is where it was to go."""
        if self._files and self._files[1 - self._current].size:
            self._try(self._files[1 - self._current].clear)

    def close(self, *, remove: bool) -> None:
        """Give the files up."""
        files, self._files = self._files, []
        for file in files:
            file.close(remove=remove)

    def _try(self, act: Callable[[], None]) -> None:
        try:
            act()
        except OSError as error:
            if not self._told:
                self._told = True
                log.error("output could be lost for event listeners when this daemon is killed: %s", error)


def forget_all(directory: str) -> None:
    """Remove the files: they are of another boot."""
    forget(directory, PREFIX)
