"""What supervisectl prints, as pure functions of the daemon's answers.

The plain forms are supervisorctl's (scripts split them on blanks); the wide ones are for people.
"""

import re
import time
from collections.abc import Iterable, Sequence
from typing import Any

import click

from supervise.errors import Fault

Json = dict[str, Any]

COLOURS = {
    "RUNNING": "green",
    "STARTING": "yellow",
    "BACKOFF": "yellow",
    "STOPPING": "yellow",
    "EXITED": "cyan",
    "FATAL": "red",
    "UNKNOWN": "red",
}
REFUSALS = {
    Fault.BAD_NAME: "no such process",
    Fault.BAD_SIGNAL: "bad signal name",
    Fault.NO_FILE: "no such file",
    Fault.NOT_EXECUTABLE: "file is not executable",
    Fault.ALREADY_STARTED: "already started",
    Fault.NOT_RUNNING: "not running",
    Fault.SPAWN_ERROR: "spawn error",
    Fault.ABNORMAL_TERMINATION: "abnormal termination",
}
DONE = {
    "start": "started",
    "stop": "stopped",
    "signal": "signalled",
    "clear": "cleared",
    "rotate": "rotated",
}
NO_UPDATES = "No config updates to processes"
_DONE_BY_UPDATE = re.compile(r": (stopped and removed|stopped|removed|added|updated|restarted)((?: process group)?)")
_LOG_FACTS = {
    "log_problem": "log",
    "log_dropped": "bytes of output lost",
    "stdout_logfile": "stdout",
    "stderr_logfile": "stderr",
}


def status_lines(processes: Sequence[Json]) -> list[str]:
    """supervisorctl's `status`: a name column of 33 (longest + 3), a state column of 10, the description."""
    width = max([30, *(len(process["namespec"]) for process in processes)]) + 3
    return [
        f"{process['namespec']:<{width}}{process['statename']:<10}{one_line(process['description'])}"
        for process in processes
    ]


def status_table(processes: Sequence[Json], colour: bool = False) -> list[str]:
    """The wide form: pid, uptime, restarts and the last exit in columns."""
    rows = [
        (
            process["namespec"],
            process["statename"],
            str(process["pid"] or "-"),
            duration(process.get("uptime") or 0) if process["pid"] else "-",
            str(process.get("restarts", 0)),
            last_exit(process.get("last_exit"), process["now"]),
            _detail(process),
        )
        for process in processes
    ]
    lines = table(("NAME", "STATE", "PID", "UPTIME", "RESTARTS", "LAST EXIT", ""), rows)
    if not colour:
        return lines
    painted = [click.style(lines[0], bold=True)]
    for line, row in zip(lines[1:], rows, strict=True):
        # The state is coloured where it stands, after the columns have been aligned.
        start = line.index(f" {row[1]}", len(row[0])) + 1
        painted.append(line[:start] + state(row[1]) + line[start + len(row[1]) :])
    return painted


def _detail(process: Json) -> str:
    """What a column has no room for: why it does not run, when it will be tried again, trouble with its log."""
    parts = []
    if process["statename"] in ("BACKOFF", "FATAL", "UNKNOWN", "STARTING"):
        parts.append(process.get("spawnerr") or process.get("reason") or "")
    if process.get("next_retry") is not None:
        parts.append(f"retry in {duration(process['next_retry'])}")
    if process.get("listener") and process["statename"] == "RUNNING":
        parts.append(_listener(process["listener"]))
    if process.get("log_problem"):
        parts.append(f"log: {process['log_problem']}")
    if process.get("leftovers"):
        parts.append("left behind: " + " ".join(map(str, process["leftovers"])))
    return one_line("; ".join(filter(None, parts)))


def _listener(facts: Json) -> str:
    """`listener READY, 3 events wait, 1 dropped`."""
    counts = (
        f"{facts[key]} {word}" for key, word in (("waiting", "events wait"), ("dropped", "dropped")) if facts[key]
    )
    return ", ".join([f"listener {facts['state']}", *counts])


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as their widest cell, two blanks apart, no blanks at the end of a line."""
    everything = [head, *rows]
    widths = [max(len(row[column]) for row in everything) for column in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in everything
    ]


def state(name: str) -> str:
    """A state's name in its colour."""
    colour = COLOURS.get(name)
    return click.style(name, fg=colour) if colour else name


def last_exit(exit_: Json | None, now: float) -> str:
    """`code 3, 5m ago`, `SIGKILL, 2s ago`, or `-`."""
    return f"{how_ended(exit_)}, {duration(max(0, now - exit_['at']))} ago" if exit_ else "-"


