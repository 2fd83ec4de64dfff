import contextlib
import signal
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervise.config import values
from supervise.config.machine import STOCK_INTERFACE, Machine
from supervise.config.problems import NotHere
from supervise.config.values import AUTO, AutoRestart, StopScope

NUMBERS = st.integers(-(10**11), 10**11)


@pytest.mark.parametrize(
    ("convert", "text", "value"),
    [
        (values.boolean, "Yes", True),
        (values.boolean, "ON", True),
        (values.boolean, "1", True),
        (values.boolean, "False", False),
        (values.boolean, "off", False),
        (values.octal, "022", 0o22),
        (values.octal, "0o700", 0o700),
        (values.seconds, "10", 10),
        (values.seconds, "-1", -1),
        (values.seconds, " 7 ", 7),
        (values.seconds, "1.5", 1.5),
        (values.seconds, "2.0", 2),
        (values.seconds, "10s", 10),
        (values.seconds, "1m30s", 90),
        (values.seconds, "1h 5m", 3900),
        (values.seconds, "500ms", 0.5),
        (values.seconds, "0.5m", 30),
        (values.byte_size, "0", 0),
        (values.byte_size, "50MB", 50 * 1024**2),
        (values.byte_size, "1 kb", 1024),
        (values.byte_size, "2Gb", 2 * 1024**3),
        (values.byte_size, "-1", -1),
        (values.words, "", ()),
        (values.words, "a, b ,c", ("a", "b", "c")),
        (values.words, "a,", ("a", "")),
        (values.exit_codes, "", ()),
        (values.exit_codes, "0, 2,255", (0, 2, 255)),
        (values.signal_number, "TERM", 15),
        (values.signal_number, "sigusr1", signal.SIGUSR1),
        (values.signal_number, "9", 9),
        (values.signal_number, "0", 0),
        (values.signal_number, "RTMIN", signal.SIGRTMIN),
        (values.auto_restart, "TRUE", AutoRestart.ALWAYS),
        (values.auto_restart, "0", AutoRestart.NEVER),
        (values.auto_restart, "Unexpected", AutoRestart.UNEXPECTED),
        (values.log_level, "WARN", 30),
        (values.log_level, "blather", 3),
        (values.child_log, "NONE", None),
        (values.child_log, "off", None),
        (values.child_log, "Auto", AUTO),
        (values.child_log, "syslog", "syslog"),
        (values.child_log, "/x/y", "/x/y"),
        (values.address, "9001", ("", 9001)),
        (values.address, "*:9001", ("", 9001)),
        (values.address, ":9001", ("", 9001)),
        (values.address, "LocalHost:1", ("localhost", 1)),
        (values.address, "[::1]:65535", ("::1", 65535)),
        (values.server_url, " auto ", None),
        (values.server_url, "", ""),
        (values.factory, " os: path.join", "os:path.join"),
        (values.factory, "supervisor.dispatchers : default_handler", "supervisor.dispatchers:default_handler"),
        (values.factory, "supervisor.rpcinterface: make_main_rpcinterface", STOCK_INTERFACE),
        (values.factory, "supervisor.rpcinterface:SupervisorNamespaceRPCInterface", STOCK_INTERFACE),
        (values.server_url, "http://x", "http://x"),
        (values.event_names, "tick_5, EVENT,TICK_5", ("EVENT", "TICK_5")),
        (values.shutdown_time, "None", None),
        (values.shutdown_time, "1m", 60),
        (values.choice(StopScope), " Tree ", StopScope.TREE),
    ],
)
def test_good(convert: Callable[[str], object], text: str, value: object) -> None:
    assert convert(text) == value


