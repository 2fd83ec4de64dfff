"""Fixtures for every test: directories, running daemons, and which of the two supervisors."""

import logging
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("tests.daemons", "tests.tools", "tests.compat.pair")

from tests.certificates import Certificates
from tests.daemons import KINDS, Kind, Supervisors

# A shell starts what is to run in the background with these ignored, and everything that we start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)

# A machine that is busy with other things is no reason to fail; the rest is as hypothesis has it here or in CI.
settings.register_profile("patient", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(autouse=True)
def _logger() -> Iterator[None]:
    """Which lines a test sees does not depend on what was the main log of one before it, in the same process."""
    logger = logging.getLogger("supervise")
    level, propagate, handlers = logger.level, logger.propagate, [*logger.handlers]
    yield
    logger.setLevel(level)
    logger.propagate, logger.handlers[:] = propagate, handlers


@pytest.fixture
def supervisors() -> Iterator[Supervisors]:
    """Starts daemons for one test; see tests/daemons.py."""
    own = Supervisors()
    yield own
    own.close()


@pytest.fixture(scope="module")
def shared_supervisors() -> Iterator[Supervisors]:
    """Starts daemons for a whole module. xdist runs the tests of one file in one worker (--dist loadfile)."""
    own = Supervisors()
    yield own
    own.close()


@pytest.fixture
def place(supervisors: Supervisors) -> Path:
    """A short directory that every user may enter; processes that name it are killed at the end."""
    return supervisors.place()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority, and certificates of it for a server and a client."""
    return Certificates.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Runs the test twice: with our daemon and with the real supervisord."""
    kind: Kind = request.param
    return kind


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that the workers end together."""
    items.sort(key=lambda item: "test_production" not in item.nodeid)
