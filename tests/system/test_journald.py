"""Entries as journald reads them."""

import socket
import struct
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from supervise.system.journald import connect, entry, field


def parsed(datagram: bytes) -> dict[str, bytes]:
    """What journald makes of a datagram, by the rules of the native protocol."""
    found: dict[str, bytes] = {}
    while datagram:
        line, _, rest = datagram.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (length,) = struct.unpack("<Q", rest[:8])
            value, end, datagram = rest[8 : 8 + length], rest[8 + length : 9 + length], rest[9 + length :]
            assert end == b"\n"
        else:
            datagram = rest
        assert name.decode().isupper()
        found[name.decode()] = value
    return found


def test_an_entry_arrives(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(tmp_path / "socket"))
        connection = connect(str(tmp_path / "socket"))
        with connection.sock:
            message = entry({"PRIORITY": 6, "SUPERVISE_PROGRAM": "web"})(0.0, b"a=b")
            connection.sock.send(connection.frame(message))
            assert parsed(journal.recv(9999)) == {"MESSAGE": b"a=b", "PRIORITY": b"6", "SUPERVISE_PROGRAM": b"web"}
            connection.sock.send(entry({})(0.0, b"x" * 47 * 1024))
            assert len(parsed(journal.recv(99999))["MESSAGE"]) == 47 * 1024


@settings(deadline=None)
@given(st.binary(), st.binary())
def test_any_bytes(one: bytes, other: bytes) -> None:
    assert parsed(field("ONE", one) + field("OTHER", other)) == {"ONE": one, "OTHER": other}
