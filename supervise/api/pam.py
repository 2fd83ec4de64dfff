"""Local users and their passwords, by PAM. Optional: the package pamela, imported only where a server asks for it.

As root only: without it pam_unix starts a helper and waits for it, and the daemon's reaper would be quicker.
"""

import logging
import os
import pwd

from supervise.config.model import Role, ServerConfig

log = logging.getLogger("supervise")


def role_of(server: ServerConfig, user: str, password: bytes) -> Role | None:
    """The role of a local user with this password, None if it is not that user's or there is no role.

    Blocks: PAM may ask the network, and waits two seconds before it says no. root is always an admin.
    """
    import pamela  # noqa: PLC0415  # optional

    try:
        if "\0" in user or b"\0" in password:
            return None
        pamela.authenticate(user, password.decode(), service=server.pam_service, resetcred=0)
        record = pwd.getpwnam(user)
    except (pamela.PAMError, KeyError, UnicodeDecodeError):
        return None
    if record.pw_uid == 0:
        return Role.ADMIN
    role = server.role_of(record.pw_uid, frozenset(os.getgrouplist(user, record.pw_gid)))
    if role is None:
        log.warning("local user %a is not among the users and groups of %s", user, server.section)
    return role
