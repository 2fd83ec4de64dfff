"""The rows, with their goals. Goals are ratios within one run wherever there is something to compare with."""

from tests.bench import asking, output, reaction, upkeep
from tests.bench.peers import LIMIT, RUNIT, SUPERVISE, SUPERVISORD
from tests.bench.rows import TALKING, Figure, Goal, Row, Size

WITH_LOGS = (SUPERVISE, SUPERVISORD, LIMIT)  # svlogd, which looks at every byte, is in `logs-small`
SV = (SUPERVISE, SUPERVISORD, RUNIT)


def least(factor: float, of: str = "", figure: str = "", said: str = "") -> Goal:
    """At least so much."""
    return Goal(factor, of, figure, least=True, said=said)


def crash_figures(what: str) -> tuple[Figure, ...]:
    """Both percentiles of a crash, with their goals."""
    return (
        Figure("p50", f"SIGKILL → successor's first instruction, {what}, p50", "ms", Goal(1.2, RUNIT)),
        Figure("p99", f"the same, {what}, p99", "ms", Goal(1, RUNIT, plus=5)),
    )


def log_figures(what: str, cpu: float) -> tuple[Figure, ...]:
    """Speed and cost of a log."""
    return (
        Figure("speed", f"{what}: speed", "MB/s", least(1, LIMIT)),
        Figure("cpu", f"{what}: processor", "s/GB", Goal(cpu, LIMIT)),
        Figure("switches", f"{what}: context switches", "/MB"),
    )


WHOLE, NEW = "whole command", "until the new process runs"

