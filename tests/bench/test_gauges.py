"""What the gauges read is what processes did."""

import os
import subprocess
import sys

import pytest

from tests.bench.gauges import descriptors, family_time, percentile, processor_time, proportional, reaped_time, usage


def test_percentiles() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert [percentile(values, share) for share in (0, 0.5, 0.99, 1)] == [1, 50, 99, 100]
    assert percentile([7.0], 0.99) == 7


def test_processor_time_is_that_of_another_process() -> None:
    code = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin
        assert child.stdout
        child.stdout.readline()
        spent, now = processor_time(child.pid), usage([child.pid])
        assert spent >= 0.3
        assert now.cpu >= spent
        assert now.switches >= now.waits
        assert family_time([child.pid]) >= spent
        assert descriptors([child.pid]) >= 3
        assert 100 < proportional([child.pid]) < 1_000_000
        child.stdin.write(b"\n")
    with pytest.raises(OSError, match=r"^\[Errno"):
        processor_time(child.pid)
    assert reaped_time(os.getpid()) >= 0.29


def test_waiting_is_counted() -> None:
    code = "import time; input(); [time.sleep(0.02) for _ in range(20)]; print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin
        assert child.stdout
        before = usage([child.pid])
        child.stdin.write(b"\n")
        child.stdin.flush()
        child.stdout.readline()
        spent = usage([child.pid]).since(before)
        assert spent.waits >= 10  # a sleep that is over before it was slept is none
        assert spent.switches >= spent.waits
        child.stdin.write(b"\n")
