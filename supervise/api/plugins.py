"""The plugins of [rpcinterface:x]: made once, their methods registered by name, and called at arm's length.

1. What can be called is decided when the plugin is made: the public methods of its class. No name from a client is
   ever looked up in an object.
2. An ordinary method runs in a thread of its own, at most THREADS at once; an `async def` one in the loop. Either has
   SECONDS. What it raises is a fault for its caller, and a line in the log; nobody else notices.
3. Methods need the role admin, unless the plugin says otherwise: `roles = {"look": "read"}`.
"""

import asyncio
import importlib
import inspect
import logging
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from supervise.api import wire
from supervise.api.interface import NeedsSupervisord, Supervise
from supervise.api.methods import Method, supervisor_methods
from supervise.config.model import PluginConfig, Role
from supervise.daemon.aside import Aside, Busy
from supervise.daemon.commands import Commands
from supervise.errors import CommandError, Fault

THREADS = 8  # of all plugins together
SECONDS = 60.0
STOCK = "supervisor.rpcinterface:make_main_rpcinterface"

log = logging.getLogger("supervise")

_PARAM = re.compile(r"@param\s+(\w+)\s+(\w+)")
_RETURN = re.compile(r"@return\s+(\w+)")


class Plugins:
    """The plugins that are in use. Loop thread only."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._made: dict[PluginConfig, tuple[Supervise, dict[str, Method]]] = {}
        self._threads = Aside(THREADS)

    async def use(self, configs: Iterable[PluginConfig]) -> dict[str, Method]:
        """All methods of these plugins, by full name; those of the stock line are supervisord's own.

        A plugin whose section is as before stays as it is. One that cannot be made is logged at CRIT and left out.
        """
        found: dict[str, Method] = {}
        wanted = list(configs)
        for config in [config for config in self._made if config not in wanted]:
            self._made.pop(config)[0].close()
        for config in wanted:
            if config not in self._made:
                made = await self._make(config)
                if made is None:
                    continue
                self._made[config] = made
                log.info("RPC interface %r initialized", config.name)
            found |= self._made[config][1]
        return found

    def close(self) -> None:
        """End what plugins do by themselves; `use` makes them anew."""
        for interface, _ in self._made.values():
            interface.close()
        self._made.clear()

    async def _make(self, config: PluginConfig) -> tuple[Supervise, dict[str, Method]] | None:
        interface = Supervise(config, self._commands)
        if config.factory == STOCK:
            return interface, supervisor_methods(config.name)
        try:
            plugin = await self._in_thread(lambda: resolve(config.factory)(interface, **dict(config.options)))
            return interface, self._methods(config.name, plugin)
        except NeedsSupervisord as error:
            log.critical("Could not make %s rpc interface: %s", config.name, error)
        except Exception:
            log.critical("Could not make %s rpc interface", config.name, exc_info=True)
        interface.close()
        return None

    # Its methods

    def _methods(self, namespace: str, plugin: Any) -> dict[str, Method]:
        roles = getattr(plugin, "roles", {})
        found = {}
        for name, function in inspect.getmembers(plugin, callable):
            if not name.startswith("_") and name.isidentifier() and not inspect.isclass(function):
                role = Role[str(roles.get(name, "admin")).upper()]
                full = f"{namespace}.{name}"
                found[full] = describe(name, self._caller(full, function), function, role)
        return found

    def _caller(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        async def call(_: object, *params: Any) -> wire.Rendered:
            try:
                async with asyncio.timeout(SECONDS):
                    if inspect.iscoroutinefunction(function):
                        result = await function(*params)
                    else:
                        result = await self._in_thread(lambda: function(*params))
            except TimeoutError:
                raise CommandError(Fault.FAILED, f"{name} did not answer within {SECONDS:g} seconds") from None
            except CommandError:
                raise
            except NeedsSupervisord as error:
                raise CommandError(Fault.FAILED, f"{name}: {error}"[:500]) from error
            except Exception as error:
                if _is_rpc_error(error):
                    raise CommandError.foreign(
                        getattr(error, "code", 0), str(getattr(error, "text", ""))[:500]
                    ) from None
                raise  # to be treated as any other exception in a method
            return _rendered(name, result)

        return call

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        try:
            return await self._threads.run(work, SECONDS)
        except Busy:
            raise CommandError(Fault.FAILED, f"{THREADS} calls of plugins have not ended; no more are begun") from None


def resolve(factory: str) -> Callable[..., Any]:
    """The function that `module:name` names. Raises ImportError or AttributeError."""
    module, _, path = factory.partition(":")
    found: Callable[..., Any] = operator.attrgetter(path.strip())(importlib.import_module(module.strip()))
    return found


def describe(name: str, call: Callable[..., Any], function: Callable[..., Any], role: Role) -> Method:
    """What introspection and the arity check say of a plugin's method: its signature, and the tags @param and @return
    of its docstring if it has them."""
    text = inspect.getdoc(function) or ""
    types = {parameter: kind for kind, parameter in _PARAM.findall(text)}
    returns = _RETURN.search(text)
    takes, optional, variadic = list[tuple[str, str]](), 0, False
    try:
        parameters: Mapping[str, inspect.Parameter] = inspect.signature(function).parameters
    except (TypeError, ValueError):  # a builtin
        parameters, variadic = {}, True
    for parameter in parameters.values():
        match parameter.kind:
            case inspect.Parameter.POSITIONAL_ONLY | inspect.Parameter.POSITIONAL_OR_KEYWORD:
                takes.append((types.get(parameter.name, "value"), parameter.name))
                optional += parameter.default is not inspect.Parameter.empty
            case inspect.Parameter.VAR_POSITIONAL:
                variadic = True
            case _:
                pass
    return Method(
        name=name,
        function=call,
        sentence=text.partition("\n")[0],
        description=text,
        returns=returns[1] if returns else "value",
        takes=tuple(takes),
        optional=optional,
        variadic=variadic,
        role=role,
        shown=0,  # nobody knows which of them are secret
    )


def _is_rpc_error(error: Exception) -> bool:
    """supervisor.xmlrpc.RPCError, of a plugin that borrows names from there."""
    return type(error).__module__.startswith("supervisor.") and isinstance(getattr(error, "code", None), int)


def _rendered(name: str, result: Any) -> wire.Rendered:
    try:
        return wire.Rendered(wire.value(result, exact=True))
    except (TypeError, OverflowError, RecursionError) as error:
        raise CommandError(Fault.FAILED, f"{name} returned what XML-RPC cannot carry: {error}"[:500]) from None
