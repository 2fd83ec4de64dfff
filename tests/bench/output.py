"""Logs: how fast, at what cost, how fairly, how soon. Every byte is checked."""

import subprocess
import time
from contextlib import suppress

from tests.bench.children import until
from tests.bench.gauges import percentile, usage
from tests.bench.peers import MEGABYTE, Peer, Program
from tests.bench.rows import Figures, Size
from tests.bench.running import Running, child, running

BIG, LINE = 65536, 200


def large_writes(peer: Peer, size: Size) -> Figures:
    """One program writes 64 kB at a time: lines of 256 bytes."""
    return throughput(peer, size, 256, BIG)


def small_writes(peer: Peer, size: Size) -> Figures:
    """Programs that write 200 bytes at a time, a line each."""
    return throughput(peer, size, LINE, LINE)


def throughput(peer: Peer, size: Size, line: int, chunk: int) -> Figures:
    """From the first write of `programs` programs until every byte is in the files; each writes its part of
    `megabytes`. `fair`: when the first program has written all, relative to the last."""
    each = size.megabytes * MEGABYTE // size.programs // chunk * chunk
    program = Program("w", f"write {line} {chunk} {each} {{place}}/go", size.programs, "file")
    with running(peer, [program]) as one:
        daemons = one.daemons
        before = usage(daemons)
        (one.site.place / "go").touch()

        begun = min(stamp.value for stamp in one.stamps.wait(size.programs, "begin"))
        done = [stamp.value - begun for stamp in one.stamps.wait(size.programs, "done")]
        everything = each * size.programs
        until(lambda: sum(logged(one, name) for name in program.processes) >= everything, "all output", 0.001)
        end = time.monotonic_ns()
        spent = usage(daemons).since(before)
        for name in program.processes:
            check(one, name, line, each)
    megabytes = everything / MEGABYTE
    return {
        "speed": megabytes / ((end - begun) / 1e9),
        "cpu": spent.cpu / megabytes * 1000,
        "switches": spent.switches / megabytes,
        "fair": min(done) / max(done),
    }


def logged(one: Running, name: str) -> int:
    """Bytes in the logs of a process; never too many, since rotation moves a file to where it was counted already."""
    total = 0
    for path in one.peer.logs(one.site, name):
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def check(one: Running, name: str, line: int, total: int) -> None:
    """That the logs of a process are exactly what it wrote. Raises AssertionError."""
    files = [str(path) for path in one.peer.logs(one.site, name)]
    command = [*child().split(), "/dev/null", name, "check", str(line), str(total), *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"{one.peer.name}: {done.stdout}{done.stderr}")


def visible(peer: Peer, size: Size) -> Figures:
    """From a program's write of a line until it is in the file, as the program itself sees it."""
    with running(peer, [Program("w", f"lag {{log}} {size.times}", log="file")]) as one:
        took = [stamp.value / 1e6 for stamp in one.stamps.wait(size.times, "lag")]
    return {"p50": percentile(took, 0.5), "p99": percentile(took, 0.99)}
