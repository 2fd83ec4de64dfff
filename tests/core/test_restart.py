import dataclasses

import pytest

from supervise.config.model import AutoRestart, ProgramConfig
from supervise.core.restart import QUICK_BURST, backoff_delay, is_expected, restart_delay, should_restart

CAT = ProgramConfig(name="cat", program="cat", group_name="cat", command="/bin/cat", exitcodes=(0, 2))


def test_backoff_grows_by_a_second() -> None:
    assert [backoff_delay(attempt) for attempt in (1, 2, 3, 60)] == [1.0, 2.0, 3.0, 60.0]


@pytest.mark.parametrize(("status", "expected"), [(0, True), (2, True), (1, False), (-9, False), (None, False)])
def test_signals_and_unknown_ends_are_never_expected(status: int | None, expected: bool) -> None:
    assert is_expected(CAT, status) is expected


@pytest.mark.parametrize(
    ("autorestart", "after_expected", "after_unexpected"),
    [
        (AutoRestart.NEVER, False, False),
        (AutoRestart.UNEXPECTED, False, True),
        (AutoRestart.ALWAYS, True, True),
    ],
)
def test_autorestart(autorestart: AutoRestart, after_expected: bool, after_unexpected: bool) -> None:
    config = dataclasses.replace(CAT, autorestart=autorestart)
    assert should_restart(config, 2) is after_expected
    assert should_restart(config, 1) is after_unexpected
    assert should_restart(config, None) is after_unexpected


def test_restarts_are_held_back_only_after_a_burst() -> None:
    assert restart_delay(QUICK_BURST, 0.0) == 0.0
    assert restart_delay(QUICK_BURST + 1, 0.25) == 0.75
    assert restart_delay(QUICK_BURST + 1, 5.0) == 0.0
