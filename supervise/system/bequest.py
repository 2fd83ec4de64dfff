"""What a daemon gives to the one that is executed after it, by inheritance: open descriptors, and a page of text.

The page is a memory file whose number is in SUPERVISE_HANDOVER. It names the descriptors, which are inherited under the
numbers that it tells, and holds whatever else the next daemon has to know. The keeper writes the same page (`keeper`
imports nothing of ours, so that a keeper from before an upgrade goes on understanding itself): what is added to it must
be optional.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from typing import Any

VARIABLE = "SUPERVISE_HANDOVER"
LIMIT = 16 << 20  # bytes of a page
LOWEST = 64  # where received descriptors are moved to: 3, 4, … are wanted for sockets of programs (`activation`)


@contextmanager
def bequeathed(descriptors: Mapping[str, int], facts: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Inside, an execve(2) with the variables that this gives hands these over. Raises OSError (EMFILE).

    Whoever comes out of it again has not been replaced, and has everything as it was.
    """
    page = os.memfd_create("handover")
    numbers = [page, *descriptors.values()]
    try:
        with open(page, "wb", closefd=False) as file:
            file.write(json.dumps({"descriptors": dict(descriptors)} | dict(facts)).encode())
        for fd in numbers:
            os.set_inheritable(fd, True)
        yield {VARIABLE: str(page)}
    finally:
        for fd in numbers[1:]:
            with suppress(OSError):
                os.set_inheritable(fd, False)
        os.close(page)


def inherit(environ: MutableMapping[str, str]) -> tuple[dict[str, int], dict[str, Any]]:
    """What was handed over to us: descriptors by name, and the page. Both are empty if nothing was.

    The variable is taken out of `environ`, and every descriptor moved out of the way of others. A variable that
    somebody else has set, or a descriptor that is not there, counts for nothing.
    """
    try:
        number = int(environ.pop(VARIABLE, ""))
        if not os.readlink(f"/proc/self/fd/{number}").startswith("/memfd:"):
            return {}, {}
        with open(number, "rb") as file:
            file.seek(0)
            page = json.loads(file.read(LIMIT))
        named = {str(name): int(fd) for name, fd in page.pop("descriptors").items()}
    except (ValueError, OSError, KeyError, AttributeError, TypeError):
        return {}, {}
    return {name: moved for name, fd in named.items() if (moved := move(fd)) is not None}, page


def move(fd: int) -> int | None:
    """The same descriptor, closed at exec, if possible under a number from LOWEST on; None if it is not open."""
    try:
        os.set_inheritable(fd, False)
    except OSError:
        return None
    if fd >= LOWEST:
        return fd
    try:
        moved = duplicate(fd)
    except OSError:  # there are not so many
        return fd
    os.close(fd)
    return moved


def duplicate(fd: int) -> int:
    """A second descriptor of the same file, from LOWEST on, closed at exec. Raises OSError."""
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, LOWEST)
