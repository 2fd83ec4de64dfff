"""Writing configurations, and reading them on a machine that is described here and not the one the tests run on."""

import re
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from supervise.config.load import Examination, examine
from supervise.config.machine import Machine

USERS = {"root": 0, "www-data": 33, "alice": 1000}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Root's machine with three users, whose groups have their numbers, and two variables."""
    return Machine(
        environ={"HOME": "/root", "COLOR": "dark 100%"},
        node="node7",
        cwd=str(tmp_path),
        uid=0,
        tempdir=lambda: "/tmp",
        user_id=USERS.__getitem__,
        group_id=USERS.__getitem__,
        known_uid=lambda uid: uid in USERS.values(),
        known_gid=lambda gid: gid in USERS.values(),
        primary_group=lambda uid: uid,
    )


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """write(text, name="supervisord.conf") -> path, with the indentation of the test removed."""

    def write(text: str | bytes, name: str = "supervisord.conf") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else textwrap.dedent(text).encode())
        return path

    return write


@pytest.fixture
def look(write: Callable[..., Path], machine: Machine) -> Callable[..., Examination]:
    """look(text, name=…, **changes to the machine) -> Examination. [supervisord] is added if it is missing."""

    def look(text: str, name: str = "supervisord.conf", **changes: Any) -> Examination:
        text = textwrap.dedent(text)
        if not re.search(r"^\[supervis(e|ord)\]", text, re.MULTILINE):
            text = f"{text}\n[supervisord]\n"
        return examine(write(text, name), replace(machine, **changes))

    return look
