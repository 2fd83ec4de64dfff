"""Fixtures for every test: directories, running daemons, and which of the two supervisors."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.daemons", "tests.tools", "tests.compat.pair")

from tests.certificates import Certificates
from tests.daemons import KINDS, Kind, Supervisors

# A shell starts what is to run in the background with these ignored, and everything that we start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)


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
