"""Reading the configuration beside the loop."""

import asyncio
import subprocess
import sys
import threading

import pytest

from supervise.config.model import Config, DaemonConfig
from supervise.daemon import loading
from supervise.daemon.loading import Loader
from supervise.errors import CommandError, Fault
from tests.tools import ROOT, need_root

EMPTY = Config(daemon=DaemonConfig(), file="/x", here="/")


def test_a_database_that_hangs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    monkeypatch.setattr(loading, "SECONDS", 0.05)
    monkeypatch.setattr(loading, "WAITING", 2)

    def load() -> Config:
        go.wait(60)
        return EMPTY

    async def story() -> None:
        loader = Loader(load)
        for _ in range(5):
            with pytest.raises(CommandError) as caught:
                await loader.read()
            assert caught.value.fault is Fault.CANT_REREAD
            assert "have not answered" in str(caught.value)
        go.set()
        async with asyncio.timeout(60):
            while True:
                try:
                    assert await loader.read() is EMPTY
                    return
                except CommandError:
                    await asyncio.sleep(0.01)

    asyncio.run(story())


NO_THREADS = """
import asyncio, os, resource
from supervise.daemon.loading import Loader
from supervise.errors import CommandError
async def main():
    os.setgid(65534); os.setuid(63997); resource.setrlimit(resource.RLIMIT_NPROC, (1, 100))
    loader = Loader(lambda: "read")
    for _ in range(3):
        try:
            await loader.read()
        except CommandError as error:
            print(error)
    resource.setrlimit(resource.RLIMIT_NPROC, (100, 100))
    print(await loader.read())
asyncio.run(main())
"""


def test_where_there_can_be_no_thread_it_is_only_not_read_now() -> None:
    """At the limit of a user, or of a container: later there may be one again."""
    need_root()
    done = subprocess.run([sys.executable, "-c", NO_THREADS], cwd=ROOT, capture_output=True, text=True, timeout=60)
    *refused, read = done.stdout.splitlines()
    assert (read, done.stderr) == ("read", "")
    assert len(refused) == 3
    assert all("cannot be read now: can't start new thread" in line for line in refused)
