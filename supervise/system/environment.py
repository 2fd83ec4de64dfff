"""The environment a child is given, and its words as execve(2) takes them."""

import os
from collections.abc import Mapping
from functools import lru_cache

from supervise.config.model import ProgramConfig, UserEnv
from supervise.system.accounts import Account, look_up

# What our own service manager addressed to us alone (sd_notify(3), sd_watchdog_enabled(3), sd_listen_fds(3)): a child
# that inherited it would answer, or be watched, in our place.
OURS = frozenset(
    {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "FDSTORE"}
)
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def environment(
    config: ProgramConfig, base: Mapping[str, str], serverurl: str | None, account: Account | None = None
) -> dict[str, str]:
    """The environment of one process: `base` (the daemon's), then the user's names, then ours, then the configured.

    `user_env`: "keep" leaves HOME, USER, LOGNAME and SHELL as the daemon has them (supervisord), "set" takes them from
    the user's passwd entry, "clean" also drops everything else but PATH, TZ and the locale. `environment=` wins over
    all, SUPERVISOR_ names included (supervisord's source, though its manual has the other order). `serverurl` is the
    daemon's own address, used unless the program has one. Without the `account` of the program's user (or ours) the
    user database is asked. Raises nothing.
    """
    env = {name: value for name, value in base.items() if name not in OURS}
    if config.user_env is UserEnv.CLEAN:
        env = {name: value for name, value in env.items() if name in {"PATH", "TZ", "LANG"} or name.startswith("LC_")}
        env.setdefault("PATH", DEFAULT_PATH)
    if config.user_env is not UserEnv.KEEP:
        env |= _user(account or look_up(os.geteuid() if config.uid is None else config.uid))
    env["SUPERVISOR_ENABLED"] = "1"
    if url := serverurl if config.serverurl is None else config.serverurl:
        env["SUPERVISOR_SERVER_URL"] = url
    env["SUPERVISOR_PROCESS_NAME"] = config.name
    env["SUPERVISOR_GROUP_NAME"] = config.group_name
    env.update(config.environment)
    return env


def encoded(text: str) -> bytes:
    """The text as a program shall see it. Raises ValueError: a null byte, or what no bytes stand for."""
    if "\0" in text:
        raise ValueError("embedded null byte")
    return os.fsencode(text)


@lru_cache(maxsize=1024)
def variable(name: str, value: str) -> bytes:
    """An entry of environ(7); remembered, since most programs have most in common. Raises ValueError, as `encoded`."""
    if "=" in name:
        raise ValueError("illegal environment variable name")
    return encoded(f"{name}={value}")


def _user(account: Account) -> dict[str, str]:
    """What login(1) would set."""
    return {"HOME": account.home, "USER": account.name, "LOGNAME": account.name, "SHELL": account.shell}