def how_ended(exit_: Json) -> str:
    """The cause of an end in a word or two."""
    if exit_.get("signal"):
        return str(exit_["signal"])
    return f"code {exit_['code']}" if exit_.get("code") is not None else "code unknown"


def duration(seconds: float) -> str:
    """In the two largest units: `0.4s`, `12s`, `3m 05s`, `2h 10m`, `14d 3h`."""
    if seconds < 1:
        return f"{seconds:.1f}s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole // 60 % 60:02}m"
    return f"{whole // 86400}d {whole // 3600 % 24}h"


def result_line(result: Json) -> str:
    """One line for one process of an action, with supervisorctl's words."""
    status, spec = result["status"], result["namespec"]
    if status == Fault.SUCCESS:
        return f"{spec}: {DONE.get(result['action'], result['action'])}"
    if status == Fault.BAD_NAME and names_group(result):
        return f"{result['group']}: ERROR (no such group)"
    if status == Fault.FAILED and result["action"] in ("stop", "signal"):
        # supervisorctl shows the fault's own text here, and "failed" for clear.
        return one_line(result.get("description") or f"{spec}: ERROR (failed)")
    return f"{spec}: ERROR ({refusal(status, result['action'])})"


def refusal(status: int, action: str) -> str:
    """Why not, in brackets after ERROR."""
    if status == Fault.NO_FILE and action in ("clear", "rotate"):
        return "no log file"
    try:
        fault = Fault(status)
    except ValueError:
        return f"fault {status}"
    return REFUSALS.get(fault, fault.name.lower().replace("_", " "))


def names_group(result: Json) -> bool:
    """The name asked for was a whole group's (`web:*` or `web:`)."""
    return result.get("name") in (None, "", "*") and bool(result.get("group"))


def explain_lines(story: Json, colour: bool = False) -> list[str]:
    """The daemon's explanation of one process: what is and why, what comes next, and its last ends."""
    process, exits = story["process"], story["exits"]
    name = process["statename"]
    in_a_row = f", failed starts in a row: {process['tries']}" if process["tries"] else ""
    lines = [
        f"{process['namespec']}: {state(name) if colour else name}: {story['summary']}",
        f"next: {story['next']}",
        f"restarts: {process['restarts']}{in_a_row}",
    ]
    detail = [f"{word}: {process[key]}" for key, word in _LOG_FACTS.items() if process.get(key)]
    if process.get("leftovers"):
        detail.append("left behind: " + " ".join(map(str, process["leftovers"])))
    lines += [one_line(line) for line in detail]
    for end in exits:
        unexpected = "" if end["expected"] else ", unexpected"
        lines.append(f"{duration(end['ago'])} ago: {end['reason']} (after {duration(end['uptime'])}{unexpected})")
        lines += [f"    {one_line(line)}" for line in end["last_lines"]]
    return lines


def available_line(process: Json) -> str:
    """supervisorctl's `avail`."""
    used = "in use" if process["inuse"] else "avail"
    start = "auto" if process["autostart"] else "manual"
    priorities = f"{process['group_priority']}:{process['process_priority']}"
    return f"{process['name']:<32} {used:<9} {start:<9} {priorities}"


def reread_lines(diff: Json) -> list[str]:
    """supervisorctl's `reread`: a line for each group that differs, sorted."""
    words = {"added": "available", "changed": "changed", "removed": "disappeared"}
    found = {group: word for kind, word in words.items() for group in diff.get(kind, ())}
    return [f"{group}: {found[group]}" for group in sorted(found)] or [NO_UPDATES]


def planned(text: str) -> str:
    """A line of an update that has not been made."""
    return _DONE_BY_UPDATE.sub(lambda found: f":{found[2]} would be {found[1]}", text)


def event_line(kind: str, data: Json) -> str:
    """An event as one line: local time, type, and its members."""
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(data.get("at")))
    members = (f"{name}={_scalar(value)}" for name, value in data.items() if name != "at")
    return f"{at} {kind} {' '.join(members)}".rstrip()


def _scalar(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    return one_line(str(value))


def one_line(text: str) -> str:
    """Control characters would break the line, or the terminal."""
    return "".join(character if character.isprintable() else " " for character in text)


def columns(words: Iterable[str], width: int = 79) -> list[str]:
    """Words as a table of as few rows as fit, filled column by column, as `help` prints it."""
    cells = list(words)
    for height in range(1, len(cells) + 1):
        stacks = [cells[start : start + height] for start in range(0, len(cells), height)]
        widths = [max(map(len, stack)) for stack in stacks]
        if sum(widths) + 2 * (len(widths) - 1) <= width or height == len(cells):
            return [
                "  ".join(
                    stack[row].ljust(wide) for stack, wide in zip(stacks, widths, strict=True) if row < len(stack)
                )
                for row in range(height)
            ]
    return []
