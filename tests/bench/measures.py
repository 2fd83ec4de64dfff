"""What is measured, and how: each function does one piece of work under one supervisor and returns its figures."""

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.daemons import Daemon, Kind, Supervisors, client_command, configuration
from tests.tools import wait_for

QUIET = "[program:p]\nprocess_name = p%(process_num)04d\nnumprocs = {n}\ncommand = sleep 100000\nstartsecs = 0\n"


@dataclass(frozen=True)
class Measure:
    """One row of the table. `run(kind, size)` returns figures in `unit`, lower is better; `{n}`: the size."""

    name: str
    unit: str
    run: Callable[[Kind, int], list[float]]
    size: int
    quick: int
    rounds: int = 3


@contextmanager
def daemon(kind: Kind, programs: str) -> Iterator[Daemon]:
    """A daemon that answers; killed with all its children at the end, which is not measured."""
    supervisors = Supervisors()
    one = supervisors.start(kind, programs)
    try:
        yield one
    finally:
        one.disconnect()
        end_hard(one)
        supervisors.close()


def everything_runs(one: Daemon, count: int) -> None:
    wait_for(lambda: list(one.states().values()).count("RUNNING") == count, "all programs run", timeout=120)


def status_command(kind: Kind, size: int) -> list[float]:
    """The whole client command, from fork to exit, in ms."""
    with daemon(kind, QUIET.format(n=size)) as one:
        everything_runs(one, size)
        command = [*client_command(kind), "-c", str(one.config), "status"]
        figures = []
        for _ in range(12 if size > 1 else 2):
            begin = time.perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, env=one.env, check=True)
            figures.append((time.perf_counter() - begin) * 1000)
        return figures[2:] or figures


def crash_to_restart(kind: Kind, size: int) -> list[float]:
    """SIGKILL of a child to its successor's first instruction, in ms. Every child says its pid in a FIFO.

    Few kills of one program: what fails ten times within seconds is made to wait, by us as by anybody.
    """
    supervisors = Supervisors()
    place = supervisors.place()
    os.mkfifo(place / "born")
    born = os.open(place / "born", os.O_RDWR | os.O_NONBLOCK)
    program = (
        "[program:p]\ncommand = sh -c 'echo $$ > {place}/born; exec sleep 100000'\nstartsecs = 0\nautorestart = true\n"
    )
    one = supervisors.start(kind, program, place=place)
    try:
        pid, figures = first_word(born), []
        for _ in range(size):
            wait_for(lambda: one.info("p")["statename"] == "RUNNING")
            time.sleep(0.1)  # somewhere between two ticks of a supervisor that has ticks
            begin = time.perf_counter()
            os.kill(pid, signal.SIGKILL)
            pid = first_word(born)
            figures.append((time.perf_counter() - begin) * 1000)
        return figures
    finally:
        os.close(born)
        supervisors.close()


def first_word(born: int) -> int:
    """Wait for the next child to say its pid."""
    if not select.select([born], [], [], 60)[0]:
        raise TimeoutError("no child was born")
    return int(os.read(born, 100).split()[-1])


def start_many(kind: Kind, size: int) -> list[float]:
    """From the daemon's exec until every program's process exists, in ms."""
    supervisors = Supervisors()
    place = supervisors.place()
    (place / "s.conf").write_text(configuration(place, QUIET.format(n=size)))
    begin = time.perf_counter()
    one = supervisors.run(kind, place / "s.conf", place, answers=False)
    while children(one.pid) < size:
        if one.process.poll() is not None or time.perf_counter() - begin > 120:
            raise RuntimeError(one.output)
        time.sleep(0.002)
    took = (time.perf_counter() - begin) * 1000
    end_hard(one)
    supervisors.close()
    return [took]


def children(pid: int) -> int:
    """How many processes its threads have started and not yet reaped."""
    return sum(len(path.read_text().split()) for path in Path(f"/proc/{pid}/task").glob("*/children"))


def end_hard(one: Daemon) -> None:
    """Kill the daemon and its children; nothing of that is measured."""
    family = psutil.Process(one.pid).children(recursive=True)
    one.process.kill()
    one.process.wait()
    for child in family:
        child.kill()


def stop_everything(kind: Kind, size: int) -> list[float]:
    """SIGTERM to the daemon until it has ended, in ms."""
    supervisors = Supervisors()
    one = supervisors.start(kind, QUIET.format(n=size))
    everything_runs(one, size)
    one.disconnect()
    begin = time.perf_counter()
    one.process.send_signal(signal.SIGTERM)
    one.process.wait(120)
    took = (time.perf_counter() - begin) * 1000
    one.expect_traceback = True  # what it says is for the tests to judge
    supervisors.close()
    return [took]


def idle_wakeups(kind: Kind, size: int) -> list[float]:
    """Voluntary context switches of all threads of the daemon in ten seconds (one second for few programs)."""
    with daemon(kind, QUIET.format(n=size)) as one:
        everything_runs(one, size)
        one.disconnect()
        time.sleep(2 if size > 10 else 0.2)  # what the start-up still had to do
        before = switches(one.pid)
        time.sleep(10 if size > 10 else 1)
        return [switches(one.pid) - before]


def switches(pid: int) -> float:
    """Sum over the threads."""
    total = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
        total += int(fields["voluntary_ctxt_switches"])
    return total


def memory(kind: Kind, size: int) -> list[float]:
    """Proportional set size of the daemon, in MiB."""
    with daemon(kind, QUIET.format(n=size)) as one:
        everything_runs(one, size)
        return [psutil.Process(one.pid).memory_full_info().pss / 2**20]


def all_info(kind: Kind, size: int) -> list[float]:
    """getAllProcessInfo over one connection, in ms a call."""
    with daemon(kind, QUIET.format(n=size)) as one:
        everything_runs(one, size)
        figures = []
        for _ in range(10):
            begin = time.perf_counter()
            one.rpc.supervisor.getAllProcessInfo()
            figures.append((time.perf_counter() - begin) * 1000)
        return figures


MEASURES = (
    Measure("`status`, whole command, {n} programs", "ms", status_command, 10, 1),
    Measure("`status`, whole command, {n} programs ", "ms", status_command, 100, 2, rounds=2),
    Measure("SIGKILL of a child → its successor runs", "ms", crash_to_restart, 9, 1),
    Measure("exec → {n} programs started", "ms", start_many, 1000, 5),
    Measure("SIGTERM → {n} programs stopped, daemon gone", "ms", stop_everything, 1000, 2, rounds=1),
    Measure("idle, {n} programs: wake-ups in 10 s", "", idle_wakeups, 1000, 2, rounds=1),
    Measure("getAllProcessInfo, {n} programs", "ms", all_info, 1000, 2, rounds=1),
    Measure("memory (PSS), {n} program", "MiB", memory, 1, 1, rounds=1),
    Measure("memory (PSS), {n} programs", "MiB", memory, 1000, 2, rounds=1),
)
