"""Bytes of a log on their way to somebody who reads text: never cut inside a character."""

from collections.abc import Iterator

SLICE = 32 << 10  # bytes
_CONTINUATION = range(0x80, 0xC0)


def skip_partial(data: bytes) -> bytes:
    """`data` without the end of a UTF-8 character that began before it. For data cut out of the middle of a file."""
    start = 0
    while start < min(3, len(data)) and data[start] in _CONTINUATION:
        start += 1
    return data[start:]


def split_partial(data: bytes) -> tuple[bytes, bytes]:
    """`data` up to the last whole UTF-8 character, and the beginning of one (at most 3 bytes) that follows it.

    Bytes that are not UTF-8 at all are not held back.
    """
    for back in range(1, min(3, len(data)) + 1):
        lead = data[-back]
        if lead in _CONTINUATION:
            continue
        length = 2 if 0xC2 <= lead < 0xE0 else 3 if 0xE0 <= lead < 0xF0 else 4 if 0xF0 <= lead < 0xF5 else 1
        return (data[:-back], data[-back:]) if length > back else (data, b"")
    return data, b""


def decode(data: bytes) -> str:
    """As text; what is not UTF-8 becomes U+FFFD."""
    return data.decode(errors="replace")


def slices(data: bytes) -> Iterator[str]:
    """The same, in pieces: a thread that goes through them stops others only as long as one takes."""
    kept = b""
    for start in range(0, len(data), SLICE):
        whole, kept = split_partial(kept + data[start : start + SLICE])
        yield decode(whole)
    yield decode(kept)
