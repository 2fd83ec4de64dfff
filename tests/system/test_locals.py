"""Local users by PAM: with the real library, and services of ours whose modules need no shadow file."""

import asyncio
import logging
import os
import pwd
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from supervise.system.locals import Locals
from supervise.system.reap import Reaper
from tests.tools import need_package, need_root, wait_for

T = TypeVar("T")
SECONDS = 60


@pytest.fixture
def service() -> Iterator[str]:
    """A service that does what its script, /tmp/NAME.sh, says: it knows everybody whose password is "right"."""
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


def run(story: Callable[[Locals], Awaitable[T]]) -> T:
    async def whole() -> T:
        reaper = Reaper(asyncio.get_running_loop())
        try:
            found = await asyncio.wait_for(story(Locals(reaper)), 120)
            await asyncio.to_thread(wait_for, lambda: not reaper.watched)
            return found
        finally:
            reaper.close()

    return asyncio.run(whole())


def test_who_is_known_has_an_uid_and_groups(service: str) -> None:
    for name in ("nobody", "root"):
        record = pwd.getpwnam(name)
        groups = frozenset(os.getgrouplist(name, record.pw_gid))
        assert run(lambda one, name=name: one.find(service, name, b"right", SECONDS)) == (record.pw_uid, groups)


def test_the_reaper_takes_nothing_from_modules_that_run_helpers(service: str, caplog: pytest.LogCaptureFixture) -> None:
    """pam_exec waits for its child, as pam_unix does for its helper: if we had reaped it, the password were wrong."""
    caplog.set_level(logging.INFO, "supervise")

    async def story(one: Locals) -> list[bool]:
        return [await one.find(service, "nobody", b"right", SECONDS) is not None for _ in range(10)]

    assert run(story) == [True] * 10
    assert not caplog.records, "unknown pids are no news here"


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("nobody", b"wrong"),
        ("nobody", b""),
        ("nobody", b"right\0"),
        ("nobody", b"\xff"),
        ("no\0body", b"right"),
        ("nosuchuser", b"right"),
        ("n" * 60_000, b"right"),
    ],
)
def test_nobody_else_is(service: str, user: str, password: bytes) -> None:
    assert run(lambda one: one.find(service, user, password, SECONDS)) is None


def test_a_service_that_does_not_exist_lets_nobody_in() -> None:
    need_root()
    need_package("pamela")
    assert run(lambda one: one.find("no-such-service", "root", b"", SECONDS)) is None


def test_who_does_not_answer_is_killed_with_the_helpers(service: str) -> None:
    helper = Path(f"/tmp/{service}.pid")
    Path(f"/tmp/{service}.sh").write_text(
        f"#!/bin/sh\necho $$ > {helper}.new\nmv {helper}.new {helper}\nexec sleep 1000\n"
    )

    async def story(one: Locals) -> None:
        asking = asyncio.create_task(one.find(service, "nobody", b"right", SECONDS))
        await asyncio.to_thread(wait_for, helper.exists)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    try:
        run(story)
        pid = int(helper.read_text())
        wait_for(lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2])
        with pytest.raises(TimeoutError):
            run(lambda one: one.find(service, "nobody", b"right", 1))
    finally:
        helper.unlink(missing_ok=True)


def test_without_the_package_it_says_so(service: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "pamela.py").write_text("raise ImportError('no libpam')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(OSError, match="PAM cannot be asked: ImportError: no libpam"):
        run(lambda one: one.find(service, "nobody", b"right", SECONDS))


def test_who_dies_has_not_said_no(service: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "pamela.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(OSError, match="PAM cannot be asked: it died"):
        run(lambda one: one.find(service, "nobody", b"right", SECONDS))
