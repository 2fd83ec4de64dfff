"""The daemon itself becomes another user."""

import subprocess
import sys

from tests.tools import ROOT, need_root


def become(arguments: str, before: str = "") -> list[str]:
    code = (
        f"import os; from supervise.system.user import *\n{before}\n"
        f"try: become({arguments})\nexcept SwitchError as e: print(e)\n"
        "print(os.getresuid(), os.getresgid(), sorted(os.getgroups()))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    return run.stdout.splitlines()


def test_a_named_user() -> None:
    need_root()
    groups = subprocess.run(["id", "-G", "www-data"], capture_output=True, text=True, check=True).stdout.split()
    assert become("33, None") == [f"(33, 33, 33) (33, 33, 33) {sorted(map(int, groups))}"]
    assert become("33, 8")[0].startswith("(33, 33, 33) (8, 8, 8)")


def test_a_number_without_a_name_keeps_nothing_of_roots() -> None:
    need_root()
    assert become("54321, None") == ["(54321, 54321, 54321) (54321, 54321, 54321) [54321]"]


def test_who_we_are_already() -> None:
    need_root()
    assert become("0, 0")[0].startswith("(0, 0, 0)")


def test_only_root_may() -> None:
    need_root()
    refusal, who = become("33, 33", "os.setgroups([]); os.setgid(65534); os.setuid(65534)")
    assert refusal == "Can't drop privilege as nonroot user"
    assert who.startswith("(65534, 65534, 65534)")
