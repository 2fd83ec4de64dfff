"""A function in a child of its own, which may be killed by SIGKILL just before any line. Who forks has one thread."""

import itertools
import os
import signal
import sys
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any


def forked(function: Callable[[], None]) -> int:
    """Run it in a child; returns its wait status."""
    sys.stdout.flush()
    if (pid := os.fork()) == 0:
        status = 1
        try:
            function()
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1]


def killed_at(number: int, rooms: Iterable[str], function: Callable[[], None]) -> bool:
    """Run it in a child that kills itself before the line of that number, of all that it executes in these modules
    ("daemon/pools"); False: it came to its end before."""
    count, files = itertools.count(1), tuple(f"/supervise/{room}.py" for room in rooms)

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.endswith(files):
            return None
        if event == "line" and next(count) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    def traced() -> None:
        sys.settrace(trace)
        function()

    status = forked(traced)
    assert status in {0, signal.SIGKILL}, f"life ended with {status}"
    return status != 0
