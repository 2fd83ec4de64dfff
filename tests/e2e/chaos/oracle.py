"""What must be true of the files, the main log and the API's answers, given the ledgers of all runs."""

import re
import signal
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HALF = re.compile(rb"<[^@]*")  # a passage, or a token, that was cut off by the end of its run
HEAD = re.compile(rb"(\S+) (\d+-\d+) ([12]) (\d+) ")
ENDED = re.compile(r"(?:exited|terminated): (\S+) \((?:exit status (\d+)|terminated by (SIG\w+))")
LATE = 10.0  # seconds in which passages may be taken out of order: a new daemon reads one pipe after the other
COMMON = ("SIGTERM", "SIGKILL", "SIGHUP", "SIGUSR1", "SIGUSR2")  # these may come before a run has a ledger


@dataclass
class Run:
    """One execution of a program, as its own ledger tells it."""

    program: str
    name: str
    begun: float = 0.0  # 0 for a grandchild
    grandchild: float = 0.0  # when that began
    passages: list[float] = field(default_factory=list)  # when each was written
    sizes: dict[int, list[int]] = field(default_factory=lambda: {1: [], 2: []})
    end: str = ""  # "E CODE", "K SIGNAL"; "" if it was killed by somebody else


def runs(place: Path) -> list[Run]:
    """Every run of every program."""
    found = []
    for path in sorted(place.glob("ledgers/*/*")):
        run = Run(path.parent.name, path.name)
        for words in map(str.split, path.read_text().splitlines()):
            match words:
                case ["S", at]:
                    run.begun = float(at)
                case ["G", at]:
                    run.grandchild = float(at)
                case [("1" | "2") as stream, _, size]:
                    run.sizes[int(stream)].append(int(size))
                case ["C", _, at]:
                    run.passages.append(float(at))
                case ["E" | "K", _]:
                    run.end = " ".join(words)
        found.append(run)
    return found


def content(path: Path) -> bytes:
    """All generations of a log in one, the oldest first."""
    backups = [each for each in path.parent.glob(path.name + ".*") if each.suffix[1:].isdecimal()]
    backups.sort(key=lambda each: -int(each.suffix[1:]))
    return b"".join(each.read_bytes() for each in [*backups, path] if each.exists())


def judge_logs(place: Path, every_run: list[Run], reloads: list[tuple[float, float]]) -> tuple[list[str], int]:
    """What is wrong with the log files, and how many lines were looked at.

    A line is in the ledger before it is written: of a run that was killed, the last line of a stream may be missing or
    cut; every other line must be there, once, whole, and in its order. Only what a stopped program has left behind is
    not listened to any more when a reload begins anew without it.
    """
    wrong: list[str] = []
    numbers: dict[tuple[str, int], list[int]] = defaultdict(list)
    cut: Counter[tuple[str, int]] = Counter()
    count = 0
    for path in sorted(place.glob("*.out")) + sorted(place.glob("*.err")):
        data = HALF.sub(b"", content(path))
        if data and not data.startswith(b"@"):
            wrong.append(f"{path.name} begins with {data[:60]!r}")
        for piece in data.split(b"@")[1:]:
            count += 1
            if (head := HEAD.match(piece)) is None:
                cut["", 0] += 1
                continue
            key = head[2].decode(), int(head[3])
            if piece.endswith(b"$\n"):
                numbers[key].append(int(head[4]))
            else:
                cut[key] += 1
    headless = cut.pop(("", 0), 0)
    allowed = 0
    for run in every_run:
        for stream, sizes in run.sizes.items():
            got, key = numbers.pop((run.name, stream), []), (run.name, stream)
            left = any(a < run.grandchild + 6 and run.grandchild < b for a, b in reloads)
            complete = bool(run.end) and not left
            least = 0 if left else len(sizes) if complete else len(sizes) - 1
            allowed += not complete
            if got != list(range(len(got))):
                first = next(at for at, number in enumerate(got) if at != number)
                wrong.append(f"{run.program} {run.name} stream {stream}: line {got[first]} where {first} belongs")
            elif not least <= len(got) <= len(sizes):
                wrong.append(f"{run.program} {run.name} stream {stream}: {len(got)} lines of {len(sizes)} {run.end!r}")
            if cut.pop(key, 0) > (not complete):
                wrong.append(f"{run.program} {run.name} stream {stream}: a line in pieces")
    wrong += [f"lines of unknown run {name}" for name, _ in (*numbers, *cut)]
    if headless > allowed:
        wrong.append(f"{headless} pieces of lines, where {allowed} runs were killed")
    return wrong, count


