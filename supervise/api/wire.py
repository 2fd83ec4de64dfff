"""XML-RPC on the wire: a bounded parser for calls, and a renderer for answers.

Parsing uses the standard library's `Unmarshaller` behind an expat parser of our own, which refuses what a call never
needs: document types (and with them entities), great depth, great numbers of elements. Rendering is ours: the
standard library's writer is several times slower, emits characters that XML forbids, and raises on integers
beyond 32 bits.
"""

import datetime
import re
from base64 import encodebytes
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, NoReturn
from xml.parsers import expat
from xmlrpc.client import MAXINT, MININT, Binary, Unmarshaller

from supervise.api.text import slices

MAX_DEPTH = 64
MAX_ELEMENTS = 50_000  # parsing that many takes about 0.1 s, and nothing else runs meanwhile

# What XML 1.0 cannot carry, not even escaped: most control characters, lone surrogates, two non-characters.
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
SPECIAL = re.compile("[&<>\r\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")

PROLOGUE = "<?xml version='1.0'?>\n<methodResponse>\n"
_BEFORE = f"{PROLOGUE}<params>\n<param>\n".encode()
_AFTER = b"</param>\n</params>\n</methodResponse>\n"


class Unparsable(ValueError):
    """The body is not an XML-RPC call, or not one that we are willing to read."""


def parse_call(body: bytes) -> tuple[str, tuple[Any, ...]]:
    """The method name ("" if there is none) and the parameters of a call.

    base64 arrives as bytes, dateTime as datetime, everything else as the obvious type. Raises Unparsable.
    """
    target = Unmarshaller(use_builtin_types=True)
    target.dispatch = _ENDS
    reader = _Reader(target)
    try:
        reader.parser.Parse(body, True)
        name = target.getmethodname() or ""
        params = target.close() if name else ()
    except Unparsable:
        raise
    except Exception as exc:  # the standard library raises whatever its converters raise
        raise Unparsable(f"{type(exc).__name__}: {exc}"[:200]) from exc
    return name, tuple(params)


def _end_boolean(target: Unmarshaller, data: str) -> None:
    target.end_boolean("1" if data == "1" else "0")


# The standard library's, but whatever a boolean says that is not 1 is false, as for supervisord.
_ENDS = {**Unmarshaller.dispatch, "boolean": _end_boolean}


class _Reader:
    """Feeds an `Unmarshaller` from expat, counting."""

    def __init__(self, target: Unmarshaller) -> None:
        self._start, self._depth, self._elements = target.start, 0, 0
        self._end = target.end
        self.parser = parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self.start
        parser.EndElementHandler = self.end
        parser.CharacterDataHandler = target.data
        parser.StartDoctypeDeclHandler = self.doctype
        target.xml(None, None)  # type: ignore[arg-type]  # expat has decoded everything, as in xmlrpc.client itself

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        self._elements += 1
        if self._depth > MAX_DEPTH:
            raise Unparsable(f"more than {MAX_DEPTH} levels deep")
        if self._elements > MAX_ELEMENTS:
            raise Unparsable(f"more than {MAX_ELEMENTS} elements")
        self._start(tag, attributes)

    def end(self, tag: str) -> None:
        self._depth -= 1
        self._end(tag)

    def doctype(self, *_: object) -> NoReturn:
        raise Unparsable("a document type is not allowed")


def text(value: str) -> str:
    """`value` as XML character data. What XML cannot carry becomes U+FFFD; a carriage return survives (as `&#13;`),
    which a bare one would not (XML turns it into a newline)."""
    if not SPECIAL.search(value):
        return value
    value = _ILLEGAL.sub("\ufffd", value)
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")


def integer(value: int) -> int:
    """Capped to 32 bits, as XML-RPC demands."""
    return MININT if value < MININT else MAXINT if value > MAXINT else value


class Rendered(str):
    """A value that is already a `<value>` element."""

    __slots__ = ()


class Pieces:
    """A value that is already a `<value>` element, UTF-8, in pieces."""

    __slots__ = ("parts",)

    def __init__(self, parts: list[bytes]) -> None:
        self.parts = parts


def value(item: Any, *, exact: bool = False) -> str:
    """The `<value>` element of anything that a method returns. Raises TypeError; with `exact` also OverflowError, for
    an integer that would have to be capped."""
    match item:
        case Rendered():
            return item
        case Pieces():
            return b"".join(item.parts).decode()
        case str():
            return f"<value><string>{text(item)}</string></value>\n"
        case bool():
            return f"<value><boolean>{item:d}</boolean></value>\n"
        case int():
            number = integer(int(item))
            if exact and number != item:
                raise OverflowError(f"{item} has more than 32 bits")
            return f"<value><int>{number}</int></value>\n"
        case float():
            return f"<value><double>{item!r}</double></value>\n"
        case bytes() | bytearray() | Binary():
            data = item.data if isinstance(item, Binary) else item
            return f"<value><base64>\n{encodebytes(data).decode()}</base64></value>\n"
        case Mapping():
            pairs = ((text(key), value(item[key], exact=exact)) for key in item)
            members = "".join(f"<member>\n<name>{name}</name>\n{shown}</member>\n" for name, shown in pairs)
            return f"<value><struct>\n{members}</struct></value>\n"
        case Sequence():
            values = "".join(value(each, exact=exact) for each in item)
            return f"<value><array><data>\n{values}</data></array></value>\n"
        case datetime.datetime():
            return f"<value><dateTime.iso8601>{item:%Y%m%dT%H:%M:%S}</dateTime.iso8601></value>\n"
        case _:
            raise TypeError(f"no XML-RPC type for {type(item).__name__}")


def string(data: bytes) -> Pieces:
    """The `<value>` element of a text, in pieces."""
    return Pieces([b"<value><string>", *(text(piece).encode() for piece in slices(data)), b"</string></value>\n"])


def parts(item: Any) -> list[bytes]:
    """The `<value>` element of anything, UTF-8, in pieces where some of it is."""
    if isinstance(item, Pieces):
        return item.parts
    if isinstance(item, list) and any(isinstance(one, Pieces) for one in item):
        return [b"<value><array><data>\n", *chain.from_iterable(map(parts, item)), b"</data></array></value>\n"]
    return [value(item).encode()]


def response(item: Any) -> bytes:
    """A whole successful answer, UTF-8."""
    return b"".join(pieces(item))


def pieces(item: Any) -> list[bytes]:
    """The same, in pieces."""
    return [_BEFORE, *parts(item), _AFTER]


def fault(code: int, message: str) -> bytes:
    """A whole fault answer, UTF-8."""
    struct = value({"faultCode": int(code), "faultString": message})
    return f"{PROLOGUE}<fault>\n{struct}</fault>\n</methodResponse>\n".encode()
