"""What supervisord's XML-RPC methods do: check the caller's arguments, call one verb, shape the answer as it does.

Arguments come in supervisord's order and may be of any type that XML-RPC can carry. Faults are raised as CommandError
with supervisord's numbers and texts. `methods` says under which names all this is to be had.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from supervise.api import large, structs, wire
from supervise.api.listing import Lists
from supervise.api.text import decode, skip_partial
from supervise.config import secrets
from supervise.core.events import RemoteCommunication, State
from supervise.daemon import namespec
from supervise.daemon.commands import API_VERSION, SUPERVISOR_VERSION, Commands
from supervise.daemon.info import Result
from supervise.errors import CommandError, Fault

_FARTHEST = 2**53  # what every client and every file can count to
_SIGNALLABLE = (State.STARTING, State.RUNNING, State.STOPPING)


class Calls:
    """The `supervisor` namespace. Nothing here is reached by name: see `methods`."""

    def __init__(self, commands: Commands, lists: Lists, *, shows_secrets: bool = True) -> None:
        self._commands, self._lists, self._shows_secrets = commands, lists, shows_secrets

    # The daemon

    async def get_api_version(self) -> str:
        return API_VERSION

    async def get_supervisor_version(self) -> str:
        return SUPERVISOR_VERSION

    async def get_identification(self) -> str:
        return self._commands.identifier

    async def get_state(self) -> Mapping[str, Any]:
        code, name = self._commands.state
        return {"statecode": code, "statename": name}

    async def get_pid(self) -> int:
        return self._commands.pid

    async def shutdown(self) -> bool:
        self._commands.shutdown()
        return True

    async def restart(self) -> bool:
        await self._commands.reload(wait=False)
        return True

    async def reload_config(self) -> list[list[list[str]]]:
        diff = await self._commands.reread()
        return [[list(diff.added), list(diff.changed), list(diff.removed)]]

    async def add_group(self, name: Any) -> bool:
        await self._commands.add(_string(name, "name"))
        return True

    async def remove_group(self, name: Any) -> bool:
        await self._commands.remove(_string(name, "name"))
        return True

    # Starting, stopping, signalling. In groups supervisord passes over silently what already is as wanted.

    async def start(self, name: Any, wait: Any = True) -> Any:
        spec, several = _target(name)
        results = await self._commands.start([spec], wait=bool(wait))
        return _array(results, Fault.ALREADY_STARTED, name) if several else _one(results, name)

    async def start_group(self, name: Any, wait: Any = True) -> Any:
        return _array(await self._commands.start([self._group(name)], wait=bool(wait)), Fault.ALREADY_STARTED)

    async def start_all(self, wait: Any = True) -> Any:
        return _array(await self._commands.start([namespec.ALL], wait=bool(wait)), Fault.ALREADY_STARTED)

    async def stop(self, name: Any, wait: Any = True) -> Any:
        spec, several = _target(name)
        results = await self._commands.stop([spec], wait=bool(wait))
        return _array(results, Fault.NOT_RUNNING, name) if several else _one(results, name)

    async def stop_group(self, name: Any, wait: Any = True) -> Any:
        return _array(await self._commands.stop([self._group(name)], wait=bool(wait)), Fault.NOT_RUNNING)

    async def stop_all(self, wait: Any = True) -> Any:
        return _array(await self._commands.stop([namespec.ALL], wait=bool(wait)), Fault.NOT_RUNNING)

    async def signal(self, name: Any, signal: Any) -> Any:
        spec, several = _target(name)
        if several:
            return await self._signal_several(spec, signal, name)
        results = await self._commands.signal([spec], _signal(signal))
        if any(result.status is Fault.BAD_SIGNAL for result in results):
            raise _fault(Fault.BAD_SIGNAL, str(signal))
        return _one(results, name)

    async def signal_group(self, name: Any, signal: Any) -> Any:
        return await self._signal_several(self._group(name), signal)

    async def signal_all(self, signal: Any) -> Any:
        return await self._signal_several(namespec.ALL, signal)

    async def _signal_several(self, spec: str, signal: Any, name: str | None = None) -> Any:
        results = await self._commands.signal([spec], _signal(signal))
        if any(result.status is Fault.BAD_SIGNAL for result in results):
            # supervisord looks at the signal only where there is a process to send it to.
            up = {(info.group, info.name) for info in self._commands.processes() if info.state in _SIGNALLABLE}
            results = [result for result in results if (result.group, result.name) in up]
        return _array(results, Fault.NOT_RUNNING, name)

    def _group(self, name: Any) -> str:
        if not self._commands.has_group(_string(name, "name")):
            raise CommandError(Fault.BAD_NAME, name)
        return namespec.literal(f"{name}:*")

    # Looking

    async def get_process_info(self, name: Any) -> Any:
        with _single(name) as spec:
            return structs.process(self._commands.info(spec))

    async def get_all_process_info(self) -> Any:
        return await self._lists.xml()

    async def get_all_config_info(self) -> Any:
        active = {(info.group, info.name): info for info in self._commands.processes()}
        found = [
            structs.config(item, active.get((item.group, item.config.name))) for item in self._commands.config_info()
        ]
        if not self._shows_secrets:
            found = [{**item, "command": secrets.command(str(item["command"]))} for item in found]
        return sorted(found, key=lambda item: str(item["name"]))

    # Logs

    async def read_main_log(self, offset: Any, length: Any) -> Any:
        return await self._read("", "stdout", offset, length)

    async def clear_main_log(self) -> bool:
        await self._commands.clear_main_log()
        return True

    async def read_stdout(self, name: Any, offset: Any, length: Any) -> Any:
        with _single(name) as spec:
            return await self._read(spec, "stdout", offset, length)

    async def read_stderr(self, name: Any, offset: Any, length: Any) -> Any:
        with _single(name) as spec:
            return await self._read(spec, "stderr", offset, length)

    async def _read(self, spec: str, channel: str, offset: Any, length: Any) -> Any:
        start, count = _integer(offset), _integer(length)
        try:
            asked = count or (-start if start < 0 else _FARTHEST)
            async with large.making(await self._size(spec, channel, asked)) as made:
                data = await self._commands.read_log(spec, channel, start, count)
                return await _shown(skip_partial(data) if start < 0 else data, made)
        except CommandError as error:
            # supervisord adds nothing to these but the path of a file that is missing.
            path = error.detail.startswith("/")
            bare = error.fault is Fault.BAD_ARGUMENTS or (error.fault is Fault.NO_FILE and not path)
            raise CommandError(error.fault) if bare else error from None

    async def tail_stdout(self, name: Any, offset: Any, length: Any) -> list[Any]:
        return await self._tail(name, "stdout", offset, length)

    async def tail_stderr(self, name: Any, offset: Any, length: Any) -> list[Any]:
        return await self._tail(name, "stderr", offset, length)

    async def _tail(self, name: Any, channel: str, offset: Any, length: Any) -> list[Any]:
        start, count = _integer(offset), _integer(length)
        with _single(name) as spec:
            async with large.making(await self._size(spec, channel, count)) as made:
                data, size, overflow = await self._commands.tail_log(spec, channel, start, count)
                return [await _shown(skip_partial(data) if overflow else data, made), size, overflow]

    async def _size(self, spec: str, channel: str, asked: int) -> int:
        """How many bytes of a log will be read at most, when so many are asked for."""
        if asked <= large.SMALL:
            return 0
        return min(asked, (await self._commands.tail_log(spec, channel, 0, 0))[1])

    async def clear_logs(self, name: Any) -> bool:
        with _single(name) as spec:
            return _one(await self._commands.clear_logs([spec]), name)

    async def clear_all_logs(self) -> Any:
        return _array(await self._commands.clear_logs([namespec.ALL]))

    # Talking to processes

    async def send_stdin(self, name: Any, chars: Any) -> bool:
        data = _bytes(chars)
        with _single(name) as spec:
            await self._commands.send_stdin(spec, data)
        return True

    async def send_event(self, kind: Any, data: Any) -> bool:
        self._commands.send_event(RemoteCommunication(_text(kind), _text(data)))
        return True


# Arguments


def _string(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise CommandError(Fault.INCORRECT_PARAMETERS, f"{what} must be a string")
    return value


def _bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    if not isinstance(value, bytes):
        raise _fault(Fault.INCORRECT_PARAMETERS, str(value)[:200])
    return value


def _text(value: Any) -> str:
    """What supervisord makes of any value in an event."""
    return decode(_bytes(value)) if isinstance(value, str | bytes) else str(value)


def _integer(value: Any) -> int:
    # supervisord applies int() to whatever comes, and answers HTTP 500 where that fails.
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        number = _FARTHEST + 1
    if abs(number) > _FARTHEST:
        raise CommandError(Fault.INCORRECT_PARAMETERS, "offset and length must be integers, of 53 bits at most")
    return number


def _signal(value: Any) -> str | int:
    return value if isinstance(value, int) else _string(value, "the signal")


def _target(name: Any) -> tuple[str, bool]:
    """The spec for a name of supervisord's kind, and whether it means a whole group (then the answer is an array)."""
    return namespec.literal(_string(name, "name")), not namespec.is_single(name)