@pytest.mark.parametrize(
    ("convert", "text", "message"),
    [
        (values.boolean, "maybe", "not a valid boolean value: 'maybe'"),
        (values.integer, "3]", "invalid literal for int() with base 10: '3]'"),
        (values.octal, "9", "9 can not be converted to an octal type"),
        (values.octal, "", " can not be converted to an octal type"),
        (values.seconds, "ten", "invalid literal for int() with base 10: 'ten'; write seconds, or a duration such as"),
        (values.seconds, "5M", "invalid literal for int() with base 10: '5M'; write seconds"),
        (values.seconds, "1x", "invalid literal for int() with base 10: '1x'"),
        (values.seconds, "nan", "invalid literal for int() with base 10: 'nan'"),
        (values.seconds, "", "invalid literal for int() with base 10: ''"),
        (values.seconds, "1" + "0" * 20, f"1{'0' * 20} is too long a time"),
        (values.byte_size, "50M", "invalid literal for int() with base 10: '50m'; did you mean 50MB?"),
        (values.byte_size, "x", "invalid literal for int() with base 10: 'x'"),
        (values.byte_size, "KB", "invalid literal for int() with base 10: ''"),
        (values.exit_codes, "0,256", "not a valid list of exit codes: '0,256'"),
        (values.exit_codes, "a", "not a valid list of exit codes: 'a'"),
        (values.exit_codes, "0,", "not a valid list of exit codes: '0,'"),
        (values.signal_number, "NOPE", "value 'NOPE' is not a valid signal name"),
        (values.signal_number, "_IGN", "value '_IGN' is not a valid signal name"),
        (values.signal_number, "999", "value '999' is not a valid signal number"),
        (values.auto_restart, "Maybe", "invalid 'autorestart' value 'maybe'"),
        (values.log_level, "warning", "bad logging level name 'warning'; expected critical, error,"),
        (values.address, "host:", "no port number specified in 'host:'"),
        (values.address, "host", "not a valid port number: 'host'"),
        (values.address, "0", "not a valid port number: '0'"),
        (values.address, "h:x", "invalid literal for int() with base 10: 'x'; expected a port from 1 to 65535, as in"),
        (values.address, "h:0", "0 is below lower bound (1)"),
        (values.address, "h:70000", "70000 is above upper bound (65535)"),
        (values.choice(StopScope), "all", "expected process, group, tree, not 'all'"),
    ],
)
def test_bad(convert: Callable[[str], object], text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        convert(text)
    assert str(refused.value).startswith(message)


@given(NUMBERS)
def test_whole_seconds_are_themselves(number: int) -> None:
    found = values.seconds(str(number))
    assert (found, type(found)) == (number, int)


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59))
def test_durations_add_up(hours: int, minutes: int, seconds: int) -> None:
    assert values.seconds(f"{hours}h{minutes}m{seconds}s") == hours * 3600 + minutes * 60 + seconds


@given(NUMBERS, st.sampled_from(["", "KB", "mb", "Gb"]))
def test_sizes_are_of_1024(number: int, unit: str) -> None:
    assert values.byte_size(f"{number}{unit}") == number * 1024 ** ["", "kb", "mb", "gb"].index(unit.lower())


@given(st.text())
def test_any_text_is_a_value_or_a_value_error(text: str) -> None:
    types = [found for found in vars(values).values() if isinstance(found, values.Type)]
    for found in types:
        with contextlib.suppress(ValueError):
            found.parse(text)


@pytest.mark.parametrize(
    ("kind", "raw", "text"),
    [
        (values.TEXT, "x", "x"),
        (values.BOOLEAN, True, "true"),
        (values.BOOLEAN, "off", "off"),
        (values.INTEGER, 5, "5"),
        (values.SECONDS, 1.5, "1.500000"),
        (values.SECONDS, 2.0, "2"),
        (values.SIZE, 1000, "1000"),
        (values.COMMAND, ["sh", "-c", "a; b"], "sh -c 'a; b'"),
        (values.NAMES, ["a", "b"], "a,b"),
        (values.EXIT_CODES, [0, 2], "0,2"),
        (values.EXIT_CODES, 3, "3"),
        (values.ENVIRONMENT, {"A": "b c", "N": 1, "F": True}, 'A="b c",N=1,F=true'),
        (values.ADDRESS, 9001, "9001"),
        (values.RESTART, False, "false"),
    ],
)
def test_native_values_become_texts(kind: values.Type, raw: object, text: str) -> None:
    assert kind.text_of(raw) == text


@pytest.mark.parametrize(
    ("kind", "raw", "message"),
    [
        (values.TEXT, 5, "expected text, not 5"),
        (values.BOOLEAN, 1, "expected true or false, not 1"),
        (values.INTEGER, True, "expected a whole number, not True"),
        (values.INTEGER, 1.5, "expected a whole number, not 1.5"),
        (values.SECONDS, float("inf"), "expected seconds,"),
        (values.OCTAL, 700, 'expected an octal number as a string, such as "0700", not 700'),
        (values.NAMES, ["a", 1], "expected a list of names"),
        (values.EXIT_CODES, [True], "expected a list of exit codes"),
        (values.ENVIRONMENT, {"A": ["x"]}, "expected pairs such as"),
        (values.COMMAND, {}, "expected a command line, or a list of its words"),
    ],
)
def test_other_native_values_are_refused(kind: values.Type, raw: object, message: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        kind.text_of(raw)
    assert str(refused.value).startswith(message)


def test_where_values_need_the_machine(machine: Machine) -> None:
    def located(kind: values.Type, text: str) -> object:
        assert kind.locate
        return kind.locate(machine, kind.parse(text))

    assert located(values.CHILD_LOG, "auto") == AUTO
    assert located(values.CHILD_LOG, "~/x.log") == "/root/x.log"
    assert located(values.LOG, "syslog") == "syslog"
    assert located(values.LOG, "x.log") == f"{machine.cwd}/x.log"
    assert located(values.FILE, " /a/../b ") == "/b"
    assert located(values.CHOWN, "alice:root") == (1000, 0)
    with pytest.raises(
        NotHere, match="Invalid sockchown value bob: Invalid user:group definition bob: Invalid user name"
    ):
        located(values.CHOWN, "bob")
    with pytest.raises(ValueError, match="Invalid chmod value 9: 9 can not be converted to an octal type"):
        values.CHMOD.parse("9")
