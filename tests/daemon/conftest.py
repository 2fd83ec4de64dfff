"""Fixtures for the tests of the daemon's rooms."""

import pytest

from supervise.daemon import draining, outputs
from tests.daemon.running import PATIENCE


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that gets no processor for a moment, or a disk that is busy, costs no last words and no pid here."""
    monkeypatch.setattr(draining, "DRAIN", PATIENCE)
    monkeypatch.setattr(outputs, "PID_PATIENCE", PATIENCE)
