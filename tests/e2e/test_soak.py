"""A short soak; the long one is `python -m tests.e2e.soak`."""

import pytest

from tests.e2e.soak import soak

pytestmark = pytest.mark.timeout(300)


def test_nothing_grows() -> None:
    early, late = soak(restarts=400, rotations=100, updates=40)
    assert late.descriptors <= early.descriptors + 2
    assert late.threads <= early.threads + 1
    assert late.memory <= early.memory + (6 << 20)
