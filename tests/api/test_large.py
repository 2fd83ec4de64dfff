"""Large answers arrive whole, however slowly they are read, keep nobody waiting, and are bounded together."""

import asyncio
import json
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import Any, cast

import pytest
from aiohttp import web

from supervise.api import large
from supervise.api.calls import Calls
from supervise.api.large import Large, Room, making
from supervise.api.listing import Lists
from supervise.api.page import Page
from supervise.api.text import decode
from supervise.config.model import ServerConfig
from supervise.daemon import reading
from supervise.daemon.commands import Commands
from supervise.errors import BusyError
from tests.api.asking import connected
from tests.api.test_server import REQUEST, connect, cut, serving
from tests.daemon.running import group, program, run, supervising
from tests.daemons import Daemon, Supervisors, UnixConnection
from tests.tools import PATIENCE

MANY = 500
PROGRAMS = f"""
[program:p]
command = sleep 1000
process_name = p%(process_num)04d
numprocs = {MANY}
autostart = false
"""
LIST = "/api/v1/processes"
HARD = "a\x01<&\r\u00e4".encode() + b"\xff"
SHOWN = "a\ufffd<&\r\u00e4\ufffd"


@pytest.fixture(scope="module")
def daemon(shared_supervisors: Supervisors) -> Daemon:
    return shared_supervisors.start("supervise", PROGRAMS)


def names(listed: Any) -> list[str]:
    return [one["name"] for one in listed]


def test_they_are_whole_and_the_connection_goes_on(daemon: Daemon) -> None:
    expected = [f"p{number:04}" for number in range(MANY)]
    for _ in range(2):
        assert names(daemon.rpc.supervisor.getAllProcessInfo()) == expected
    connection = UnixConnection(daemon.socket)
    try:
        for method in ("GET", "HEAD", "GET"):
            connection.request(method, LIST)
            answer = connection.getresponse()
            body = answer.read()
            assert answer.getheader("Server") == "supervise"
            assert int(answer.getheader("Content-Length") or 0) > 200_000
            assert method == "HEAD" or names(json.loads(body)["processes"]) == expected
    finally:
        connection.close()


def test_a_slow_reader_gets_it_all_and_delays_nobody(daemon: Daemon) -> None:
    with connected(daemon) as slow:
        slow.sendall(f"GET {LIST} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        received = slow.recv(100)
        for _ in range(3):
            assert daemon.rpc.supervisor.getState()["statename"] == "RUNNING"
        time.sleep(0.1)
        while data := slow.recv(65536):
            received += data
    assert names(json.loads(received.partition(b"\r\n\r\n")[2])["processes"])[-1] == f"p{MANY - 1:04}"


def test_who_leaves_in_the_middle_harms_nobody(daemon: Daemon) -> None:
    for _ in range(5):
        with socket.socket(socket.AF_UNIX) as leaving:
            leaving.settimeout(PATIENCE)
            leaving.connect(str(daemon.socket))
            leaving.sendall(f"GET {LIST} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            leaving.recv(100)
    assert len(daemon.rpc.supervisor.getAllProcessInfo()) == MANY
    assert "internal error" not in daemon.log


def test_logs_are_whole_in_every_answer(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", "[program:p]\ncommand = sleep 1000\nstdout_logfile = {place}/big\n")
    count = 300_000
    (daemon.place / "big").write_bytes(HARD * count)
    size = len(HARD) * count
    rpc = daemon.rpc.supervisor
    assert rpc.readProcessStdoutLog("p", 0, 0) == SHOWN * count
    assert rpc.tailProcessStdoutLog("p", 0, 2**30) == [SHOWN * count, size, False]
    calls = [{"methodName": "supervisor.readProcessStdoutLog", "params": ["p", 0, size]}, {"methodName": "system.no"}]
    assert daemon.rpc.system.multicall(calls) == [SHOWN * count, {"faultCode": 1, "faultString": "UNKNOWN_METHOD"}]
    for query in ("", "?lines=9999999", f"?bytes={size}"):
        assert daemon.request("GET", f"/api/v1/processes/p/logs/stdout{query}")[2] == HARD * count
    assert daemon.request("GET", "/tail.html?processname=p&limit=800000")[2].count(b"&lt;&amp;") == 100_000


def test_they_are_made_beside_the_loop(tmp_path: Path) -> None:
    async def story() -> None:
        log = tmp_path / "big"
        config = program("p", "sleep 100", stdout_logfile=str(log))
        async with supervising(tmp_path, group(config)) as supervisor:
            log.write_bytes(HARD * 30_000)
            commands = Commands(supervisor, cast(Any, None), cast(Any, None))
            calls, page = Calls(commands, Lists(commands)), Page(commands)
            with Room(large.ROOM).share():
                assert decode.__code__ in await seen(calls.tail_stdout("p", 0, 10))
                assert decode.__code__ not in await seen(calls.tail_stdout("p", 0, 2**30))
                assert decode.__code__ not in await seen(calls.read_stdout("p", 0, 0))
                assert decode.__code__ not in await seen(page._end_of("p", 10**6))

    async def seen(call: Any) -> set[CodeType]:
        """What has been called in this thread meanwhile."""
        found = set[CodeType]()
        sys.setprofile(lambda frame, event, _: found.add(frame.f_code) if event == "call" else None)
        try:
            await call
        finally:
            sys.setprofile(None)
        return found

    run(story)


def test_there_is_room_for_what_the_daemon_reads() -> None:
    assert large.MOST == reading.MOST
    assert large.GROWTH * large.MOST <= large.ROOM


def test_there_is_room_for_so_many_and_others_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "SMALL", 10)

    async def story() -> None:
        room, done = Room(1000), list[str]()

        async def answer(name: str, size: int, sending: asyncio.Event) -> None:
            with room.share():
                async with making(size, growth=2) as made:
                    made.keep([b"x" * size])
                done.append(name)
                await sending.wait()

        async with asyncio.TaskGroup() as tasks:
            first, second, third = asyncio.Event(), asyncio.Event(), asyncio.Event()
            tasks.create_task(answer("first", 500, first))
            await until(lambda: done == ["first"])
            tasks.create_task(answer("second", 300, second))
            tasks.create_task(answer("small", 5, third))
            await until(lambda: done == ["first", "small"])
            first.set()
            await until(lambda: done == ["first", "small", "second"])
            monkeypatch.setattr(large, "WAIT_SECONDS", 0.1)
            with pytest.raises(BusyError, match="too many large answers"):
                await answer("third", 500, third)
            second.set()
            third.set()
        await answer("all of it", 500, third)

    run(story)


def test_who_does_not_read_is_dropped_and_holds_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "SEND_SECONDS", 0.5)

    async def story() -> None:
        raised, pieces = list[type[BaseException]](), [bytes(100_000) for _ in range(100)]

        async def handler(request: web.BaseRequest, config: ServerConfig) -> web.StreamResponse:
            try:
                await (answer := Large(pieces, 10_000_000, {})).send(request)
            except ConnectionError as error:
                raised.append(type(error))
                raise
            return answer

        async with serving(place / "s", handler):
            reader, writer = await connect(place / "s")
            writer.write(REQUEST)
            await until(lambda: raised == [ConnectionAbortedError])
            assert await cut(reader)
            writer.close()

    run(story)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)
