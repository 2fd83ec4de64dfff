import asyncio
import os
import subprocess
from pathlib import Path

from supervise.config.model import ProgramConfig
from supervise.daemon.logs import Logs
from supervise.daemon.losses import Loss, Losses, forget
from tests.daemon.running import eventually, program, run


def test_a_count_goes_on(tmp_path: Path) -> None:
    first = Losses(str(tmp_path)).of("g:p", "stdout")
    assert first.before == 0
    assert list(tmp_path.iterdir()) == [], "who loses nothing costs nothing"
    first.keep(1 << 40)
    others = Losses(str(tmp_path))
    assert others.of("g:p", "stderr").before == 0
    second = others.of("g:p", "stdout")
    assert second.before == 1 << 40
    second.keep(7)
    assert Losses(str(tmp_path)).of("g:p", "stdout").before == 7
    second.forget()
    second.keep(8)
    assert Losses(str(tmp_path)).of("g:p", "stdout").before == 0


def test_a_count_that_was_removed_is_made_anew(tmp_path: Path) -> None:
    losses = Losses(str(tmp_path))
    loss = losses.of("g:p", "stdout")
    losses.of("g:p", "stderr")
    loss.keep(5)
    assert not losses.renew(str(tmp_path))
    forget(str(tmp_path))
    assert losses.renew(str(tmp_path))
    assert Losses(str(tmp_path)).of("g:p", "stdout").before == 5


def test_without_a_place(tmp_path: Path) -> None:
    for losses in (Losses(), Losses(str(tmp_path / "no"))):
        loss = losses.of("g:p", "stdout")
        loss.keep(5)
        assert not losses.renew(str(tmp_path / "no"))
        loss.forget()
    Loss().keep(1)


def test_what_channels_lose(tmp_path: Path) -> None:
    (tmp_path / "state").touch()  # the journal
    config = program("p", "x", stdout_logfile=str(tmp_path / "no" / "log"), redirect_stderr=True)

    async def lose(before: int, after: int, config: ProgramConfig, *, forget: bool = False) -> None:
        logs = Logs(asyncio.get_running_loop(), childlogdir=str(tmp_path), identifier="test")
        logs.record_in(str(tmp_path))
        process = logs.open(config)
        assert process.stdout.dropped == before
        with process.pipes() as ends:
            subprocess.run(["head", "-c", "1000", "/dev/zero"], stdout=ends.stdout, check=True)
        await eventually(lambda: process.stdout.dropped == after)
        if forget:
            process.close()
        await logs.close()

    async def story() -> None:
        await lose(0, 1000, config)
        await lose(1000, 2000, config, forget=True)
        await lose(0, 1000, config)

    run(story)
    assert len([name for name in os.listdir(tmp_path) if name.startswith("lost-")]) == 1
