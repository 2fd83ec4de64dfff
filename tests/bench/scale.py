"""What grows with the number of programs, and what does not: us alone, with 10, 100, 1000 and 5000 of them."""

import time
from collections.abc import Iterable, Mapping

from tests.bench.asking import times
from tests.bench.gauges import family_time, percentile, proportional, usage
from tests.bench.peers import SUPERVISE, Peer, Program
from tests.bench.reaction import SPACING, kill_and_wait
from tests.bench.rows import Figure, Figures, Row, Size
from tests.bench.running import running
from tests.bench.table import Results, median, number

COUNTS = (10, 100, 1000, 5000)
TURNS = 10  # of what is done to one program
FIGURES = (
    Figure("start", "exec → all alive", "ms"),
    Figure("start_cpu", "the same, processor of all processes", "s"),
    Figure("crash", "SIGKILL of one → its successor's first instruction", "ms"),
    Figure("restart", "`restart` of one, whole command", "ms"),
    Figure("status", "`status`, whole command", "ms"),
    Figure("info", "getAllProcessInfo", "ms"),
    Figure("json", "the JSON list", "ms"),
    Figure("state", "getState", "ms"),
    Figure("wakeups", "wake-ups while nothing happens", "/s"),
    Figure("memory", "memory (PSS)", "MiB"),
    Figure("restart_all", "`restart all`, whole command", "ms"),
    Figure("shutdown", "graceful shutdown", "ms"),
)


def scale(peer: Peer, size: Size) -> Figures:
    """Everything that can be done, with so many programs."""
    count, found = size.programs, dict[str, float]()
    with running(peer, [Program("p", count=count, log="auto")]) as one:
        found["start"] = (max(stamp.value for stamp in one.stamps.of("born")) - one.began) / 1e6
        found["start_cpu"] = family_time(one.family)
        time.sleep(min(2.0, count / 100))
        before = usage(one.daemons)
        time.sleep(size.seconds)
        found["wakeups"] = usage(one.daemons).since(before).waits / size.seconds
        found["memory"] = proportional(one.daemons) / 1024
        crashes = []
        for name in (f"p{number:04}" for number in range(0, count, max(1, count // TURNS))):
            crashes.append(kill_and_wait(one, name))
            time.sleep(SPACING)
        found["crash"] = percentile(crashes, 0.5)
        found["restart"] = percentile([one.command("restart", "p0000") for _ in range(TURNS)], 0.5)
        found["status"] = percentile([one.command("status") for _ in range(3)], 0.5)
        with one.call() as caller:
            found["info"] = percentile(times(lambda: caller.rpc("getAllProcessInfo"), size.seconds), 0.5)
            found["json"] = percentile(times(lambda: caller.get("/processes"), size.seconds), 0.5)
            found["state"] = percentile(times(lambda: caller.rpc("getState"), size.seconds), 0.5)
        born = len(one.stamps.of("born"))
        found["restart_all"] = one.command("restart", "all")
        one.stamps.wait(born + count)
        found["shutdown"] = one.shut_down()
    return found


ROWS = tuple(
    Row(f"scale-{count}", scale, FIGURES, Size(count, seconds=2), Size(3, seconds=0.1), (SUPERVISE,))
    for count in COUNTS
)


def curves(rows: Iterable[Row], results: Results) -> str:
    """The table: a column for each number of programs that was measured. Empty without any."""
    measured = [row for row in rows if row.name in results]
    if not measured:
        return ""
    text = [f"| {' | '.join(['programs', *(f'{row.full.programs}' for row in measured)])} |"]
    text.append("|---|" + "---:|" * len(measured))
    for figure in FIGURES:
        values: Mapping[str, float | None] = {
            row.name: median(results, row.name, SUPERVISE, figure.key) for row in measured
        }
        text.append(f"| {figure.what} [{figure.unit}] | {' | '.join(map(number, values.values()))} |")
    return "\n".join(text)
