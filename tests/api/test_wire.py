"""XML-RPC on the wire: what the standard library's client sends and reads, and what nobody should send."""

import datetime
import xmlrpc.client
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervise.api import text, wire
from supervise.api.text import decode


def call(*params: Any, method: str = "a.b") -> bytes:
    return xmlrpc.client.dumps(params, method).encode()


def read(answer: bytes) -> Any:
    (value,), _ = xmlrpc.client.loads(answer)
    return value


def test_a_call_of_the_standard_client() -> None:
    stamp = datetime.datetime(2026, 1, 2, 3, 4, 5)
    body = xmlrpc.client.dumps((1, True, "ä&<", 1.5, b"\x00\xff", [1, {"k": "v"}], stamp), "a.b").encode()
    assert wire.parse_call(body) == ("a.b", (1, True, "ä&<", 1.5, b"\x00\xff", [1, {"k": "v"}], stamp))


@pytest.mark.parametrize(
    "body, expected",
    [
        (b"<methodCall><methodName>x.y</methodName></methodCall>", ("x.y", ())),
        (b"<methodCall><methodName></methodName><params/></methodCall>", ("", ())),
        *[(body, ("", ())) for body in (b"<methodResponse><params/></methodResponse>", b"<methodCall/>", b"<html/>")],
        (
            b"<methodCall><methodName>x</methodName><params><param><value>bare</value></param></params></methodCall>",
            ("x", ("bare",)),
        ),
        (
            b"<methodCall><methodName>x</methodName><params><param><value><i4>7</i4></value></param></params></methodCall>",
            ("x", (7,)),
        ),
        (
            "<?xml version='1.0' encoding='latin1'?><methodCall><methodName>ä</methodName></methodCall>".encode(
                "latin1"
            ),
            ("ä", ()),
        ),
    ],
)
def test_calls_that_other_clients_send(body: bytes, expected: Any) -> None:
    assert wire.parse_call(body) == expected


@pytest.mark.parametrize("said, meant", [("1", True), ("0", False), ("true", False), ("", False), ("2", False)])
def test_booleans_are_what_supervisord_takes_them_for(said: str, meant: bool) -> None:
    assert wire.parse_call(param(f"<value><boolean>{said}</boolean></value>")) == ("x", (meant,))


def param(value: str) -> bytes:
    return f"<methodCall><methodName>x</methodName><params><param>{value}</param></params></methodCall>".encode()


BOMB = b"""<?xml version="1.0"?><!DOCTYPE b [<!ENTITY a "aaaaaaaaaa"><!ENTITY c "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<methodCall><methodName>&c;</methodName></methodCall>"""


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00\xff",
        b"hello",
        b"<",
        b"<methodCall>",
        b"<methodCall><methodName>x</methodName></methodCall>trailing",
        b"<methodCall><methodName>\xff\xfe</methodName></methodCall>",
        b"<methodCall><methodName>&unknown;</methodName></methodCall>",
        b"<methodCall><methodName>\x01</methodName></methodCall>",
        BOMB,
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><methodCall><methodName>x</methodName></methodCall>',
        param("<value><int>one</int></value>"),
        param("<value><int></int></value>"),
        param(f"<value><int>{'9' * 100_000}</int></value>"),
        param("<value><double>wide</double></value>"),
        param("<value><dateTime.iso8601>yesterday</dateTime.iso8601></value>"),
        param("<value><base64>*</base64></value>") + b">",
        param("<value><array><data>" * 40 + "</data></array></value>" * 40),
        param("<value/>" * 60_000),
        b"<a>" * 100_000,
    ],
    ids=lambda body: repr(body[:60]),
)
def test_what_is_no_call(body: bytes) -> None:
    with pytest.raises(wire.Unparsable):
        wire.parse_call(body)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_call_or_unparsable(body: bytes) -> None:
    try:
        name, params = wire.parse_call(body)
    except wire.Unparsable:
        return
    assert isinstance(name, str)
    assert isinstance(params, tuple)


@given(st.text())
def test_any_text_reaches_the_client(text: str) -> None:
    received = read(wire.response(text))
    assert len(received) == len(text)
    for sent, got in zip(text, received, strict=True):
        assert got in (sent, "\ufffd")
        assert sent == got or ord(sent) < 32 or "\ud800" <= sent <= "\udfff" or sent in "\ufffe\uffff"


VALUES = st.recursive(
    st.booleans()
    | st.integers(-(2**31), 2**31 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("abcäöü<>&\r\n\t \u20ac\U0001f600"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc<&", max_size=4), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_values_survive(value: Any) -> None:
    assert read(wire.response(value)) == value


def test_the_rest_of_the_values() -> None:
    stamp = datetime.datetime(2026, 1, 2, 3, 4, 5)
    assert read(wire.response(stamp)) == xmlrpc.client.DateTime(stamp)
    assert read(wire.response((1, 2))) == [1, 2]
    assert read(wire.response([wire.Rendered("<value><int>3</int></value>")])) == [3]
    for raw in (b"\x00\xff" * 50, b""):
        for data in (raw, bytearray(raw), xmlrpc.client.Binary(raw)):
            assert read(wire.response([data])) == [xmlrpc.client.Binary(raw)]
    with pytest.raises(TypeError):
        wire.response(object())


def test_integers_are_capped_to_32_bits() -> None:
    assert read(wire.response([2**31, -(2**40), 2**31 - 1])) == [2**31 - 1, -(2**31), 2**31 - 1]
    for large in (2**31, [-(2**40)], {"x": [2**31]}):
        with pytest.raises(OverflowError):
            wire.value(large, exact=True)
    assert wire.value([2**31 - 1], exact=True) == wire.value([2**31 - 1])


def test_a_fault() -> None:
    with pytest.raises(xmlrpc.client.Fault) as caught:
        xmlrpc.client.loads(wire.fault(10, "BAD_NAME: ä<\x00"))
    assert (caught.value.faultCode, caught.value.faultString) == (10, "BAD_NAME: ä<\ufffd")


def test_lengths_are_in_bytes() -> None:
    assert wire.response("äöü").count("ä".encode()) == 1


@given(st.binary(max_size=12))
def test_a_text_in_slices_is_the_same_text(data: bytes) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(text, "SLICE", 2)
        found = wire.string(data)
    assert b"".join(found.parts).decode() == wire.value(decode(data))
    assert wire.response([found, 1]) == wire.response([decode(data), 1])


def test_no_slice_is_large() -> None:
    assert max(map(len, wire.string(b"&\x01\xff" * 100_000).parts)) <= 5 * text.SLICE
