"""What the tests stand on: tools of the machine, waiting for a condition, processes seen from outside."""

import errno
import importlib.util
import os
import random
import shutil
import signal
import socket
import sys
import threading
import time
import xmlrpc.client
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Literal, NoReturn, TypeVar

import psutil
import pytest

from supervise.system.cgroup import Cgroups
from supervise.system.stdin import capable

ROOT = Path(__file__).resolve().parents[1]
CAPABILITIES = {"CAP_SYS_ADMIN": 21, "CAP_SYS_RESOURCE": 24}  # linux/capability.h
LOWEST_PORT, PORTS, WORKERS = 10_000, 2500, 8  # of `free_ports`: 10000 to 29999
T = TypeVar("T")
PATIENCE = 60.0  # seconds: how long a condition may take on a machine that is busy with other things


def need(tool: str) -> str:
    """Path of a program that a test cannot do without. Missing: skip, or fail where CI=true promises it."""
    beside = Path(sys.executable).parent / tool
    found = (
        str(beside) if os.access(beside, os.X_OK) else shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    )
    if found:
        return found
    return missing(f"{tool} is not installed")


def need_package(name: str) -> None:
    """An importable package that a test cannot do without."""
    if importlib.util.find_spec(name) is None:
        missing(f"the package {name} is not installed")


def need_root(*capabilities: str) -> None:
    """Skip (fail under CI=true) a test that must be root. That a container's root lacks a capability is no failure."""
    if os.geteuid() != 0:
        missing("needs root")
    for name in capabilities:
        if not capable(CAPABILITIES[name]):
            pytest.skip(f"root has no {name} here")  # up to who made the container


def need_cgroup() -> Path:
    """The directory below which our own processes can make cgroups. None: skip, since that is up to the machine."""
    groups = Cgroups(f"supervise-probe{os.getpid()}-")
    with groups.within("probe") as made:
        pass
    if made is None:
        pytest.skip(f"no cgroup can be made here: {groups.problem}")  # up to the machine, see above
    made.remove()
    return Path(made.path).parent


def missing(why: str) -> NoReturn:
    """Something that a test needs is not there: skip it, or fail where CI=true promises everything."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{why}, and CI=true says that everything is there")
    pytest.skip(why)  # the caller's reason


def wait_for(probe: Callable[[], T | Literal[False] | None], what: str = "", timeout: float = PATIENCE) -> T:
    """Call `probe` until its answer is true, and return that answer. Its errors count as "not yet"."""
    deadline, problem = time.monotonic() + timeout, ""
    while time.monotonic() < deadline:
        try:
            if answer := probe():
                return answer
        except (OSError, LookupError, ValueError, psutil.Error, HTTPException, xmlrpc.client.Fault) as error:
            problem = f" ({error!r})"
        time.sleep(0.02)
    pytest.fail(f"not within {timeout:g} s: {what or probe.__name__}{problem}")


def _ports() -> Iterator[int]:
    """Ports for one worker after the other, below those that the kernel gives by itself (ip_local_port_range)."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    begin = random.SystemRandom().randrange(PORTS)  # others may run tests on this machine, too
    while True:
        yield LOWEST_PORT + worker % WORKERS * PORTS + begin
        begin = (begin + 1) % PORTS


PORT = _ports()


def free_ports(count: int) -> list[int]:
    """TCP ports that nobody listens on now, and that are given to nobody else before they are used."""
    family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    found: list[int] = []
    while len(found) < count:
        port = next(PORT)
        try:
            socket.create_server(("", port), family=family, dualstack_ipv6=family == socket.AF_INET6).close()
            found.append(port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    return found


def descriptors(pid: int) -> list[str]:
    """What those of a process lead to. It may close some while we look."""
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(os.readlink(entry))
    return sorted(found)


def children() -> list[int]:
    """Those of the main thread, ended or not."""
    with open(f"/proc/self/task/{threading.main_thread().native_id}/children") as file:
        return [int(word) for word in file.read().split()]


def alive(pid: int) -> bool:
    """The process exists and is no zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def belonging_to(place: Path) -> Iterator[psutil.Process]:
    """Every process, ourselves excepted, whose environment or command line names the directory."""
    name = os.fsencode(place)
    for process in psutil.process_iter():
        try:
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            seen = Path(f"/proc/{process.pid}/environ").read_bytes() + Path(f"/proc/{process.pid}/cmdline").read_bytes()
        except (OSError, psutil.Error):
            continue
        if name in seen:
            yield process


def sweep(place: Path) -> list[str]:
    """Kill whatever still belongs to the directory; returns the command lines of what was found."""
    found = []
    for _ in range(100):
        left = list(belonging_to(place))
        if not left:
            break
        for process in left:
            try:
                found.append(" ".join(process.cmdline()) or process.name())
                process.send_signal(signal.SIGKILL)
            except psutil.Error:
                continue
        time.sleep(0.02)
    return found
