"""What stands between one pipe and all that follows: passages are taken out, then terminal sequences of both."""

import struct

from supervise.core.ansi import StripAnsi, stripped
from supervise.core.capture import Capture

_HEAD = struct.Struct("<qQQ")  # length of the passage (-1: not within one), of what capture holds, of what strip holds


class Filters:
    """The filters of one pipe, as one. They hold bytes back whose meaning depends on what follows."""

    __slots__ = ("_capture", "_strip", "passages")

    def __init__(self, capture: int, *, strip: bool) -> None:
        """`capture`: bytes of a passage that are kept; 0: no passages."""
        self._capture = Capture(capture) if capture > 0 else None
        self._strip = StripAnsi() if strip else None
        self.passages: list[tuple[int, bytes]] = []  # completed by the last `feed`, with their places in its result

    def feed(self, data: bytes) -> bytes:
        """The next piece of the stream; returns what goes on."""
        if self._capture is not None:
            data, self.passages = self._capture.feed(data)
        if self._strip is None:
            return data
        done, output, passages = 0, b"", []
        for place, passage in self.passages:
            output += self._strip.feed(data[done:place])
            passages.append((len(output), stripped(passage)))
            done = place
        self.passages = passages
        return output + self._strip.feed(data[done:])

    def flush(self) -> bytes:
        """What was held back, when nothing more will come."""
        data = self._capture.flush() if self._capture is not None else b""
        return data if self._strip is None else self._strip.feed(data) + self._strip.flush()

    @property
    def waits(self) -> bool:
        """Whether a passage, or perhaps one, has begun."""
        return self._capture is not None and self._capture.holds

    @property
    def holds(self) -> bool:
        """Whether something is kept that has gone nowhere yet."""
        return self.waits or (self._strip is not None and bool(self._strip.held))

    @property
    def state(self) -> bytes:
        """All that is held, for `restore`."""
        passage = self._capture.passage if self._capture is not None else None
        held = self._capture.held if self._capture is not None else b""
        stripped = self._strip.held if self._strip is not None else b""
        head = _HEAD.pack(-1 if passage is None else len(passage), len(held), len(stripped))
        return b"".join((head, passage or b"", held, stripped))

    def restore(self, state: bytes) -> bytes:
        """Go on from there. Returns what was held by a filter that is not wanted any more: it goes to the log."""
        length, held_length, _ = _HEAD.unpack_from(state)
        passage, rest = state[_HEAD.size :][: max(0, length)], state[_HEAD.size + max(0, length) :]
        capture = self._capture or Capture(max(1, length))
        capture.passage = bytearray(passage) if length >= 0 else None
        capture.held = rest[:held_length]
        output = capture.flush() if self._capture is None else b""
        if self._strip is None:
            return output + rest[held_length:]
        self._strip.held = rest[held_length:]
        return output
