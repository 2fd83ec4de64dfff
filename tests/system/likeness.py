"""Whether a program can see which way it was started: by `subprocess`, by the forker, or by posix_spawn(3).

    [setpriv …, nohup, …] python -m tests.system.likeness [CHANGE]

The same programs are started both ways by a process that is whatever its starter has made of it, and that CHANGE alters
when the forker runs already. Prints every difference of what is known of them. For root.
"""

import asyncio
import ctypes
import os
import re
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from supervise.config.model import ProgramConfig
from supervise.system import forking
from supervise.system.forking import Forker
from supervise.system.inherited import IOPRIO_GET, IOPRIO_WHO_PROCESS
from supervise.system.reap import Reaper
from supervise.system.spawn import SpawnError, spawn
from tests.tools import need

FILES = (
    "status limits stat environ cmdline comm oom_score_adj coredump_filter timerslack_ns personality loginuid cgroup"
)
LINKS = "cwd root exe ns/cgroup ns/ipc ns/mnt ns/net ns/pid ns/user ns/uts"
OWN = re.compile(rb"(Pid|Tgid|NS\w+|FDSize|State|Vm\w+|Rss\w+|Hugetlb\w+|SigQ|\w+_ctxt_switches):")  # of each process
SAME = (4, 7, 8, 18, 19, 20, 38, 40, 41)  # of /proc/PID/stat, by proc(5): from parent to policy
SCRIPT = "setpriv --dump; ulimit -a; umask; ls -l /proc/self/fd | wc -l; exec cat"
ENV = {
    "PATH": os.environ["PATH"],
    "EMPTY": "",
    "": "no name",
    "\udcff\udcc3\udca9": "\udcfe\u00e9",
    "a b%%": "line\nline",
}


class Sure(Forker):
    """One that says when it is not used."""

    def start(self, *args: Any, **options: Any) -> int | None:
        pid = super().start(*args, **options)
        if pid is None:
            print("not by the forker:", args[:2])
        return pid


def facts(pid: int, output: bytes) -> dict[str, object]:
    """What is known of a process, but for what is bound to differ."""
    found: dict[str, object] = {"output": output}
    for name in FILES.split():
        found[name] = contents(Path(f"/proc/{pid}", name))
    found["status"] = [line for line in contents(Path(f"/proc/{pid}/status")).splitlines() if not OWN.match(line)]
    fields = b"0 0 " + contents(Path(f"/proc/{pid}/stat")).rpartition(b")")[2]
    found["stat"] = [fields.split()[number - 1] for number in SAME]
    found["leads"] = [os.getsid(pid) == pid, os.getpgid(pid) == pid]
    for name in LINKS.split():
        found[name] = os.readlink(f"/proc/{pid}/{name}")
    for number in os.listdir(f"/proc/{pid}/fd"):
        info = Path(f"/proc/{pid}/fdinfo/{number}").read_text()
        found[f"fd {number}"] = re.sub(r"\d+", "", os.readlink(f"/proc/{pid}/fd/{number}")), re.findall("flags.*", info)
    found["io"] = ctypes.CDLL(None).syscall(IOPRIO_GET[os.uname().machine], IOPRIO_WHO_PROCESS, pid)
    found["processors"] = os.sched_getaffinity(pid)
    return found


def contents(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        return str(error.errno).encode()


def started(forker: Forker | None, argv: Sequence[str], env: dict[str, str], **options: Any) -> dict[str, object]:
    """What has come of it."""
    config = ProgramConfig(name="x", group_name="x", command="x", **options)
    with ExitStack() as stack:
        stdin, mark = map(partial(owned, stack), os.pipe())
        reader, end = map(partial(owned, stack), os.pipe())
        try:
            words = config, argv[0], argv, env
            pid = spawn(*words, stdin=stdin, stdout=end, stderr=end, pass_fds=[3], forker=forker).pid
        except SpawnError as error:
            return {"error": (error.stage, error.number, str(error).partition(" in position ")[0])}
        os.write(mark, b"!")  # which only cat(1) copies, when it has been loaded
        output = b""
        while not output.endswith(b"!"):
            output += os.read(reader, 1 << 16)
        found = facts(pid, output)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return found


def owned(stack: ExitStack, fd: int) -> int:
    stack.callback(os.close, fd)
    return fd


def limit() -> None:
    resource.prlimit(os.getpid(), resource.RLIMIT_NOFILE, (500, 600))
    resource.prlimit(os.getpid(), resource.RLIMIT_CORE, (0, 0))


def write(name: str, text: str) -> Callable[[], None]:
    def act() -> None:
        Path("/proc/self", name).write_text(text)

    return act


CHANGES: dict[str, Callable[[], object]] = {
    "nothing": lambda: None,
    "limits": limit,
    "nice": lambda: os.setpriority(os.PRIO_PROCESS, os.getpid(), 3),
    "batch": lambda: os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0)),
    "processors": lambda: os.sched_setaffinity(0, {max(os.sched_getaffinity(0))}),
    "oom": write("oom_score_adj", "77"),
    "core": write("coredump_filter", "0x1"),
    "slack": write("timerslack_ns", "70000"),
    "io": lambda: os.spawnlp(os.P_WAIT, "ionice", "ionice", "-c", "3", "-p", str(os.getpid())),
}


def main(change: str) -> None:
    forking.SLOW = forking.QUICK = forking.PATIENCE = 60.0
    if (three := os.memfd_create("three")) != 3:
        os.dup2(three, 3, inheritable=False)
    loop = asyncio.new_event_loop()
    reaper = Reaper(loop)
    forker = Sure(reaper)
    sh, cat = need("sh"), need("cat")
    forker.start(cat, [cat, os.devnull], {}, (0, 1, 2), None, None, group=0)
    CHANGES[change]()
    forker.follow()
    umask = os.umask(0)
    os.umask(umask)
    for argv, env in (
        ([cat], ENV),
        ([sh, "-c", SCRIPT], {"PATH": os.environ["PATH"]}),
        ([sh, "-c", SCRIPT, "", "\udcff", "x" * 100_000], ENV | {"long": "x" * 100_000}),
        ([cat], {"a": "\u00e9"}),
        ([cat], {"a=b": "c"}),
        ([cat], {"a": "\ud800"}),
        (["/etc/passwd"], {}),
    ):
        for way, reference, name in (
            ({"uid": 60001, "gid": 60002}, {"uid": 60001, "gid": 60002}, "the forker"),
            ({"gid": 60002}, {"gid": 60002}, "the forker"),
            ({}, {"umask": umask}, "posix_spawn"),
        ):
            one, other = started(None, argv, env, **reference), started(forker, argv, env, **way)
            for what in one.keys() | other.keys():
                if one.get(what) != other.get(what):
                    print(f"{argv[0]}: {what}: {one.get(what)!r} by subprocess, {other.get(what)!r} by {name}")
    forker.close()
    reaper.close()
    loop.close()


if __name__ == "__main__":
    main(*sys.argv[1:] or ["nothing"])
