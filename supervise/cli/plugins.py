"""Plugins of supervisectl: [ctlplugin:x] names a factory, which makes an object whose `do_NAME` methods are actions.

The configuration is read, and plugins are imported, when an action is asked for that is none of ours: ours come first,
and cost nothing more for it.
"""

import importlib
import os
import xmlrpc.client
from collections.abc import Callable
from http.client import HTTPConnection
from typing import Any, NoReturn

import click

from supervise.cli.session import GENERIC, Session
from supervise.cli.settings import Settings
from supervise.client import Client
from supervise.config.load import load_ctl
from supervise.config.model import PluginConfig
from supervise.errors import ConfigErrors
from supervise.http1 import ServerError, connect

RunLine = Callable[[str], None]


class PluginError(AttributeError):
    """A plugin cannot be used; the text is one line for the user."""


class Controller:
    """What a factory gets, `factory(controller, **options)`, and the plugin keeps.

    `client` speaks the JSON API (see supervise.client); `output` prints a line; `fail` also sets the exit code.
    `get_supervisor` and `get_server_proxy` speak XML-RPC, for plugins that were written for supervisorctl, and
    `onecmd` runs a line. All may be used by several threads.
    """

    def __init__(self, session: Session, name: str, run: RunLine) -> None:
        self.name, self._session, self._run = name, session, run

    @property
    def client(self) -> Client:
        return self._session.client

    @property
    def exitstatus(self) -> int:
        return self._session.code

    @exitstatus.setter
    def exitstatus(self, code: int) -> None:
        self._session.code = code

    def output(self, text: object) -> None:
        """Print a line."""
        self._session.out(str(text))

    def fail(self, text: str, code: int = GENERIC) -> None:
        """Print what went wrong, and end with this exit code."""
        self._session.fail(text, code)

    def onecmd(self, line: str) -> None:
        """Run a line as the shell does. Failures are told, not raised."""
        self._run(line)

    def upcheck(self) -> bool:
        """Whether the daemon answers; says so if it does not."""
        try:
            self.client.daemon()
        except ServerError as error:
            self._session.fail_server("status", error)
            return False
        return True

    def get_supervisor(self) -> Any:
        """XML-RPC: the methods of the supervisor namespace."""
        return self.get_server_proxy("supervisor")

    def get_server_proxy(self, namespace: str | None = None) -> Any:
        """XML-RPC: the methods of a namespace, or the whole proxy."""
        proxy = xmlrpc.client.ServerProxy("http://localhost/RPC2", transport=_Transport(self._session.settings))
        return proxy if namespace is None else getattr(proxy, namespace)

    def __getattr__(self, name: str) -> NoReturn:
        raise PluginError(
            f"the plugin [ctlplugin:{self.__dict__.get('name', '?')}] wants {name!r} of supervisorctl's controller,"
            " which supervisectl does not have; see Plugins in the README"
        )


class _Transport(xmlrpc.client.Transport):
    """XML-RPC where supervisectl's settings say."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings

    def get_host_info(self, host: Any) -> Any:
        at = self._settings
        plain = f"{at.username}:{at.password}@localhost" if at.username and at.password else "localhost"
        return super().get_host_info(plain)

    def make_connection(self, host: Any) -> HTTPConnection:
        connection = HTTPConnection("localhost")
        # HTTPConnection.connect is what would open a socket.
        connection.sock = connect(self._settings.serverurl, 30.0, self._settings.trust)
        return connection


def find(session: Session, words: list[str], run: RunLine) -> click.Command | None:
    """The action `words[0]` of a plugin, or `help` for one; None if no plugin has it. Plugins that fail say so.

    `run` runs a line of the shell.
    """
    action = words[1] if words[0] == "help" and len(words) > 1 else words[0]
    for config in _configured(session):
        try:
            plugin = _make(session, config, run)
            act = getattr(plugin, f"do_{action}", None)
            if callable(act):
                return _command(session, config.name, action, plugin, helps=words[0] == "help")
        except PluginError as error:
            session.fail(f"error: {error}")
    return None


def _configured(session: Session) -> tuple[PluginConfig, ...]:
    path = session.settings.file
    if path is None or not os.path.exists(path):
        return ()
    try:
        return load_ctl(path)[1]
    except ConfigErrors as errors:
        for problem in errors.problems:
            if problem.section.startswith("ctlplugin:"):
                session.fail(f"error: {problem}")
        return ()


def _make(session: Session, config: PluginConfig, run: RunLine) -> Any:
    module, _, path = config.factory.partition(":")
    try:
        found: Any = importlib.import_module(module.strip())
        for name in path.strip().split("."):
            found = getattr(found, name)
        return found(Controller(session, config.name, run), **dict(config.options))
    except PluginError:
        raise
    except Exception as error:  # a stranger's code
        raise PluginError(f"the plugin [ctlplugin:{config.name}] cannot be made: {error!r}") from None


def _command(session: Session, name: str, action: str, plugin: Any, *, helps: bool) -> click.Command:
    def run(words: tuple[str, ...]) -> None:
        method = f"help_{action}" if helps else f"do_{action}"
        try:
            if helps:
                told = getattr(plugin, method, None)
                told() if told else session.out(getattr(plugin, f"do_{action}").__doc__ or f"{action} (plugin {name})")
            else:
                getattr(plugin, method)(" ".join(words))
        except (ServerError, click.exceptions.Exit):
            raise
        except PluginError as error:
            session.fail(f"error: {error}")
        except Exception as error:  # one line, as for everything else
            session.fail(f"error: the plugin [ctlplugin:{name}] failed: {error!r}")

    words = click.Argument(["words"], nargs=-1, type=click.UNPROCESSED)
    settings = {"ignore_unknown_options": True, "help_option_names": []}
    return click.Command(action, callback=run, params=[words], context_settings=settings, add_help_option=False)
