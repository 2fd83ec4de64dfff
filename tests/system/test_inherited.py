"""What others change in a process is noticed in it."""

import os
import subprocess
import sys

import pytest

from tests.system.likeness import CHANGES
from tests.tools import ROOT, need_root

CODE = """
from supervise.system.inherited import inherited
from tests.system.likeness import CHANGES
before = inherited()
assert before == inherited()
CHANGES[{0!r}]()
assert (before == inherited()) is ({0!r} == "nothing")
"""


@pytest.mark.parametrize("change", CHANGES)
def test_it_is_noticed(change: str) -> None:
    need_root()
    if change == "processors" and len(os.sched_getaffinity(0)) == 1:
        pytest.skip("needs a machine with two processors")
    ran = subprocess.run([sys.executable, "-c", CODE.format(change)], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert ran.stderr == ""
