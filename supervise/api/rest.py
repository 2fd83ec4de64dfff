"""The JSON API: its table of routes, and the handlers, each one verb."""

from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp.web import StreamResponse

from supervise.api import large, logtail, shapes, sse
from supervise.api.problem import Problem
from supervise.api.routes import Call, Query, Route
from supervise.api.schema import BOOLEAN, STRING
from supervise.api.text import skip_partial
from supervise.config import secrets
from supervise.config.model import Role
from supervise.errors import CommandError, Fault

MAX_STDIN = 1 << 20

# The daemon


async def _daemon(call: Call) -> Any:
    return shapes.daemon(call.commands.daemon_info())


async def _shutdown(call: Call) -> Any:
    call.commands.shutdown()
    return {}


async def _reload(call: Call) -> Any:
    await call.commands.reload(wait=(call.body or {}).get("wait", False))
    return {}


async def _upgrade(call: Call) -> Any:
    await call.commands.upgrade()
    return {}


async def _reopen_logs(call: Call) -> Any:
    call.commands.reopen_logs()
    return {}


async def _clear_main_log(call: Call) -> Any:
    await call.commands.clear_main_log()
    return {}


# Processes


async def _processes(call: Call) -> Any:
    if "name" not in call.query:
        return large.answer(await call.lists.json(), shapes.HEADERS)
    return {"processes": list(map(shapes.process, call.commands.processes(call.query["name"])))}


async def _process(call: Call) -> Any:
    return shapes.process(call.commands.info(call.path["namespec"]))


async def _explain(call: Call) -> Any:
    return call.commands.explain(call.path["namespec"])


async def _wait(call: Call) -> Any:
    goal, seconds = call.query.get("for", "running"), call.query.get("timeout", 30.0)
    return shapes.process(await call.commands.wait_for(call.path["namespec"], goal, seconds))


async def _stdin(call: Call) -> Any:
    data = call.body if isinstance(call.body, bytes) else call.body["data"].encode()
    await call.commands.send_stdin(call.path["namespec"], data)
    return {}


async def _actions(call: Call) -> Any:
    return await _act(call, call.body["action"], call.body["names"])


def _action(name: str) -> Any:
    async def act(call: Call) -> Any:
        spec = call.path["namespec"]
        found = call.commands.processes([spec])  # a path that means nobody is not found
        answer = await _act(call, name, [spec])
        if len(found) == 1 and answer["results"]:
            _raise_failure(answer["results"][-1])
        return answer

    return act


def _raise_failure(result: Mapping[str, Any]) -> None:
    """What became of one process is the answer as a whole, where only that one was asked about."""
    fault, detail = Fault(result["status"]), result["description"]
    if fault is Fault.NO_FILE and result["action"] == "start":
        raise Problem(500, detail, fault=fault)  # it is the command that is not there, not what the path means
    if fault is not Fault.SUCCESS:
        raise CommandError(fault, detail.removeprefix(f"{fault.name}: "))


async def _act(call: Call, action: str, names: list[str]) -> Any:
    options, commands = call.body or {}, call.commands
    wait = options.get("wait", True)
    match action:
        case "start":
            results = await commands.start(names, wait=wait, now=options.get("now", True))
        case "stop":
            results = await commands.stop(names, wait=wait)
        case "restart":
            results = await commands.restart(names, wait=wait, only_running=options.get("only_running", False))
        case "signal":
            if "signal" not in options:
                raise Problem(400, "signal is missing", fault=Fault.INCORRECT_PARAMETERS)
            results = await commands.signal(names, options["signal"])
        case "clear":
            results = await commands.clear_logs(names)
        case _:
            results = await commands.rotate_logs(names)
    return {"results": list(map(shapes.result, results))}


# Logs


async def _main_log(call: Call) -> StreamResponse:
    return await _log(call, "", "stdout")


async def _process_log(call: Call) -> StreamResponse:
    channel = call.path["channel"]
    if channel not in ("stdout", "stderr"):
        raise Problem(404, f"no log {channel[:60]!a}: it is stdout or stderr")
    return await _log(call, call.path["namespec"], channel)


