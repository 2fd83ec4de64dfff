"""Asks PAM whether a password is right, and whose it is. A program of its own (see `locals`).

    python -P - NUMBER DAEMON [what ps(1) shall show] < pam.py

NUMBER is our end of a socket (SOCK_SEQPACKET). The question is one message: JSON with `service`, `user`, `password`
and `seconds`, after which we end in any case. So is the answer: [uid, gids], null, or a text: why we cannot say.
"""

import json
import os
import pwd
import signal
import socket
import sys

LARGEST = 1 << 17  # bytes of a question


def known(service: str, user: str, password: str) -> tuple[int, list[int]] | None:
    """The ids of a local user with this password; None if it is not that user's."""
    import pamela  # noqa: PLC0415  # optional

    if "\0" in user + password:  # C would not see the rest
        return None
    try:
        pamela.authenticate(user, password, service=service, resetcred=0)
        record = pwd.getpwnam(user)
    except (pamela.PAMError, KeyError):
        return None
    return record.pw_uid, os.getgrouplist(user, record.pw_gid)


def main(link: socket.socket) -> None:
    """Answer one question."""
    question = json.loads(link.recv(LARGEST))
    signal.alarm(question.pop("seconds"))
    answer: object
    try:
        answer = known(**question)
    except Exception as why:  # no pamela, no libpam any more
        answer = f"{type(why).__name__}: {why}"
    link.send(json.dumps(answer).encode())


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
