"""Descriptors and facts through an execve."""

import os
import subprocess
import sys

import pytest

from supervise.system.bequest import LOWEST, VARIABLE, bequeathed, inherit, move
from tests.tools import ROOT

READ = (
    "import os; from supervise.system.bequest import inherit\n"
    "named, facts = inherit(os.environ)\n"
    "print(sorted(named), facts, 'SUPERVISE_HANDOVER' in os.environ, os.get_inheritable(named['log']))\n"
    "print(os.read(named['log'], 100).decode())"
)


def test_over_an_exec() -> None:
    (reader, writer), (answer, end) = os.pipe(), os.pipe()
    os.write(writer, b"said before")
    pid = os.fork()
    if pid == 0:
        os.dup2(end, 1)
        os.chdir(ROOT)
        with bequeathed({"log": reader}, {"x": [1, None, "ä"]}) as variables:
            os.execve(sys.executable, [sys.executable, "-c", READ], os.environ | variables)
    os.close(end)
    with open(answer) as file:
        said = file.read()
    os.waitpid(pid, 0)
    for fd in (reader, writer):
        os.close(fd)
    assert said == "['log'] {'x': [1, None, 'ä']} False False\nsaid before\n"


def test_who_was_not_replaced_has_everything_as_it_was() -> None:
    reader, writer = os.pipe()
    before = sorted(os.listdir("/proc/self/fd"))
    with bequeathed({"log": reader}, {}) as variables:
        assert os.get_inheritable(reader)
        assert list(variables) == [VARIABLE]
    assert not os.get_inheritable(reader)
    assert set(os.listdir("/proc/self/fd")) <= set(before)
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("value", ["", "1", "99999", "-1", "x", "١"])
def test_a_variable_that_somebody_else_has_set(value: str) -> None:
    environ = {VARIABLE: value, "A": "b"}
    assert inherit(environ) == ({}, {})
    assert environ == {"A": "b"}


def test_a_page_of_nonsense() -> None:
    for content in (b"", b"[]", b"{}", b'{"descriptors": 3}', b"\xff"):
        page = os.memfd_create("handover")
        os.write(page, content)
        assert inherit({VARIABLE: str(page)}) == ({}, {})
        assert not os.path.exists(f"/proc/self/fd/{page}")


def test_descriptors_are_moved_out_of_the_way() -> None:
    code = (
        "from supervise.system.bequest import *\nimport os\nfd = os.dup(0)\nmoved = move(fd)\n"
        "print(fd < LOWEST <= moved, os.path.exists(f'/proc/self/fd/{fd}'), move(moved) == moved, move(50))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "True False True None\n"
    assert move(10**6) is None
    assert LOWEST > 34, "below are the numbers of sockets for programs"
