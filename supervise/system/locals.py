"""Local users and their passwords: what PAM says of them, asked by a process of its own.

A module of PAM may start helpers and wait for them (pam_exec; pam_unix where it is not root): in our process the reaper
would be quicker, and a right password wrong. It may wait for a network, for ever. And it is foreign code, which has no
business among the descriptors and threads of a daemon that runs as root.
"""

import asyncio
import json
import os
import socket
from contextlib import suppress
from pathlib import Path

from supervise.system import pam, script
from supervise.system.reap import Reaper

TITLE = "pam of supervise"


class Locals:
    """Loop thread only."""

    def __init__(self, reaper: Reaper) -> None:
        self._reaper = reaper
        self._program = Path(pam.__file__).read_bytes()  # ours, whatever is installed in its place later

    async def find(self, service: str, user: str, password: bytes, seconds: int) -> tuple[int, frozenset[int]] | None:
        """The uid and all groups of that user if PAM's `service` accepts this password, else None.

        PAM waits two seconds before it says no. Blocks for 2 ms. Raises OSError where it cannot be asked (TimeoutError:
        it has not answered for so many seconds). Who is not heard to the end is killed, with the helpers.
        """
        try:
            question = {"service": service, "user": user, "password": password.decode(), "seconds": seconds}
        except UnicodeDecodeError:
            return None
        loop = asyncio.get_running_loop()
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            ours.setblocking(False)
            with its:
                ours.send(json.dumps(question).encode())
                pid = script.start(self._program, its, flags=("-P",), title=TITLE, env=os.environ)
            ended = asyncio.Event()
            self._reaper.watch(pid, lambda *_: ended.set())
            try:
                async with asyncio.timeout(seconds):
                    said = await loop.sock_recv(ours, pam.LARGEST)
            except BaseException:
                if not ended.is_set():  # not reaped, so that the number is its own still
                    _kill(pid)
                raise
        found = json.loads(said) if said else "it died"
        if isinstance(found, str):
            raise OSError(f"PAM cannot be asked: {found}")
        return (found[0], frozenset(found[1])) if found else None


def _kill(pid: int) -> None:
    """Kill it and its helpers, each of which may have made itself the leader of a session, as those of pam_exec do."""
    import psutil  # noqa: PLC0415  # 5 ms before the first program, and 2 MiB, that only a PAM that hangs is worth

    with suppress(psutil.Error):
        process = psutil.Process(pid)
        process.suspend()  # it starts no more of them
        for one in (*process.children(recursive=True), process):
            with suppress(psutil.Error):
                one.kill()
