"""Result handlers: supervisord's own, and users' functions that reject, fail, or never return."""

import asyncio
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervise.core.listener import Token
from supervise.core.wire import Event
from supervise.daemon import judge as module
from supervise.daemon.judge import STOCK, STUCK, Judge, resolve
from tests.daemon.running import eventually, run
from tests.tools import ROOT, need_root

EVENT = Event(7, "TICK_5", b"when:5")

HANDLERS = """
import threading
seen, go = [], threading.Event()
class RejectEvent(Exception): pass
class Other(RejectEvent): pass
def accept(event, result):
    seen.append((event.type, event.serial, event.payload(), result, threading.current_thread().name))
def reject(event, result): raise RejectEvent(result)
def reject_too(event, result): raise Other
def fail(event, result): raise SystemExit(3)
def hang(event, result): go.wait(60)
class Namespace:
    accept = staticmethod(accept)
"""


@pytest.fixture
def handlers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a module with handlers."""
    name = f"handlers_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(HANDLERS)
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    if name in sys.modules:
        sys.modules[name].go.set()
        del sys.modules[name]


async def verdict(judge: Judge, result: bytes = b"OK") -> Token:
    answer = asyncio.get_running_loop().create_future()
    judge.judge(EVENT, result, answer.set_result)
    async with asyncio.timeout(30):
        token: Token = await answer
        return token


@pytest.mark.parametrize(
    "result, token",
    [(b"OK", Token.ACCEPTED), (b"FAIL", Token.REJECTED), (b"", Token.REJECTED), (b"ok", Token.REJECTED)],
)
def test_supervisords_own_needs_no_thread(result: bytes, token: Token) -> None:
    async def story() -> None:
        before, found = threading.active_count(), list[Token]()
        Judge(STOCK, "l").judge(EVENT, result, found.append)
        assert found == [token]
        assert threading.active_count() <= before

    run(story)


def test_a_function_runs_in_a_thread(handlers: str) -> None:
    async def story() -> None:
        judge = Judge(f"{handlers}:accept", "l")
        assert await verdict(judge, b"any\xff") is Token.ACCEPTED
        ((*facts, thread),) = sys.modules[handlers].seen
        assert facts == ["TICK_5", 7, "when:5", b"any\xff"]
        assert thread != threading.current_thread().name
        judge.close()
        await eventually(lambda: thread not in [each.name for each in threading.enumerate()])

    run(story)


@pytest.mark.parametrize("function", ["reject", "reject_too"])
def test_a_function_may_reject(handlers: str, function: str) -> None:
    async def story() -> None:
        assert await verdict(Judge(f"{handlers}:{function}", "l")) is Token.REJECTED

    run(story)


@pytest.mark.parametrize("spec", ["fail", "missing", "accept.missing"])
def test_a_function_that_fails(handlers: str, spec: str, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        assert await verdict(Judge(f"{handlers}:{spec}", "l")) is Token.NOISE

    run(story)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"{handlers}:{spec}" in record.getMessage()


def test_a_function_that_hangs_is_given_up(
    handlers: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.05)

    async def story() -> None:
        judge = Judge(f"{handlers}:hang", "l")
        tokens = await asyncio.gather(*(verdict(judge) for _ in range(3)))  # the others wait behind the first one
        assert set(tokens) == {Token.REJECTED}
        for _ in range(STUCK - 1):
            assert await verdict(judge) is Token.REJECTED
        before = threading.active_count()
        assert await verdict(judge) is Token.REJECTED  # at once: it is not called any more
        assert threading.active_count() <= before

    run(story)
    assert len(caplog.messages) == STUCK
    assert caplog.messages[-1].endswith("hangs; it is not called any more")


NO_THREADS = """
import asyncio, os, resource
from supervise.core.wire import Event
from supervise.daemon.judge import Judge
async def main():
    os.setgid(65534); os.setuid(63996); resource.setrlimit(resource.RLIMIT_NPROC, (1, 100))
    loop = asyncio.get_running_loop()
    token = loop.create_future()
    Judge("builtins:max", "l").judge(Event(7, "TICK_5", b"when:5"), b"OK", token.set_result)
    await asyncio.sleep(0)
    print(token.done())
    resource.setrlimit(resource.RLIMIT_NPROC, (100, 100))
    print((await token).name)
asyncio.run(main())
"""


def test_where_there_can_be_no_thread_the_event_waits() -> None:
    need_root()
    done = subprocess.run([sys.executable, "-c", NO_THREADS], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["False", "NOISE"], "two such arguments cannot be compared"
    assert done.stderr.startswith("l: the result handler builtins:max has to wait: [Errno 11] can't start new thread\n")


def test_resolve(handlers: str) -> None:
    assert resolve(f"{handlers}:accept") is resolve(f"{handlers}:Namespace.accept")
    with pytest.raises(ValueError, match="module:name"):
        resolve("nothing")
