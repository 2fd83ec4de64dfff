"""Who may come in, and as what: the users of a configuration, local users, members of groups.

1. A server that names nobody (no username, [user:x], groups or PAM) lets everybody in as an admin, as supervisord does.
2. Otherwise credentials, where a client sends some, decide; they must be right.
3. Without them, on a unix socket, the kernel says who connects: root and the daemon's own user are admins, others
   and members of groups have their roles. If the server has a username of its own and none of these, everybody has to
   log in, as with supervisord.
"""

import logging
import os
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

from supervise.api.auth import CHALLENGE, Caller, credentials, host_name, is_ours, peer, peer_groups
from supervise.api.logins import SECONDS, Logins
from supervise.api.problem import Problem
from supervise.config import passwords
from supervise.config.model import Role, ServerConfig, UserConfig
from supervise.daemon.aside import Aside, Busy

RESOLVER_SECONDS = 10.0

log = logging.getLogger("supervise")

# Compared when nobody has that name, so that the answer takes as long: no salt and hash of anybody.
_NOBODY = f"{passwords.SCRYPT}{passwords.N}${passwords.R}${passwords.P}$AAAAAAAAAAAAAAAAAAAAAA==${'A' * 43}="

# The uid and the groups of a local user, by a service of PAM, the name, the password, and the seconds that there are.
AskLocals: TypeAlias = Callable[[str, str, bytes, int], Awaitable[tuple[int, frozenset[int]] | None]]


class Gate:
    """Admits callers to servers. Loop thread only."""

    def __init__(self, ask_locals: AskLocals) -> None:
        self._ask_locals = ask_locals
        self._users: dict[str, UserConfig] = {}
        self._logins = Logins[Role]()
        self._aside, self._full_name = Aside(1, waiting=16), ""

    def use(self, users: Iterable[UserConfig]) -> None:
        """Know these users from now on."""
        known = {user.name: user for user in users}
        if known != self._users:
            self._users = known
            self._logins.forget()

    def close(self) -> None:
        """Stop comparing passwords."""
        self._logins.close()
        self._aside.close()

    def is_open(self, server: ServerConfig) -> bool:
        """Whether it asks nobody for anything."""
        return not (self._knows_names(server) or (server.kind == "unix" and server.knows_locals))

    def _knows_names(self, server: ServerConfig) -> bool:
        return bool(server.username or self._users or server.pam_service)

    async def check_host(self, server: ServerConfig, headers: Mapping[str, str]) -> None:
        """Show nothing to a browser that asks by a name which may be a stranger's. Raises Problem 403.

        That one can make it point here (DNS rebinding), and a page of his could then read all. Browsers say by which
        name they ask, but when they only read, not for which site; so the same goes for everybody who reads. Where a
        password or a certificate is needed, such a browser has none.
        """
        if server.kind != "inet" or server.certfile or not self.is_open(server):
            return
        name = host_name(headers.get("Host", ""))
        if name and not is_ours(name, server) and not await self._is_full_name(name):
            raise Problem(403, "refused: without a password, ask for this host's address or its own name")

    async def _is_full_name(self, name: str) -> bool:
        if name.partition(".")[0] != socket.gethostname().partition(".")[0].lower():
            return False  # nor need a resolver be asked
        try:
            self._full_name = self._full_name or (await self._aside.run(socket.getfqdn, RESOLVER_SECONDS)).lower()
        except (Busy, OSError):  # or TimeoutError
            return False
        return name == self._full_name

    async def admit(self, server: ServerConfig, headers: Mapping[str, str], sock: Any, address: object) -> Caller:
        """The caller with a role. Raises Problem 401, 403, 429, 503."""
        caller = peer(sock, address)
        if self.is_open(server):
            return replace(caller, role=Role.ADMIN)
        if "Authorization" in headers and self._knows_names(server):
            return await self._login(server, headers["Authorization"], caller)
        if server.kind == "unix" and (server.knows_locals or not server.username):
            role = _of_peer(server, caller, sock)
            if role is not None:
                return replace(caller, role=role)
            if not self._knows_names(server):
                log.warning("%s is not among the users and groups of %s: refused", caller, server.section)
                raise Problem(403, f"refused: uid {caller.uid} is not among the users and groups of this socket")
        raise _unknown()

    async def _login(self, server: ServerConfig, header: str, caller: Caller) -> Caller:
        given = credentials(header)
        if given is None:
            raise _unknown()
        name, password = given
        caller = replace(caller, user=name)
        stored, role = self._stored(server, name)
        login = b"\0".join((repr(server if stored is None else stored).encode(), name.encode(), password))
        if stored is None and server.pam_service:
            verify = partial(self._logins.ask, partial(self._local, server, server.pam_service, name, password))
        else:
            verify = partial(self._compare, server, stored, role, password)
        found = await self._logins.check(caller, login, verify)
        if found is None:
            raise _unknown()
        return replace(caller, role=found)

    async def _compare(
        self, server: ServerConfig, stored: str | None, role: Role | None, password: bytes
    ) -> Role | None:
        if stored is None:
            stored = _NOBODY if self._has_slow(server) else ""
        work = partial(_compare, stored, role, password)
        return await self._logins.compare(work) if passwords.is_slow(stored) else work()

    async def _local(self, server: ServerConfig, service: str, user: str, password: bytes) -> Role | None:
        found = await self._ask_locals(service, user, password, SECONDS)
        if found is None:
            return None
        uid, groups = found
        if uid == 0:
            return Role.ADMIN
        role = server.role_of(uid, groups)
        if role is None:
            log.warning("local user %a is not among the users and groups of %s", user, server.section)
        return role

    def _stored(self, server: ServerConfig, name: str) -> tuple[str | None, Role | None]:
        """The password and the role that belong to a name; a server's own username is an admin."""
        if name == server.username:
            return server.password, Role.ADMIN
        user = self._users.get(name)
        return (user.password, user.role) if user else (None, None)

    def _has_slow(self, server: ServerConfig) -> bool:
        return any(passwords.is_slow(stored) for stored in (server.password or "", *self._passwords()))

    def _passwords(self) -> list[str]:
        return [user.password for user in self._users.values()]


def is_private(server: ServerConfig) -> bool:
    """Whether the file system keeps everybody from it but root and ourselves: a unix socket that only we may write."""
    owner = server.chown[0] if server.chown else -1
    return server.kind == "unix" and not server.chmod & 0o022 and owner in (-1, 0, os.geteuid())


def _compare(stored: str, role: Role | None, password: bytes) -> Role | None:
    return role if passwords.matches(stored, password) else None


def _of_peer(server: ServerConfig, caller: Caller, sock: Any) -> Role | None:
    if caller.uid in (0, os.geteuid()):
        return Role.ADMIN
    return server.role_of(caller.uid, peer_groups(sock)) if server.knows_locals else None


def _unknown() -> Problem:
    return Problem(401, "user name and password are required", headers=CHALLENGE)