@contextmanager
def _single(name: Any) -> Iterator[str]:
    """The spec for a name that must be one process. Faults speak of the name as the caller wrote it."""
    spec, several = _target(name)
    if several:
        raise _fault(Fault.BAD_NAME, name)
    try:
        yield spec
    except CommandError as error:
        raise _fault(error.fault, name) if error.detail == spec else error from None


# Answers


async def _shown(data: bytes, made: large.Share) -> str | wire.Pieces:
    """What a log says, as text; much of it is rendered beside the loop."""
    if len(data) <= large.SMALL:
        return decode(data)
    pieces = await asyncio.to_thread(wire.string, data)
    made.keep(pieces.parts)
    return pieces


def _fault(fault: Fault, said: str) -> CommandError:
    """A fault that repeats what the caller said, even if that was nothing."""
    error = CommandError(fault, said)
    error.args = (f"{fault.name}: {said}",)
    return error


def _one(results: list[Result], name: str) -> bool:
    for result in results:
        if result.status is not Fault.SUCCESS:
            raise _refusal(result, name)
    return True


def _refusal(result: Result, name: str) -> CommandError:
    # supervisord's fault repeats the name as the caller wrote it; only these say something else.
    _, colon, detail = result.description.partition(": ")
    telling = result.status in (Fault.NO_FILE, Fault.NOT_EXECUTABLE, Fault.FAILED, Fault.BAD_SIGNAL)
    return _fault(result.status, detail if telling and (colon or not name) else name)


def _array(
    results: Iterable[Result], passed_over: Fault | None = None, name: str | None = None
) -> list[Mapping[str, Any]]:
    """The status structs. `name` is a `group:*` that may be unknown: then it is a fault of the whole call."""
    shown = [result for result in results if result.status is not passed_over]
    if name is not None and any(result.status is Fault.BAD_NAME for result in shown):
        raise _fault(Fault.BAD_NAME, name)
    return [structs.status(result) for result in shown]
