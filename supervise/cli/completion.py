"""Names from the running daemon, for the shell's TAB key: quick, and silent whatever goes wrong."""

import click
from click.shell_completion import CompletionItem

from supervise.cli.settings import SettingsError, resolve
from supervise.client import Client
from supervise.http1 import Json, ServerError

PATIENCE = 1.0  # seconds


def complete_processes(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Namespecs, and `group:*` for groups of several."""
    return [CompletionItem(name) for name in candidates(_ask(ctx), incomplete) if name.startswith(incomplete)]


def complete_groups(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of groups."""
    groups = dict.fromkeys(process["group"] for process in _ask(ctx))
    return [CompletionItem(name) for name in groups if name.startswith(incomplete)]


def candidates(processes: list[Json], incomplete: str) -> list[str]:
    """What can be meant: `name` where it is also its group's, else `group:name` and `group:*`."""
    names: dict[str, None] = {}
    for process in processes:
        if ":" in incomplete or process["name"] != process["group"]:
            names[f"{process['group']}:{process['name']}"] = None
            names[f"{process['group']}:*"] = None
        else:
            names[process["namespec"]] = None
    return list(names)


def _ask(ctx: click.Context) -> list[Json]:
    try:
        given = ctx.find_root().params
        at = resolve(given.get("configuration"), given.get("serverurl"), given.get("username"), given.get("password"))
        return Client(at.serverurl, at.username, at.password, timeout=PATIENCE).processes()
    except (ServerError, SettingsError, ValueError):
        return []
