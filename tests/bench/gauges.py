"""What the kernel knows of processes: processor time, switches, memory, descriptors."""

import math
import os
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

TICK = os.sysconf("SC_CLK_TCK")


class Usage(NamedTuple):
    """Of some processes together, all threads."""

    cpu: float  # seconds
    waits: int  # voluntary context switches: how often they went to sleep, and so had to be woken
    switches: int  # these and the involuntary ones

    def since(self, before: "Usage") -> "Usage":
        return Usage(self.cpu - before.cpu, self.waits - before.waits, self.switches - before.switches)


def usage(pids: Iterable[int]) -> Usage:
    """Of processes that live, or have ended and are not yet reaped."""
    cpu, waits, forced = 0.0, 0, 0
    for pid in pids:
        cpu += processor_time(pid)
        for status in Path(f"/proc/{pid}/task").glob("*/status"):
            with suppress(FileNotFoundError, ProcessLookupError):  # a thread has just ended
                fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if "_ctxt_" in line)
                waits += int(fields["voluntary_ctxt_switches"])
                forced += int(fields["nonvoluntary_ctxt_switches"])
    return Usage(cpu, waits, waits + forced)


def processor_time(pid: int) -> float:
    """Seconds of all its threads, ended ones too, exactly: the process's CPU-time clock (clock_getcpuclockid(3))."""
    return time.clock_gettime(~pid << 3 | 2)


def reaped_time(pid: int) -> float:
    """Seconds of its children that have ended, in ticks."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[13]) + int(words[14])) / TICK


def family_time(pids: Iterable[int]) -> float:
    """Seconds of the processes and of all that they have started and reaped."""
    total = 0.0
    for pid in pids:
        with suppress(OSError):  # it has just ended
            total += processor_time(pid) + reaped_time(pid)
    return total


def proportional(pids: Iterable[int]) -> float:
    """Memory, each shared page counted in part (PSS), in KiB."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return float(total)


def descriptors(pids: Iterable[int]) -> int:
    """How many are open."""
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that so many (0…1) do not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
