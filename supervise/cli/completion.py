"""Names from the running daemon, for the shell's TAB key: quick, and silent whatever goes wrong."""

import os

import click
from click.shell_completion import BashComplete, CompletionItem, add_completion_class, split_arg_string

from supervise.cli.settings import SettingsError, resolve
from supervise.client import Client
from supervise.http1 import Json, ServerError

PATIENCE = 1.0  # seconds
BASH = """\
%(complete_func)s() {
    local type value
    while IFS=, read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done < <(env COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_WORDBREAKS="$COMP_WORDBREAKS" \
        %(complete_var)s=bash_complete "$1" 2>/dev/null)
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


@add_completion_class
class ColonComplete(BashComplete):
    """bash for names such as `group:process`.

    bash takes a colon for the end of a word, shows click only the pieces, and replaces no more than the last of them.
    So this one goes by the line, and leaves out what stands there already.
    """

    source_template = BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ["COMP_LINE"]  # as far as the cursor
        words = split_arg_string(line)[1:]
        last = words.pop() if words and not line[-1].isspace() else ""
        return words, last

    def format_completion(self, item: CompletionItem) -> str:
        _, last = self.get_completion_args()
        breaks = os.environ.get("COMP_WORDBREAKS", "")
        done = max((last.rfind(each) + 1 for each in ":=" if each in breaks), default=0)
        return f"{item.type},{item.value.removeprefix(last[:done])}"


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
