"""What filters hold back between two reads of a pipe, kept beyond our death: half a token, a passage being captured.

One small file for each pipe whose filters have ever held something, replaced as a whole (rename(2)) within the step
(see `intent`) that changes it, before the step's output is written. So the next daemon knows, of a step that was
interrupted: if the file is of that very step, its output is here and what the filters hold afterwards too; otherwise
the step can be done again from what they held before.
"""

import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from supervise.system.journal import MODE

PREFIX = "carry-"

_HEAD = struct.Struct("<QQ")  # stamp of the step, length of the state


class Carry(NamedTuple):
    """What one step has left."""

    stamp: int
    state: bytes  # of the filters, as they gave it
    output: bytes  # of the step


def save(directory: str, pipe: int, carry: Carry) -> None:
    """Replace what was kept of that pipe. Raises OSError."""
    path = f"{directory}/{PREFIX}{pipe}"
    fd = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, MODE)
    try:
        os.writev(fd, (_HEAD.pack(carry.stamp, len(carry.state)), carry.state, carry.output))
    finally:
        os.close(fd)
    os.replace(path + ".new", path)


def load(directory: str, pipe: int) -> Carry | None:
    """What is kept of that pipe; None if nothing is."""
    try:
        content = Path(directory, f"{PREFIX}{pipe}").read_bytes()
    except OSError:
        return None
    stamp, length = _HEAD.unpack_from(content)
    return Carry(stamp, content[_HEAD.size : _HEAD.size + length], content[_HEAD.size + length :])


def drop(directory: str, pipe: int | str) -> None:
    """Forget that pipe."""
    with suppress(OSError):
        os.unlink(f"{directory}/{PREFIX}{pipe}")


def forget(directory: str) -> None:
    """Remove everything: it is of another boot."""
    for path in Path(directory).glob(PREFIX + "*"):
        path.unlink()
