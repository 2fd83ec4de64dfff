"""Local users by PAM: with the real library, and a service of ours whose modules need no shadow file."""

import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from supervise.api.pam import role_of
from supervise.config.model import Role, ServerConfig
from tests.tools import need_package, need_root


@pytest.fixture
def service() -> Iterator[str]:
    """A service that knows everybody whose password is "right", by a script."""
    need_root()
    need_package("pamela")
    name = f"supervise-test-{os.getpid()}"
    path = Path("/etc/pam.d") / name
    script = Path(f"/tmp/{name}.sh")
    script.write_text('#!/bin/sh\nread -r password\n[ "$password" = right ]\n')
    script.chmod(0o755)
    path.write_text(f"auth required pam_exec.so quiet expose_authtok {script}\naccount required pam_permit.so\n")
    yield name
    path.unlink()
    script.unlink()


def server(service: str, **groups: Any) -> ServerConfig:
    return ServerConfig(kind="inet", section="inet_http_server", pam_service=service, **groups)


def test_members_have_the_roles_of_their_groups(service: str) -> None:
    record = pwd.getpwnam("nobody")
    assert role_of(server(service, read_groups=(record.pw_gid,)), "nobody", b"right") is Role.READ
    assert role_of(server(service, control_groups=(record.pw_gid,)), "nobody", b"right") is Role.CONTROL
    assert role_of(server(service, read_groups=(4711,)), "root", b"right") is Role.ADMIN


def test_everybody_else_has_none(service: str, caplog: pytest.LogCaptureFixture) -> None:
    config = server(service, read_groups=(pwd.getpwnam("nobody").pw_gid,))
    for user, password in (
        ("nobody", b"wrong"),
        ("nobody", b""),
        ("nobody", b"right\0"),
        ("nobody", b"\xff"),
        ("no\0body", b"right"),
        ("nosuchuser", b"right"),
    ):
        assert role_of(config, user, password) is None, (user, password)
    assert role_of(server(service, read_groups=(4711,)), "nobody", b"right") is None
    assert "local user 'nobody' is not among the users and groups of inet_http_server" in caplog.text


def test_a_service_that_does_not_exist_lets_nobody_in() -> None:
    need_root()
    need_package("pamela")
    assert role_of(server("no-such-service", read_groups=(0,)), "root", b"") is None
