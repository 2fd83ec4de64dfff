import re
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervise.config.addresses import (
    FACILITIES,
    SEVERITIES,
    Address,
    facility,
    listen_address,
    priority,
    priority_number,
    syslog_target,
)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8000", Address(host="127.0.0.1", port=8000)),
        ("tcp://Localhost:8000", Address(host="localhost", port=8000)),
        ("[::1]:8000", Address(host="::1", port=8000)),
        ("tcp://[2001:DB8::1]:8000", Address(host="2001:db8::1", port=8000)),
        ("*:8000", Address(port=8000)),
        (":8000", Address(port=8000)),
        ("8000", Address(port=8000)),
        ("/run/x.sock", Address(path="/run/x.sock")),
        ("unix:/run/x.sock", Address(path="/run/x.sock")),
        ("unix:///run/x.sock", Address(path="/run/x.sock")),
    ],
)
def test_where_to_listen(text: str, address: Address) -> None:
    assert listen_address(text) == address


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("localhost", "no port number specified in 'localhost'"),
        ("localhost:", "no port number specified"),
        ("[::1]", "no port number specified"),
        ("::1:8000", "must be in brackets"),
        ("[::1:8000", "expected [IPv6 address]:port"),
        ("[::1]8000", "expected [IPv6 address]:port"),
        ("localhost:0", "0 is below lower bound (1)"),
        ("localhost:65536", "65536 is above upper bound (65535)"),
        ("localhost:http", "invalid literal"),
        ("unix:run/x", "'unix:run/x' does not name an absolute path"),
        ("a b:1", "'a b' is not a host"),
        ("", "no port number specified"),
    ],
)
def test_where_nobody_can_listen(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        listen_address(text)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("/dev/log", "unix:/dev/log"),
        ("unix:/dev/log", "unix:/dev/log"),
        ("unix:///dev/log", "unix:/dev/log"),
        ("journald", "journald:/run/systemd/journal/socket"),
        ("journald:/run/j", "journald:/run/j"),
        ("udp://LogHost", "udp://loghost:514"),
        ("udp://loghost:1514", "udp://loghost:1514"),
        ("tcp://[::1]", "tcp://[::1]:514"),
        ("tcp://[::1]:601", "tcp://[::1]:601"),
    ],
)
def test_where_lines_go(text: str, target: str) -> None:
    assert syslog_target(text) == target
    assert syslog_target(target) == target


@pytest.mark.parametrize(
    "text", ["", "loghost", "udp:loghost", "udp://", "tls://x", "unix:x", "journald:x", "udp://::1"]
)
def test_where_no_line_can_go(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text) or "."):
        syslog_target(text)


@settings(deadline=None)
@given(st.text())
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    for convert in (listen_address, syslog_target, priority, facility):
        with suppress(ValueError):
            convert(text)


@pytest.mark.parametrize(
    ("text", "normal", "number"),
    [
        ("user.info", "user.info", 14),
        ("DAEMON.Notice", "daemon.notice", 29),
        ("warn", "user.warning", 12),
        ("local0", "local0.info", 134),
        ("local7.error", "local7.err", 187),
        ("kern.panic", "kern.emerg", 0),
    ],
)
def test_priorities(text: str, normal: str, number: int) -> None:
    assert priority(text) == normal
    assert priority_number(normal) == number


def test_the_tables_are_those_of_rfc_5424() -> None:
    assert (len(FACILITIES), FACILITIES.index("local0"), len(SEVERITIES)) == (24, 16, 8)
    for bad in ("loud", "user.loud", "loud.info", "user.", ".info", ""):
        with pytest.raises(ValueError, match="unknown"):
            priority(bad)
    with pytest.raises(ValueError, match="unknown facility 'loud'; expected kern"):
        facility("loud")