ROWS = (
    Row("crash", reaction.crash, crash_figures("10 programs"), Size(0, 100), Size(0, 2)),
    Row("crash-bystanders", reaction.crash, crash_figures("990 others"), Size(990, 100), Size(2, 2)),
    Row("crash-chatty", reaction.crash_chatty, crash_figures("each writes a line a ms"), Size(0, 100), Size(0, 2), SV),
    Row(
        "start",
        reaction.start,
        (
            Figure("wall", "exec → 1000 programs alive", "ms", Goal(0.8, RUNIT)),
            Figure("cpu", "the same, processor (all processes)", "s", Goal(0.5, RUNIT)),
        ),
        Size(1000),
        Size(5),
    ),
    Row(
        "start-user",
        reaction.start_as_user,
        (
            Figure(
                "wall",
                "the same with `user=` on each",
                "ms",
                Goal(1.5, SUPERVISE, "start/wall", said="≤ 1.5 × without"),
            ),
            Figure(
                "cpu",
                "the same with `user=`, processor",
                "s",
                Goal(1.5, SUPERVISE, "start/cpu", said="≤ 1.5 × without"),
            ),
        ),
        Size(1000),
        Size(5),
        SV,
    ),
    Row(
        "start-logs",
        reaction.start_with_logs,
        (
            Figure("wall", "the same with default logs (runit: svlogd for each)", "ms"),
            Figure("cpu", "the same with default logs, processor", "s"),
        ),
        Size(1000),
        Size(5),
        SV,
    ),
    Row(
        "shutdown",
        reaction.shutdown,
        (Figure("wall", "graceful shutdown of 1000", "ms", Goal(1.2, RUNIT)),),
        Size(1000),
        Size(3),
    ),
    Row(
        "stop-all",
        asking.stop_all,
        (Figure("wall", "`stop all` of 100, whole command", "ms", Goal(200)),),
        Size(100),
        Size(3),
        SV,
    ),
    Row(
        "logs-large",
        output.large_writes,
        log_figures("one program, 64 kB writes, rotated log", 1.2),
        Size(1, megabytes=1000),
        Size(1, megabytes=1),
        WITH_LOGS,
    ),
    Row(
        "logs-small",
        output.small_writes,
        log_figures("one program, 200-byte writes", 0.7),
        Size(1, megabytes=300),
        Size(1, megabytes=1),
    ),
    Row(
        "logs-many",
        output.small_writes,
        (
            *log_figures("50 programs, 200-byte writes", 0.8),
            Figure("fair", "the same: first done / last done", "", least(0.85)),
        ),
        Size(50, megabytes=1000),
        Size(5, megabytes=1),
        WITH_LOGS,
    ),
    Row(
        "visible",
        output.visible,
        (
            Figure("p50", "write → visible in the file, p50", "ms", Goal(1.5, SUPERVISORD)),
            Figure("p99", "write → visible in the file, p99", "ms", Goal(1.5, SUPERVISORD)),
        ),
        Size(times=1000),
        Size(times=5),
    ),
    Row(
        "idle",
        upkeep.idle,
        (
            Figure("wakeups", "idle, 1000 programs: wake-ups", "/s", Goal(0)),
            Figure("cpu", "idle, 1000 programs: processor in 30 s", "ms", Goal(2)),
        ),
        Size(1000, seconds=30),
        Size(3, seconds=0.5),
        SV,
    ),
    Row(
        "memory",
        upkeep.memory,
        (
            Figure("one", "memory (PSS), 1 program", "MiB", Goal(40)),
            Figure("each", "memory, each further program (of 1000)", "KiB", Goal(12)),
        ),
        Size(1000),
        Size(5),
        SV,
    ),
    Row(
        "descriptors",
        upkeep.files,
        (
            Figure("each", "descriptors, each further program", "", Goal(4)),
            Figure("leaked", "descriptors leaked by 200 restarts", "", Goal(0)),
        ),
        Size(100),
        Size(5),
        TALKING,
    ),
    Row(
        "status",
        asking.status,
        (Figure("wall", f"`status` of 100, {WHOLE}", "ms", Goal(0.6, SUPERVISORD)),),
        Size(100, 10),
        Size(3, 1),
        SV,
    ),
    Row(
        "restart",
        asking.restart,
        (
            Figure("wall", f"`restart` of one of 100, {WHOLE}", "ms", Goal(0.6, SUPERVISORD)),
            Figure("alive", f"the same, {NEW}", "ms", Goal(0.6, SUPERVISORD)),
        ),
        Size(100, 10),
        Size(3, 1),
        SV,
    ),
    *(
        Row(
            f"info-{count}",
            asking.all_info,
            (Figure("rate", f"getAllProcessInfo, {count} programs", "/s", least(factor, SUPERVISORD)),),
            Size(count, seconds=3),
            Size(3),
            TALKING,
        )
        for count, factor in ((100, 10), (1000, 60))
    ),
    *(
        Row(
            f"json-{count}",
            asking.json_list,
            (
                Figure(
                    "rate",
                    f"the JSON list, {count} programs",
                    "/s",
                    least(3, SUPERVISE, f"info-{count}/rate", said="≥ 3 × our XML-RPC"),
                ),
            ),
            Size(count, seconds=3),
            Size(3),
            (SUPERVISE,),
        )
        for count in (100, 1000)
    ),
    Row(
        "state-100",
        asking.get_state,
        (Figure("rate", "getState, 100 programs", "/s", least(2, SUPERVISORD)),),
        Size(100, seconds=3),
        Size(3),
        TALKING,
    ),
    Row(
        "state-1000",
        asking.get_state,
        (
            Figure(
                "rate",
                "getState, 1000 programs",
                "/s",
                least(0.9, SUPERVISE, "state-100/rate", said="≥ 0.9 × that at 100"),
            ),
        ),
        Size(1000, seconds=3),
        Size(4),
        TALKING,
    ),
    Row(
        "flooded",
        asking.while_flooded,
        (
            Figure("p50", "getState while a program floods its log, p50", "ms"),
            Figure("p99", "getState while a program floods its log, p99", "ms", Goal(2, SUPERVISORD)),
        ),
        Size(seconds=5),
        Size(),
        TALKING,
    ),
    Row(
        "first",
        reaction.first,
        (
            Figure("alive", "exec → first program alive", "ms", Goal(1.2, SUPERVISORD)),
            Figure("answers", "exec → first answer", "ms", Goal(300)),
        ),
        Size(times=7),
        Size(),
    ),
    Row(
        "update",
        asking.update,
        (
            Figure("wall", f"`update`, one of a group of 100 changed, {WHOLE}", "ms", Goal(150)),
            Figure("touched", "the same: processes replaced", "", Goal(1)),
        ),
        Size(100),
        Size(3),
        TALKING,
    ),
    Row(
        "journal",
        upkeep.journal,
        (Figure("cost", "journal, each change of state", "µs", Goal(100)),),
        Size(times=300),
        Size(times=2),
        (SUPERVISE,),
    ),
)
