"""Running a command to see whether it succeeds, beside everything else that happens."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence

from supervise.system.reap import Reaper

SAID = 64 << 10  # bytes of what it says that are read


async def attempt(
    command: Sequence[str], environ: Mapping[str, str], directory: str, reaper: Reaper, patience: float
) -> tuple[int | None, str]:
    """Its exit code (or minus the signal), None if it had to be killed after `patience` seconds, and what it wrote.

    Loop thread only. Raises OSError if it cannot be executed.
    """
    said = os.memfd_create("trial")
    ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def tell(status: int, _: bool) -> None:
        if not ended.done():
            ended.set_result(status)

    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            cwd=directory,
            env=environ,
            start_new_session=True,
        )
        process.returncode = 0  # reaping is the reaper's business
        reaper.watch(process.pid, tell)
        code: int | None = None
        try:
            async with asyncio.timeout(patience):
                code = await asyncio.shield(ended)
        except TimeoutError:
            pass
        finally:
            if not ended.done():  # also when we are cancelled
                os.killpg(process.pid, signal.SIGKILL)
        return code, os.pread(said, SAID, 0).decode(errors="replace").strip()
    finally:
        os.close(said)
