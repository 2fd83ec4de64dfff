"""Removing terminal control sequences from a stream of bytes."""

import re

_SEQUENCE = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]")
_UNFINISHED = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*)?\Z")
_LONGEST = 64  # what is longer is no sequence, and is let through


def stripped(data: bytes) -> bytes:
    """A text without its CSI sequences."""
    return _SEQUENCE.sub(b"", data)


class StripAnsi:
    """Removes CSI sequences (ECMA-48: colours, cursor movement), also those cut by the end of a piece.

    Everything else passes unchanged. supervisord (strip_ansi) knows fifteen final bytes and after an unknown one
    swallows the text up to the next of them; here a sequence ends where the standard says.
    """

    __slots__ = ("held",)

    def __init__(self) -> None:
        self.held = b""

    def feed(self, data: bytes) -> bytes:
        """The next piece of the stream, without sequences and without a beginning of one at its end."""
        if self.held:
            data, self.held = self.held + data, b""
        elif b"\x1b" not in data:
            return data
        data = stripped(data)
        if (rest := _UNFINISHED.search(data, max(0, len(data) - _LONGEST))) is not None:
            self.held = rest.group()
            return data[: rest.start()]
        return data

    def flush(self) -> bytes:
        """What was held back, when nothing more will come."""
        held, self.held = self.held, b""
        return held
