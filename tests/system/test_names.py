"""Names of hosts, and those that nobody answers for."""

import socket
import threading

import pytest

from supervise.system import names
from supervise.system.names import addresses
from tests.tools import wait_for


def test_numbers_and_names() -> None:
    assert [entry[4] for entry in addresses("127.0.0.1", 9001)] == [("127.0.0.1", 9001)]
    assert ("0.0.0.0", 9001) in [entry[4] for entry in addresses(None, 9001)]
    assert {entry[4][0] for entry in addresses("localhost", 9001)} & {"127.0.0.1", "::1"}
    for name in ("no.such.host.invalid", "a" * 70 + ".example"):
        with pytest.raises(OSError, match=r"."):
            addresses(name, 9001)
    wait_for(lambda: not asking(), "a resolver may be slow to give up")


def asking() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "names"]


def test_a_resolver_that_hangs_holds_nobody_up_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    go, real = threading.Event(), socket.getaddrinfo

    def hanging(host: str, *more: object, flags: int, **rest: object) -> object:
        if not flags & socket.AI_NUMERICHOST:
            go.wait(60)
        return real(host, *more, flags=flags, **rest)  # type: ignore[arg-type]  # whatever it is called with

    monkeypatch.setattr(names, "RESOLVING", 0.05)
    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    with pytest.raises(OSError, match="no answer within"):
        addresses("localhost", 9001)
    assert addresses("127.0.0.1", 9001)
    go.set()
    wait_for(lambda: not asking())
