"""One supervisor at work, from its exec to its end."""

import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

from tests.bench.calls import Caller
from tests.bench.children import PATIENCE, Stamps, build
from tests.bench.peers import Peer, Program, Site
from tests.daemons import environment, journals
from tests.tools import sweep

MEMORY = "/dev/shm"


@dataclass
class Running:
    """A supervisor; `began` is when it was executed (CLOCK_MONOTONIC, ns)."""

    peer: Peer
    site: Site
    stamps: Stamps
    process: subprocess.Popen[bytes]
    began: int

    @property
    def daemons(self) -> list[int]:
        """The processes that make up the supervisor."""
        return self.peer.daemons(self.process.pid)

    @property
    def family(self) -> list[int]:
        """It, and everything below it."""
        pid = self.process.pid
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]

    def command(self, *words: str) -> float:
        """Run a client, from fork to exit: ms. Raises RuntimeError unless it succeeds."""
        argv, env = self.peer.client(self.site, words), environment(self.site.place)
        begin = time.perf_counter()
        done = subprocess.run(argv, capture_output=True, env=env, cwd=self.site.place, check=False)
        took = (time.perf_counter() - begin) * 1000
        if done.returncode:
            raise RuntimeError(f"{argv}: {done.stdout!r} {done.stderr!r}")
        return took

    def call(self) -> Caller:
        """A connection to the control socket."""
        return Caller(self.site.socket)

    def shut_down(self) -> float:
        """Ask it to end, and wait until it and all its programs have: ms."""
        watched = [os.pidfd_open(pid) for pid in self.family]
        try:
            begin = time.perf_counter()
            self.process.send_signal(self.peer.end_signal)
            for pidfd in watched:
                end = select.poll()
                end.register(pidfd, select.POLLIN)
                if not end.poll(PATIENCE * 1000):
                    raise TimeoutError("a process goes on")
            return (time.perf_counter() - begin) * 1000
        finally:
            for pidfd in watched:
                os.close(pidfd)


@contextmanager
def running(peer: Peer, programs: Sequence[Program], more: str = "", *, ready: bool = True) -> Iterator[Running]:
    """Start it on a memory file system; `ready`: every process was born, and it can be asked. At the end everything is
    killed and removed. Raises TimeoutError, RuntimeError with what the supervisor said."""
    place = Path(tempfile.mkdtemp(prefix="bench-", dir=MEMORY if os.path.isdir(MEMORY) else None))
    place.chmod(0o755)
    try:
        site = Site(place, child())
        stamps = Stamps(site.stamps)
        command = peer.prepare(site, programs, more)
        with (place / "output").open("ab") as output:
            env, began = environment(place), time.monotonic_ns()
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env)
        one = Running(peer, site, stamps, process, began)
        try:
            if ready:
                stamps.wait(sum(program.count for program in programs))
                peer.wait(site)
            yield one
        except TimeoutError as error:
            raise RuntimeError(f"{peer.name}: {error}; it said: {(place / 'output').read_text()[-2000:]}") from error
        finally:
            kill(one)
    finally:
        sweep(place)
        shutil.rmtree(place, ignore_errors=True)
        for journal in journals(place):
            shutil.rmtree(journal, ignore_errors=True)


def kill(one: Running) -> None:
    """It and everything below it."""
    pids = one.family if one.process.poll() is None else []
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    one.process.wait()


@cache
def child() -> str:
    """The command of the bench's child, built once."""
    place = tempfile.TemporaryDirectory(prefix="bench-", dir=MEMORY if os.path.isdir(MEMORY) else None)
    Path(place.name).chmod(0o755)
    _KEPT.append(place)
    return build(Path(place.name))


_KEPT: list[tempfile.TemporaryDirectory[str]] = []  # removed when Python ends
