"""POST /RPC2: supervisord's XML-RPC interface."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp.web import BaseRequest, StreamResponse

from supervise.api import audit, body, large, wire
from supervise.api.auth import Caller
from supervise.api.calls import Calls
from supervise.api.listing import Lists
from supervise.api.methods import Method
from supervise.api.problem import Problem
from supervise.config.model import Role
from supervise.daemon.commands import Commands
from supervise.errors import CommandError, Fault

log = logging.getLogger("supervise")

MAX_ANSWER = 32 << 20  # bytes that the results of one multicall may add up to
_HEADERS = {"Content-Type": "text/xml"}
_SLOW = 64 << 10  # texts larger than this are parsed and rendered beside the loop


class Rpc:
    """The methods of all namespaces, and the calls of them. `methods`: those of the configuration's [rpcinterface:x]
    sections, by full name; without any only `system.*` is served, as by supervisord."""

    def __init__(self, commands: Commands, methods: Mapping[str, Method]) -> None:
        self._commands = commands
        lists = Lists(commands)
        self._calls = {role: Calls(commands, lists, shows_secrets=role is Role.ADMIN) for role in Role}
        self._methods: dict[str, Method] = {**self._system_methods(), **methods}

    async def serve(self, request: BaseRequest, caller: Caller) -> StreamResponse:
        """Answer one HTTP request."""
        if request.method != "POST":
            raise Problem(400, "XML-RPC calls are POSTed", headers={"Connection": "close"})
        if request.content_length is None:
            raise Problem(411, "Content-Length is required", headers={"Connection": "close"})
        data = await body.read(request)
        try:
            name, params = await self._parse(data)
        except wire.Unparsable:
            log.error("XML-RPC request data %s is invalid: unmarshallable", _shown(data))
            raise Problem(400, "not an XML-RPC call") from None
        if not name:
            log.error("XML-RPC request data %s is invalid: no method name", _shown(data))
            raise Problem(400, "the call names no method")
        try:
            answer = await self._answer(name, params, caller)
        except CommandError as error:
            if error.__cause__ is not None:  # a method of a plugin has failed
                _tell_unexpected(data, error.__cause__)
            answer = [wire.fault(error.code, str(error))]
        except Exception as error:
            _tell_unexpected(data, error)
            raise Problem(500, "internal error") from None
        return large.answer(answer, _HEADERS)

    async def _parse(self, data: bytes) -> tuple[str, tuple[Any, ...]]:
        if len(data) > _SLOW:
            return await asyncio.to_thread(wire.parse_call, data)
        return wire.parse_call(data)

    async def _answer(self, name: str, params: Sequence[Any], caller: Caller) -> Sequence[bytes]:
        result = await self.call(name, params, caller)
        if isinstance(result, str) and len(result) > _SLOW:
            return await asyncio.to_thread(wire.pieces, result)
        return wire.pieces(result)

    async def call(self, name: str, params: Sequence[Any], caller: Caller) -> Any:
        """Call a method, and leave a trace of it if it changes anything. Raises CommandError."""
        method = self._methods.get(name)
        if method is None:
            raise CommandError(Fault.UNKNOWN_METHOD)
        if refusal := caller.lacks(method.role):  # before anything is said of the arguments
            audit.refused(caller, name, str(refusal))
            raise refusal
        if not method.accepts(len(params)):
            raise CommandError(Fault.INCORRECT_PARAMETERS)
        if name == "system.multicall":
            return await self._multicall(params[0], caller)
        # supervisord refuses nearly everything in the states below RUNNING.
        if self._commands.state[0] < 1 and not method.any_state:
            raise CommandError(Fault.SHUTDOWN_STATE)
        if method.role is Role.READ:
            return await method.function(self._calls[caller.role], *params)
        return await self._recorded(name, method, params, caller)

    async def _recorded(self, name: str, method: Method, params: Sequence[Any], caller: Caller) -> Any:
        outcome = "interrupted"
        try:
            result = await method.function(self._calls[caller.role], *params)
            outcome = _summary(result)
        except CommandError as error:
            outcome = str(error) if len(params) <= method.shown else error.fault.name  # it may repeat what is not shown
            raise
        except Exception as error:
            outcome = f"internal error: {error!r}"
            raise
        else:
            return result
        finally:
            audit.record(caller, name, params[: method.shown], outcome)

    # system.*

    def _system_methods(self) -> dict[str, Method]:
        methods = (
            Method(
                name="listMethods",
                function=self._list_methods,
                returns="array",
                any_state=True,
                sentence="The names of all methods, sorted.",
            ),
            Method(
                name="methodHelp",
                function=self._method_help,
                returns="string",
                takes=(("string", "name"),),
                sentence="What a method is for.",
                any_state=True,
            ),
            Method(
                name="methodSignature",
                function=self._method_signature,
                returns="array",
                any_state=True,
                takes=(("string", "name"),),
                sentence="The types of a method's result and parameters.",
            ),
            Method(
                name="multicall",
                function=self._list_methods,
                returns="array",
                takes=(("array", "calls"),),
                sentence="Several calls, {methodName, params} each, in one; one after another.",
                any_state=True,
            ),
        )
        return {f"system.{method.name}": method for method in methods}

    async def _list_methods(self, _: Calls) -> list[str]:
        return sorted(self._methods)

    async def _method_help(self, _: Calls, name: Any) -> str:
        return self._described(name).help

    async def _method_signature(self, _: Calls, name: Any) -> list[str]:
        return self._described(name).signature

    def _described(self, name: Any) -> Method:
        method = self._methods.get(name) if isinstance(name, str) else None
        if method is None:
            raise CommandError(Fault.SIGNATURE_UNSUPPORTED)
        return method

    async def _multicall(self, calls: Any, caller: Caller) -> list[wire.Pieces]:
        """Bare results, and {faultCode, faultString} for calls that failed (supervisord: not one-element arrays)."""
        if not isinstance(calls, list):
            raise CommandError(Fault.INCORRECT_PARAMETERS)
        results, room = list[wire.Pieces](), MAX_ANSWER
        for call in calls:
            try:
                if room <= 0:
                    raise CommandError(Fault.FAILED, "the answer to this multicall is too large")
                rendered = wire.parts(await self._call_of_several(call, caller))
            except CommandError as error:
                if error.__cause__ is not None:
                    log.critical("a call in system.multicall raised an unexpected exception", exc_info=error.__cause__)
                rendered = _fault_struct(error)
            except Exception as error:  # supervisord: one that fails unexpectedly does not spoil the others
                log.critical("a call in system.multicall raised an unexpected exception", exc_info=True)
                rendered = _fault_struct(CommandError(Fault.FAILED, f"{type(error)}:{error}"))
            results.append(wire.Pieces(rendered))
            room -= sum(map(len, rendered))
            await asyncio.sleep(0)  # a thousand calls must not keep the loop from its other work
        return results

    async def _call_of_several(self, call: Any, caller: Caller) -> Any:
        if not isinstance(call, Mapping):
            raise CommandError(Fault.INCORRECT_PARAMETERS, "a call must be a struct")
        name, params = call.get("methodName"), call.get("params", [])
        if name is None:
            raise CommandError(Fault.INCORRECT_PARAMETERS, "No methodName")
        if name == "system.multicall":
            raise CommandError(Fault.INCORRECT_PARAMETERS, "Recursive system.multicall forbidden")
        if not isinstance(name, str) or not isinstance(params, list):
            raise CommandError(Fault.INCORRECT_PARAMETERS)
        return await self.call(name, params, caller)


def _fault_struct(error: CommandError) -> list[bytes]:
    return wire.parts({"faultCode": error.code, "faultString": str(error)})


def _tell_unexpected(data: bytes, error: BaseException) -> None:
    """supervisord's line, and where it was raised."""
    told = "Handling XML-RPC request with data %s raised an unexpected exception: %s: %s"
    log.critical(told, _shown(data), type(error).__name__, error, exc_info=error)


def _summary(result: Any) -> str:
    """A result in the audit trail: "OK", or how many of a group."""
    if isinstance(result, list) and result and isinstance(result[0], Mapping):
        good = sum(item["status"] == Fault.SUCCESS for item in result)
        return "OK" if good == len(result) else f"{good} of {len(result)} OK"
    return "OK"


def _shown(data: bytes) -> str:
    head = data.partition(b"<value")[0]  # no arguments: nobody knows which of them are secret
    text = head if len(head) <= 300 else head[:297] + b"..."
    return repr(text.decode(errors="backslashreplace"))  # 'text', not b'text': supervisord's line
