"""The shapes of JSON objects: schemas for the document, and values from the daemon's plain dataclasses."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from supervise.api.schema import ANY, BOOLEAN, INTEGER, NUMBER, STRING, Schema, array, nullable, record
from supervise.daemon.info import (
    EPOCH,
    DaemonInfo,
    Facts,
    Moment,
    ProcessInfo,
    Result,
    cap,
    describe,
    lasting_description,
    uptime,
)
from supervise.errors import Fault

# What says that an answer is JSON.
HEADERS = {"Content-Type": "application/json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

_FREE: Schema = {"type": "object"}
_ACTIONS = ["start", "stop", "restart", "signal", "clear", "rotate"]

LAST_EXIT = record(
    {"code": nullable(INTEGER), "signal": nullable(STRING), "expected": BOOLEAN, "at": INTEGER, "reason": STRING}
)

LISTENER = record({"state": STRING, "event": nullable(STRING), "waiting": INTEGER, "dropped": INTEGER})

_TEXTS = ("name", "group", "namespec", "kind", "statename", "description", "spawnerr", "reason", "log_problem")
_FILES = ("logfile", "stdout_logfile", "stderr_logfile")
_COUNTS = ("state", "pid", "exitstatus", "restarts", "tries", "log_dropped", "priority", "group_priority")
_TIMES = ("start", "stop", "now")

PROCESS = record(
    dict.fromkeys((*_TEXTS, *_FILES), STRING)
    | dict.fromkeys((*_COUNTS, *_TIMES), INTEGER)
    | {
        "uptime": NUMBER,
        "wanted": BOOLEAN,
        "autostart": BOOLEAN,
        "next_retry": nullable(NUMBER),
        "last_exit": nullable(LAST_EXIT),
        "leftovers": array(INTEGER),
        "listener": nullable(LISTENER),
    }
)
PROCESSES = record({"processes": array(PROCESS)})

_VERSIONS = ("version", "supervisor_version", "api_version")

DAEMON = record(
    dict.fromkeys((*_VERSIONS, "identification", "statename", "config_file"), STRING)
    | dict.fromkeys(("statecode", "pid", "started"), INTEGER)
    | {
        "uptime": NUMBER,
        "counts": {"type": "object", "additionalProperties": INTEGER},
        "problems": array(STRING),
    }
)

RESULT = record(
    {
        "action": {"type": "string", "enum": _ACTIONS},
        "group": STRING,
        "name": STRING,
        "namespec": STRING,
        "status": INTEGER,
        "fault": {"type": "string", "enum": [fault.name for fault in Fault]},
        "description": STRING,
    }
)
RESULTS = record({"results": array(RESULT)})

EXPLANATION = {**record({"process": PROCESS, "summary": STRING, "next": STRING, "exits": array(_FREE)})}
GROUPS = record(
    {"groups": array(record({"name": STRING, "priority": INTEGER, "kind": STRING, "processes": array(PROCESS)}))}
)
AVAILABLE = record(
    {
        "processes": array(
            record(
                {
                    "name": STRING,
                    "inuse": BOOLEAN,
                    "autostart": BOOLEAN,
                    "group_priority": INTEGER,
                    "process_priority": INTEGER,
                }
            )
        )
    }
)
DIFF = record(dict.fromkeys(("added", "changed", "removed", "notes"), array(STRING)))
STEPS = record({"steps": array(record({"kind": STRING, "group": STRING, "process": nullable(STRING), "text": STRING}))})
EMPTY = record({})
CONFIG: Schema = _FREE
DOCUMENT: Schema = _FREE

PROBLEM = record(
    {
        "type": STRING,
        "title": STRING,
        "status": INTEGER,
        "detail": STRING,
        "fault": INTEGER,
        "faultname": STRING,
        "problems": array(STRING),
    },
    required=("type", "title", "status", "detail"),
)

_OPTIONS: Mapping[str, Schema] = {
    "wait": BOOLEAN,
    "signal": {"anyOf": [STRING, INTEGER]},
    "only_running": BOOLEAN,
    "now": BOOLEAN,
}
ACTIONS_ON_ONE = {
    "start": record({name: _OPTIONS[name] for name in ("wait", "now")}, required=()),
    "stop": record({"wait": BOOLEAN}, required=()),
    "restart": record({name: _OPTIONS[name] for name in ("wait", "only_running")}, required=()),
    "signal": record({"signal": _OPTIONS["signal"]}),
    "clear": EMPTY,
    "rotate": EMPTY,
}
ACTION = record(
    {
        "action": {"type": "string", "enum": _ACTIONS},
        "names": array(STRING, minItems=1),
        **_OPTIONS,
    },
    required=("action", "names"),
)
RELOAD = record({"wait": BOOLEAN}, required=())
UPDATE = record({"groups": array(STRING), "dry_run": BOOLEAN}, required=())
STDIN = record({"data": STRING})
ANYTHING: Schema = ANY


def process(info: ProcessInfo) -> dict[str, Any]:
    """All about a process. (`dataclasses.asdict` and the like would be ten times as slow.)"""
    found: dict[str, Any] = dict(zip(ProcessInfo._fields, info, strict=True))
    if info.last_exit is not None:
        found["last_exit"] = info.last_exit._asdict()
    if info.listener is not None:
        found["listener"] = info.listener._asdict()
    return found


Lasting = tuple[bytes, float | None, bool, float | None]


def lasting(known: Facts) -> Lasting:
    """Of the object of a process what is the same in every answer that tells these facts, up to the end of the
    description; since when it has been up; whether the description says so; when it is tried again."""
    shaped = process(describe(known, EPOCH))
    for name in ("description", "now", "uptime", "next_retry"):
        del shaped[name]
    shaped["description"] = lasting_description(known)
    since = None if known.pid is None else known.since
    return dumps(shaped)[:-2], since, known.ticking, known.retry_at


def processes(found: Iterable[Lasting], at: Moment) -> list[bytes]:
    """PROCESSES, in pieces."""
    now, ends = cap(at.wall), dict[int, bytes]()
    down = b'","now":%d,"uptime":0.0,"next_retry":null}' % now
    parts = [b'{"processes":[']
    for lasting, since, ticking, retry_at in found:
        if since is None and retry_at is None:
            parts += (b",", lasting, down)
            continue
        up = 0.0 if since is None else max(0.0, at.monotonic - since)
        if ticking:
            seconds = int(up)
            if (end := ends.get(seconds)) is None:
                end = ends[seconds] = b'%s","now":%d,"uptime":' % (uptime(seconds).encode(), now)
            parts += (b",", lasting, end, b'%.3f,"next_retry":null}' % up)
        else:
            retry = b"null" if retry_at is None else b"%.3f" % max(0.0, retry_at - at.monotonic)
            parts += (b",", lasting, b'","now":%d,"uptime":%.3f,"next_retry":%s}' % (now, up, retry))
    del parts[1:2]  # the first comma
    parts.append(b"]}")
    return parts


def daemon(info: DaemonInfo) -> dict[str, Any]:
    """All about the daemon."""
    return {name: getattr(info, name) for name in DAEMON["properties"]}


def result(item: Result) -> dict[str, Any]:
    """How a verb went for one process."""
    return {
        "action": item.action,
        "group": item.group,
        "name": item.name,
        "namespec": item.namespec,
        "status": int(item.status),
        "fault": item.status.name,
        "description": item.description,
    }


def dumps(value: Any) -> bytes:
    """JSON, UTF-8, on one line."""
    return _ENCODER.encode(value).encode("utf-8", "replace")


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
