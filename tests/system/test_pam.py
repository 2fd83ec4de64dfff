"""The program that asks PAM, with a question as `locals` asks it (where the answers are tested, too)."""

import json
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from supervise.system import pam, script


def asked(question: dict[str, object]) -> object:
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, its:
        ours.send(json.dumps(question).encode())
        pam.main(its)
        signal.alarm(0)
        return json.loads(ours.recv(pam.LARGEST))


def test_what_cannot_be_asked_is_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pamela", None)
    question = {"service": "login", "user": "root", "password": "x", "seconds": 60}
    assert str(asked(question)).startswith("ModuleNotFoundError: ")


def test_it_ends_in_any_case(tmp_path: Path) -> None:
    (tmp_path / "pamela.py").write_text("import signal\nsignal.pause()")
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, its:
        ours.send(b'{"service": "login", "user": "root", "password": "x", "seconds": 1}')
        program = Path(pam.__file__).read_bytes()
        pid = script.start(program, its, flags=("-P",), title="", env=os.environ | {"PYTHONPATH": str(tmp_path)})
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGALRM
