"""What an event listener says on its stdout, as a state machine without I/O (docs/events.rst of supervisord).

A listener says READY, is sent one event, answers with a RESULT, and says READY again:

    ACKNOWLEDGED   it owes us "READY\n"
    READY          it may be sent an event, and has nothing to say
    BUSY           it has been sent one, and owes us "RESULT <length>\n<body>"
    UNKNOWN        it has said something else, and nothing that it says has a meaning any more

Everything that changes the state is in `TRANSITIONS`; which bytes make which token is the business of the state's own
reader. A result is handed out before it is judged: until `judged`, what follows it is kept and not looked at.
"""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

READY_LINE = b"READY\n"
RESULT_START = b"RESULT "
MAX_LINE = 64  # bytes of a result line; "RESULT 4194304" has 14
MAX_RESULT = 4 << 20  # bytes of a result; handlers that are sent output back get some hundred kB
SHOWN = 40  # bytes of nonsense that are quoted


class ListenerState(enum.IntEnum):
    """supervisord's states, with its numbers."""

    READY = 10
    BUSY = 20
    ACKNOWLEDGED = 30
    UNKNOWN = 40


class Token(enum.Enum):
    READY = enum.auto()
    SENT = enum.auto()
    ACCEPTED = enum.auto()
    REJECTED = enum.auto()
    NOISE = enum.auto()  # anything that is not allowed here


TRANSITIONS: Mapping[ListenerState, Mapping[Token, ListenerState]] = {
    ListenerState.ACKNOWLEDGED: {Token.READY: ListenerState.READY, Token.NOISE: ListenerState.UNKNOWN},
    ListenerState.READY: {Token.SENT: ListenerState.BUSY, Token.NOISE: ListenerState.UNKNOWN},
    ListenerState.BUSY: {
        Token.ACCEPTED: ListenerState.ACKNOWLEDGED,
        Token.REJECTED: ListenerState.ACKNOWLEDGED,
        Token.NOISE: ListenerState.UNKNOWN,
    },
    ListenerState.UNKNOWN: {},
}


@dataclass(frozen=True, slots=True)
class BecameReady:
    """It can be sent an event."""


@dataclass(frozen=True, slots=True)
class Result:
    """It has answered; to be followed by `judged`."""

    body: bytes


@dataclass(frozen=True, slots=True)
class Violation:
    """It broke the protocol. `line`: a result line without a usable length."""

    reason: str
    line: bytes | None = None


Outcome: TypeAlias = BecameReady | Result | Violation


class Misuse(Exception):
    """The caller did what the listener's state does not allow."""


class ListenerMachine:
    """One run of one listener. Nothing that a listener says makes it raise, or keep much more than MAX_RESULT bytes,
    provided that nothing is read while it is `judging`."""

    __slots__ = ("_buffer", "_length", "_result", "judging", "state")

    def __init__(self, state: ListenerState = ListenerState.ACKNOWLEDGED) -> None:
        """`state`: where another one stood; what that one had `said` is to be received then."""
        self.state = state
        self.judging = False  # a result is being judged: better to read nothing meanwhile
        self._buffer = bytearray()
        self._length: int | None = None  # of the result whose line has been read
        self._result = b""  # while it is judged

    @property
    def said(self) -> bytes:
        """What it has said since it came into its state."""
        if self.judging:
            return b"RESULT %d\n" % len(self._result) + self._result + self._buffer
        if self._length is not None:
            return b"RESULT %d\n" % self._length + self._buffer
        return bytes(self._buffer)

    def receive(self, data: bytes) -> list[Outcome]:
        """Take in the next piece of its stdout, cut anywhere; returns what it means."""
        self._buffer += data
        return self._read()

    def sent(self) -> None:
        """It has been sent an event. Raises Misuse unless it is READY."""
        self._go(Token.SENT)

    def judged(self, token: Token) -> list[Outcome]:
        """The verdict on the last result: ACCEPTED, REJECTED, or NOISE; returns what came behind it."""
        if not self.judging:
            raise Misuse(f"there is no result to judge in state {self.state.name}")
        self.judging, self._result = False, b""
        self._go(token)
        return self._read()

    def give_up(self) -> None:
        """It cannot be talked to any more."""
        self.judging, self._result = False, b""
        if self.state is not ListenerState.UNKNOWN:
            self._go(Token.NOISE)

    def _go(self, token: Token) -> None:
        if (new := TRANSITIONS[self.state].get(token)) is None:
            raise Misuse(f"{token.name} in state {self.state.name}")
        self.state = new
        if new is ListenerState.UNKNOWN:
            self._buffer.clear()

    def _read(self) -> list[Outcome]:
        found: list[Outcome] = []
        while self._buffer and not self.judging and (outcome := READERS[self.state](self)) is not None:
            found.append(outcome)
        return found

    def _violation(self, reason: str, line: bytes | None = None) -> Violation:
        self._go(Token.NOISE)
        return Violation(reason, line)

    def _quoted(self) -> str:
        return repr(bytes(self._buffer[:SHOWN])).removeprefix("b")

    # Readers: what the bytes mean in each state; None when more are needed

    def _read_ready(self) -> Outcome | None:
        if self._buffer.startswith(READY_LINE):
            del self._buffer[: len(READY_LINE)]
            self._go(Token.READY)
            return BecameReady()
        if READY_LINE.startswith(self._buffer):
            return None
        return self._violation(f"it wrote {self._quoted()} where READY was expected")

    def _read_nothing(self) -> Outcome | None:
        return self._violation(f"it wrote {self._quoted()} though it had been sent no event")

    def _read_result(self) -> Outcome | None:
        if self._length is None:
            end = self._buffer.find(b"\n", 0, MAX_LINE)
            if end < 0 and len(self._buffer) < MAX_LINE:
                return None
            line = bytes(self._buffer[: end if end >= 0 else MAX_LINE])
            if end < 0 or (length := result_length(line)) is None:
                return self._violation(f"it wrote {self._quoted()} where RESULT was expected", line)
            self._length = length
            del self._buffer[: end + 1]
        if len(self._buffer) < self._length:
            return None
        body = bytes(self._buffer[: self._length])
        del self._buffer[: self._length]
        self._length = None
        self.judging, self._result = True, body
        return Result(body)

    def _ignore(self) -> Outcome | None:
        self._buffer.clear()
        return None


READERS: Mapping[ListenerState, Callable[[ListenerMachine], Outcome | None]] = {
    ListenerState.ACKNOWLEDGED: ListenerMachine._read_ready,
    ListenerState.READY: ListenerMachine._read_nothing,
    ListenerState.BUSY: ListenerMachine._read_result,
    ListenerState.UNKNOWN: ListenerMachine._ignore,
}


def result_length(line: bytes) -> int | None:
    """The length that a result line announces; None if it announces none, or one that is too large.

    As supervisord, any seven bytes do for "RESULT ", and the rest is what int() takes ("+2"). After a negative length
    that one waits for ever.
    """
    try:
        length = int(line[len(RESULT_START) :])
    except ValueError:
        return None
    return length if 0 <= length <= MAX_RESULT else None