async def _log(call: Call, spec: str, channel: str) -> StreamResponse:
    query, commands = call.query, call.commands
    raw, start = query.get("raw", False), query.get("start", logtail.HEAD)
    ways = [name for name in ("bytes", "lines", "follow") if query.get(name)]
    if len(ways) > 1 or (ways and ("offset" in query or "length" in query)):
        raise Problem(400, "ask for one of offset and length, bytes, lines, or follow", fault=Fault.BAD_ARGUMENTS)
    if query.get("follow"):
        return await logtail.stream(commands, call.request, spec, channel, start, raw=raw)
    size = (await commands.tail_log(spec, channel, 0, 0))[1]
    async with large.making(min(size, query.get("bytes") or query.get("length") or size), growth=1) as made:
        if "lines" in query:
            data = await commands.tail_lines(spec, channel, query["lines"])
        elif "bytes" in query:
            data = await commands.read_log(spec, channel, -query["bytes"], 0) if query["bytes"] else b""
            data = data if raw or len(data) < query["bytes"] else skip_partial(data)
        else:
            data = await commands.read_log(spec, channel, query.get("offset", 0), query.get("length", 0))
        made.keep([data])
    kind = "application/octet-stream" if raw else "text/plain; charset=utf-8"
    headers = {"Content-Type": kind, "X-Log-Size": str(size), "X-Content-Type-Options": "nosniff"}
    return large.answer(large.cut(data), headers)


# Groups and configuration


async def _groups(call: Call) -> Any:
    members: dict[str, list[Any]] = {}
    for info in call.commands.processes():
        members.setdefault(info.group, []).append(info)
    return {
        "groups": [
            {
                "name": name,
                "priority": infos[0].group_priority,
                "kind": _GROUP_KINDS.get(infos[0].kind, "group"),
                "processes": list(map(shapes.process, infos)),
            }
            for name, infos in members.items()
        ]
    }


_GROUP_KINDS = {"eventlistener": "pool", "fcgi-program": "fcgi"}


async def _available(call: Call) -> Any:
    found = []
    for item in call.commands.config_info():
        program, group = item.config, item.group
        found.append(
            {
                "name": program.name if program.name == group else f"{group}:{program.name}",
                "inuse": item.inuse,
                "autostart": program.autostart,
                "group_priority": item.group_priority,
                "process_priority": program.priority,
            }
        )
    return {"processes": found}


async def _add_group(call: Call) -> Any:
    await call.commands.add(call.path["name"])
    return {}


async def _remove_group(call: Call) -> Any:
    await call.commands.remove(call.path["name"])
    return {}


async def _config(call: Call) -> Any:
    return _without_secrets(call.commands.effective_config(), values=call.caller.role is Role.ADMIN)