def judge_ends(main_log: str, every_run: list[Run], processes: list[dict[str, Any]]) -> list[str]:
    """Ends that the daemon has told and that never happened so."""
    wrong = []
    happened: Counter[tuple[str, str]] = Counter()
    for run in every_run:
        if run.begun:
            happened[run.program, run.end[2:]] += 1
    told: Counter[tuple[str, str]] = Counter()
    for name, code, name_of_signal in ENDED.findall(main_log):
        if name_of_signal not in COMMON:
            told[name, code or str(int(signal.Signals[name_of_signal]))] += 1
    for (name, end), count in told.items():
        if count > happened[name, end]:
            wrong.append(f"{name} was said to end with {end} {count} times: {happened[name, end]} did")
    by_program: dict[str, list[Run]] = defaultdict(list)
    for run in every_run:
        if run.begun:
            by_program[run.program].append(run)
    for process in processes:
        mine = sorted(by_program[process["name"]], key=lambda run: run.begun)
        last = process["last_exit"]
        codes = [run.end for run in mine][-3:]
        if last is not None and last["code"] is not None and f"E {last['code']}" not in codes:
            wrong.append(f"{process['name']}: last exit {last['code']}, but its last runs ended with {codes}")
    return wrong


@dataclass
class Told:
    """Events that the daemon was to tell: what they say, and when that came about."""

    said: str
    at: float


def judge_events(
    place: Path, told: list[Told], every_run: list[Run], reloads: list[tuple[float, float]]
) -> tuple[list[str], str]:
    """What is wrong with what each listener has heard, and totals.

    Every event that a client was promised and every passage but the last of a run has been heard; a reload may have
    thrown away what waited then. A serial is of one event only.
    """
    wrong: list[str] = []
    wanted = {event.said: event.at for event in told}
    for run in every_run:
        wanted |= {f"{run.program} {run.name} {n}": at for n, at in enumerate(run.passages[:-1])}
    last = {f"{run.program} {run.name} {len(run.passages) - 1}" for run in every_run}
    count = doubled = 0
    for path in sorted(place.glob("heard/*")):
        lines = [line.split(" ", 2) for line in path.read_text().splitlines()]
        count += len(lines)
        by_serial: dict[str, set[str]] = defaultdict(set)
        for serial, _, said in lines:
            by_serial[serial].add(said)
        wrong += [f"{path.name}: serial {serial} is of {said}" for serial, said in by_serial.items() if len(said) > 1]
        heard = Counter(said for *_, said in lines)
        doubled += sum(heard.values()) - len(heard)
        lost = {said: at for said, at in wanted.items() if said not in heard}
        for begun, over in reloads:  # what waited, perhaps for long: all that came after the last one that was heard
            since = max((wanted[said] for said in heard if wanted.get(said, begun) < begun), default=0.0)
            lost = {said: at for said, at in lost.items() if not since - LATE < at < over + 1}
        if lost:
            wrong.append(f"{path.name}: {len(lost)} of {len(wanted)} events lost: {sorted(lost.items())[:5]}")
        if unknown := [said for said in heard if said not in wanted and said not in last and "number-" not in said]:
            wrong.append(f"{path.name}: unknown events {unknown[:5]}")
    return wrong, f"{len(wanted)} events, {count} acknowledgements, {doubled} of them again"
