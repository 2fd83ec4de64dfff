"""Capture mode: what a program writes between two tokens is taken out of its output, to be sent as one event.

(supervisord's manual, "Process Communication Events".) The tokens may come in any pieces. Of an event that is longer
than the limit the oldest bytes are lost. What is held back because it may be the beginning of a token, and a passage
whose end never comes, go to the log when the stream ends: nothing is swallowed (B7).
"""

BEGIN = b"<!--XSUPERVISOR:BEGIN-->"
END = b"<!--XSUPERVISOR:END-->"


class Capture:
    """The filter of one stream; at most `limit` bytes of a passage are kept."""

    __slots__ = ("_limit", "dropped", "held", "passage")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.held = b""  # the beginning of a token, perhaps
        self.passage: bytearray | None = None  # None: not within one
        self.dropped = 0  # bytes of passages that were too long

    @property
    def holds(self) -> bool:
        """Whether something is kept that has gone nowhere yet."""
        return bool(self.held) or self.passage is not None

    def feed(self, data: bytes) -> tuple[bytes, list[tuple[int, bytes]]]:
        """The next piece of the stream. Returns what goes to the log, and the passages that are complete now, each with
        its place: how much of what goes to the log comes before it."""
        if self.held:
            data, self.held = self.held + data, b""
        elif self.passage is None and b"<" not in data:
            return data, []
        output = bytearray()
        passages: list[tuple[int, bytes]] = []
        while True:
            token = BEGIN if self.passage is None else END
            before, found, after = data.partition(token)
            if not found:
                break
            self._pass(before, output)
            if self.passage is None:
                self.passage = bytearray()
            else:
                passages.append((len(output), bytes(self.passage)))
                self.passage = None
            data = after
        if count := beginning_at_end(data, token):
            self.held = data[-count:]
            data = data[:-count]
        self._pass(data, output)
        return bytes(output), passages

    def flush(self) -> bytes:
        """What goes to the log when nothing more will come; afterwards a new stream may begin."""
        held, self.held = self.held, b""
        if self.passage is None:
            return held
        passage, self.passage = bytes(self.passage), None
        return BEGIN + passage + held

    def _pass(self, data: bytes, output: bytearray) -> None:
        if self.passage is None:
            output += data
            return
        self.passage += data
        if (excess := len(self.passage) - self._limit) > 0:
            del self.passage[:excess]
            self.dropped += excess


def beginning_at_end(data: bytes, token: bytes) -> int:
    """How many bytes at the end of `data` are a beginning of `token` (less than the whole)."""
    place = data.find(token[:1], max(0, len(data) - len(token) + 1))
    while place >= 0:
        if token.startswith(data[place:]):
            return len(data) - place
        place = data.find(token[:1], place + 1)
    return 0