def _without_secrets(value: Any, name: str = "", *, values: bool) -> Any:
    """The configuration without what looks like a secret; without `values`, also without the values of environment
    variables and of plugins' options, which may be secrets that do not look like one."""
    if isinstance(value, dict):
        return {key: _shown(key, one, name, values=values) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return secrets.words(value) if name == "argv" else [_without_secrets(one, values=values) for one in value]
    if isinstance(value, str):
        return secrets.command(value) if name == "command" else secrets.without_urls(value)
    return value


def _shown(key: str, value: Any, parent: str, *, values: bool) -> Any:
    if parent in ("environment", "options") and (not values or secrets.is_secret(key)):
        return secrets.HIDDEN
    return _without_secrets(value, key, values=values)


async def _reread(call: Call) -> Any:
    diff = await call.commands.reread()
    found = {"added": diff.added, "changed": diff.changed, "removed": diff.removed}
    return {**{kind: list(names) for kind, names in found.items()}, "notes": call.commands.not_in_force()}


async def _update(call: Call) -> Any:
    options = call.body or {}
    steps = await call.commands.update(options.get("groups", []), dry_run=options.get("dry_run", False))
    return {
        "steps": [{"kind": s.kind, "group": s.group, "process": s.process, "text": s.text} for s in steps],
    }


async def _events(call: Call) -> StreamResponse:
    return await sse.stream(call.commands, call.request)


# The table

_FARTHEST = 2**53
_BYTES = {"type": "integer", "minimum": 0, "maximum": _FARTHEST}
_POSITION = {"type": "integer", "minimum": -_FARTHEST, "maximum": _FARTHEST}
_OFFSET = Query("offset", _POSITION, "Where to begin; negative, with length 0: so many bytes before the end.")
_LOG_QUERY = (
    _OFFSET,
    Query("length", _POSITION, "How many bytes; 0: to the end."),
    Query("bytes", _BYTES, "The last so many bytes."),
    Query("lines", _BYTES, "The last so many lines."),
    Query("follow", BOOLEAN, "An endless stream of what is written from now on."),
    Query("start", _BYTES, "With follow: begin with the last so many bytes (1024)."),
    Query("raw", BOOLEAN, "Bytes exactly as they are, as application/octet-stream."),
)
_SPEC = Query("name", STRING, 'A name, "group:name", "group:*", "all", or a wildcard; may be repeated.', several=True)
_GOAL = Query("for", {"type": "string", "enum": ["running", "stopped"]}, "What to wait for (running).")
_TIMEOUT = Query("timeout", {"type": "number", "minimum": 0, "maximum": 86400}, "Seconds to wait at most (30).")
_CONTROL, _ADMIN = Role.CONTROL, Role.ADMIN


def _get(path: str, handler: Any, summary: str, answer: Any, *query: Query, **more: Any) -> Route:
    return Route(method="GET", path=path, handler=handler, summary=summary, answer=answer, query=query, **more)


def _post(path: str, handler: Any, summary: str, answer: Any, role: Role, **more: Any) -> Route:
    return Route(method="POST", path=path, handler=handler, summary=summary, answer=answer, role=role, **more)


def _delete(path: str, handler: Any, summary: str) -> Route:
    return Route(method="DELETE", path=path, handler=handler, summary=summary, answer=shapes.EMPTY, role=_ADMIN)


def _verb(name: str, summary: str) -> Route:
    path = f"/processes/{{namespec}}/{name}"
    return _post(path, _action(name), summary, shapes.RESULTS, _CONTROL, body=shapes.ACTIONS_ON_ONE[name])


# A table, a row a route.
# fmt: off
ROUTES: Sequence[Route] = (
    _get("/daemon", _daemon, "The daemon: versions, state, counts of processes by state.", shapes.DAEMON),
    _post("/daemon/shutdown", _shutdown, "Begin to shut down.", shapes.EMPTY, _ADMIN, status=202, body=shapes.EMPTY),
    _post("/daemon/reload", _reload, "Validate the configuration, stop everything, begin anew from it.", shapes.EMPTY,
          _ADMIN, body=shapes.RELOAD),
    _post("/daemon/upgrade", _upgrade, "Try the code that is installed now, then execute it in this daemon's place.",
          shapes.EMPTY, _ADMIN, status=202, body=shapes.EMPTY),
    _post("/daemon/reopen-logs", _reopen_logs, "Reopen all log files.", shapes.EMPTY, _ADMIN, body=shapes.EMPTY),
    _get("/daemon/log", _main_log, "The main log.", {}, *_LOG_QUERY, media="text/plain"),
    _delete("/daemon/log", _clear_main_log, "Empty the main log."),
    _get("/processes", _processes, "All processes, or those that are named.", shapes.PROCESSES, _SPEC),
    _get("/processes/{namespec}", _process, "One process.", shapes.PROCESS),
    _get("/processes/{namespec}/explain", _explain, "Why a process is in its state, its last ends, what comes next.",
         shapes.EXPLANATION),
    _get("/processes/{namespec}/wait", _wait, "Answer when a process is running or stopped; 504 if not in time, 409 if"
         " it has failed for good.", shapes.PROCESS, _GOAL, _TIMEOUT),
    _get("/processes/{namespec}/logs/{channel}", _process_log, "A process's stdout or stderr log.", {}, *_LOG_QUERY,
         media="text/plain"),
    _verb("start", "Start a process; with `now` (default) also at once if it waits for a retry."),
    _verb("stop", "Stop a process."),
    _verb("restart", "Stop and start a process."),
    _verb("signal", "Send a process a signal, by name or number."),
    _verb("clear", "Empty a process's logs."),
    _verb("rotate", "Rotate a process's logs."),
    _post("/processes/{namespec}/stdin", _stdin, "Write to a process's standard input.", shapes.EMPTY, _CONTROL,
          body=shapes.STDIN, raw_body=True),
    _post("/actions", _actions, "One action on any number of processes, in parallel; a result for each.",
          shapes.RESULTS, _CONTROL, body=shapes.ACTION),
    _get("/groups", _groups, "The active groups.", shapes.GROUPS),
    _get("/groups/available", _available, "Every configured process, active or not.", shapes.AVAILABLE),
    _post("/groups/{name}", _add_group, "Make a configured group active.", shapes.EMPTY, _ADMIN, body=shapes.EMPTY),
    _delete("/groups/{name}", _remove_group, "Forget a group whose processes are stopped."),
    _get("/config", _config, "The configuration as read.", shapes.CONFIG),
    _post("/config/reread", _reread, "Read the configuration, tell what differs, change nothing.", shapes.DIFF, _ADMIN,
          body=shapes.EMPTY),
    _post("/config/update", _update, "Make the processes what the configuration says; `dry_run` only tells.",
          shapes.STEPS, _ADMIN, body=shapes.UPDATE),
    _get("/events", _events, "State changes as server-sent events.", {}, media="text/event-stream"),
)
# fmt: on
