"""A control socket that is deleted comes back."""

import asyncio
import os
import shutil
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from supervise.config.model import ServerConfig
from supervise.system.guard import SocketGuard
from supervise.system.sockets import Listener, listen
from tests.tools import wait_for

Story = Callable[[SocketGuard, list[tuple[Listener, Listener]]], Awaitable[None]]


def guarded(path: Path, story: Story) -> None:
    """Run `story` with a guard and the list of replacements it has made."""

    async def run() -> None:
        [listener] = listen(ServerConfig(kind="unix", section="unix_http_server", file=str(path)))
        done: list[tuple[Listener, Listener]] = []

        def replaced(old: Listener, new: Listener) -> None:
            old.sock.close()
            done.append((old, new))

        guard = SocketGuard(asyncio.get_running_loop(), listener, replaced)
        try:
            async with asyncio.timeout(30):
                await story(guard, done)
        finally:
            guard.close()
            guard.listener.close()

    before = os.listdir("/proc/self/fd")
    asyncio.run(run())
    wait_for(lambda: set(os.listdir("/proc/self/fd")) <= set(before), "everything is closed soon")


async def until(reached: Callable[[], object]) -> None:
    while not reached():
        await asyncio.sleep(0.01)


def connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


@pytest.mark.parametrize("how", ["unlink", "rename", "overwrite with a stale one", "remove the directory's content"])
def test_it_comes_back(tmp_path: Path, how: str) -> None:
    path = tmp_path / "d" / "s.sock"
    path.parent.mkdir()

    async def story(guard: SocketGuard, done: list[tuple[Listener, Listener]]) -> None:
        for round_ in (1, 2):
            match how:
                case "unlink":
                    path.unlink()
                case "rename":
                    path.rename(tmp_path / f"elsewhere{round_}")
                case "overwrite with a stale one":
                    with socket.socket(socket.AF_UNIX) as other:
                        other.bind(str(tmp_path / "other"))
                    (tmp_path / "other").rename(path)
                case _:
                    for name in os.listdir(path.parent):
                        (path.parent / name).unlink()
            await until(lambda count=round_: len(done) == count)
            assert guard.listener is done[-1][1]
            assert guard.listener.intact
            assert connects(path)

    guarded(path, story)


def test_a_change_of_mode_is_nobodys_loss(tmp_path: Path) -> None:
    async def story(guard: SocketGuard, done: list[tuple[Listener, Listener]]) -> None:
        path = tmp_path / "s.sock"
        path.chmod(0o777)
        (tmp_path / "other").write_text("x")
        (tmp_path / "other").unlink()
        await asyncio.sleep(0.1)
        assert not done
        path.unlink()
        await until(lambda: done)

    guarded(tmp_path / "s.sock", story)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_its_directory_goes_and_comes(tmp_path: Path, depth: int, caplog: pytest.LogCaptureFixture) -> None:
    top = tmp_path / "a"
    path = top.joinpath(*"bcd"[: depth - 1]) / "s.sock"
    path.parent.mkdir(parents=True)

    async def story(guard: SocketGuard, done: list[tuple[Listener, Listener]]) -> None:
        shutil.rmtree(top)
        await until(lambda: "cannot be made anew" in caplog.text)
        for folder in (*reversed(path.parents), path.parent):
            if not folder.exists():
                folder.mkdir()
                await asyncio.sleep(0.05)
        await until(lambda: done)
        assert connects(path)

    guarded(path, story)
    assert len([text for text in caplog.messages if "cannot be made anew" in text]) == 1


def test_its_directory_is_renamed(tmp_path: Path) -> None:
    path = tmp_path / "a" / "s.sock"
    path.parent.mkdir()

    async def story(guard: SocketGuard, done: list[tuple[Listener, Listener]]) -> None:
        (tmp_path / "a").rename(tmp_path / "b")
        await asyncio.sleep(0.05)
        (tmp_path / "new").mkdir()
        (tmp_path / "new").rename(tmp_path / "a")
        await until(lambda: done)
        assert connects(path)

    guarded(path, story)


def test_its_directory_comes_back_at_any_moment(tmp_path: Path) -> None:
    """Between a look that finds it missing and the watch for it, too: many rounds, each a little later."""
    path = tmp_path / "a" / "s.sock"
    path.parent.mkdir()

    def away_and_back(pause: float) -> None:
        (tmp_path / "a").rename(tmp_path / "b")
        shutil.rmtree(tmp_path / "b")
        time.sleep(pause)
        (tmp_path / "a").mkdir()

    async def story(guard: SocketGuard, done: list[tuple[Listener, Listener]]) -> None:
        for round_ in range(50):
            await asyncio.to_thread(away_and_back, round_ * 20e-6)
            await until(lambda: path.exists() and guard.listener.intact)
        assert connects(path)

    guarded(path, story)


def test_somebody_who_took_the_path_is_not_fought(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "s.sock"

    async def story(guard: SocketGuard, done: list[tuple[Listener, Listener]]) -> None:
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(tmp_path / "other"))
            other.listen()
            (tmp_path / "other").rename(path)
            await until(lambda: "Another program is already listening" in caplog.text)
            assert not done
        path.unlink()
        await until(lambda: done)

    guarded(path, story)
