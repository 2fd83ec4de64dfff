"""Raising limits, in a process of its own."""

import subprocess
import sys

import pytest

from tests.tools import ROOT, need_root


def raised(soft: int, hard: int, wanted: int, root: bool = True) -> str:
    code = (
        "import os, resource; from supervise.system.rlimits import *\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))\n"
        f"{'' if root else 'os.setuid(65534)'}\n"
        f"print(raise_to(NOFILE, {wanted}), *resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True).stdout


def test_enough_is_left_alone() -> None:
    assert raised(100, 200, 100) == "None 100 200\n"
    assert raised(100, 200, 0) == "None 100 200\n"
    assert raised(100, 200, -1) == "None 100 200\n"


def test_up_to_the_hard_limit() -> None:
    assert raised(100, 200, 150) == "(20, 'Increased RLIMIT_NOFILE limit to 150') 150 200\n"


def test_root_raises_the_hard_limit_too() -> None:
    need_root("CAP_SYS_RESOURCE")
    assert raised(100, 200, 300) == "(20, 'Increased RLIMIT_NOFILE limit to 300') 300 300\n"


@pytest.mark.parametrize("wanted", [300, 10**9, 10**30])
def test_others_take_what_there_is_and_are_warned(wanted: int) -> None:
    need_root()
    text = f"minfds={wanted} is more than the hard limit allows; RLIMIT_NOFILE is 200"
    assert raised(100, 200, wanted, root=False) == f"(30, '{text}') 200 200\n"
