"""From a program's output to what a log server gets."""

import asyncio
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from supervise.config.addresses import SyslogFormat
from supervise.config.model import DaemonConfig
from supervise.core.events import State
from supervise.daemon.outputs import LONGEST, MainOutput, Outputs, pieces
from tests.daemon.running import eventually, group, process, reach, run, sh, supervising
from tests.system.test_journald import parsed

PROCESS = r"(?P<pid>\d+)"


class Server:
    """A local syslog daemon, or journald."""

    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(path))
        self.sock.setblocking(False)
        self.got: list[bytes] = []

    def read(self) -> list[bytes]:
        while True:
            try:
                self.got.append(self.sock.recv(99999))
            except BlockingIOError:
                return self.got

    async def messages(self, count: int) -> list[str]:
        await eventually(lambda: len(self.read()) >= count)
        return [message.decode() for message in self.got]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    one = Server(tmp_path / "log")
    with one.sock:
        yield one


def after_time(messages: list[str]) -> list[str]:
    return [re.sub(r"^(<\d+>)\w{3} [ \d]\d \d\d:\d\d:\d\d ", r"\1", message) for message in messages]


def test_as_supervisord_sends_them(tmp_path: Path, server: Server) -> None:
    async def story() -> None:
        script = "echo one; echo; printf 'two\\r\\nthree\\npart'; sleep 0.2; echo ial; echo err >&2; printf end"
        one = sh("p", script, stdout_syslog=True, stderr_syslog=True, syslog_target=f"unix:{tmp_path}/log", startsecs=0)
        async with supervising(tmp_path, group(one)) as supervisor:
            supervisor.autostart(list(supervisor.processes()))
            messages = after_time(await server.messages(7))
            out = [message for message in messages if not message.endswith("err")]
            assert out == [f"<14>supervisord: p {line}" for line in ("one", "", "two", "three", "partial", "end")]
            assert "<14>supervisord: p err" in messages

    run(story)


def test_with_a_tag_and_priorities(tmp_path: Path, server: Server) -> None:
    async def story() -> None:
        options = {
            "syslog_tag": "shop",
            "stderr_syslog_priority": "local0.err",
            "syslog_target": f"unix:{tmp_path}/log",
        }
        one = sh("p", "echo $$; echo bad >&2; exec sleep 1000", stdout_syslog=True, stderr_syslog=True, **options)
        async with supervising(tmp_path, group(one)) as supervisor:
            supervisor.autostart(list(supervisor.processes()))
            await reach(supervisor, "p", State.RUNNING)
            pid = process(supervisor, "p").machine.pid
            assert sorted(after_time(await server.messages(2))) == [f"<131>shop[{pid}]: bad", f"<14>shop[{pid}]: {pid}"]

    run(story)


def test_rfc5424(tmp_path: Path, server: Server) -> None:
    async def story() -> None:
        options = {
            "syslog_format": SyslogFormat.RFC5424,
            "syslog_target": f"unix:{tmp_path}/log",
            "stdout_syslog": True,
        }
        async with supervising(tmp_path, group(sh("p", "echo hi", startsecs=0, **options))) as supervisor:
            supervisor.autostart(list(supervisor.processes()))
            (message,) = await server.messages(1)
            assert re.fullmatch(rf"<14>1 \S+T\S+ {re.escape(socket.gethostname())} p \d+ - - hi", message)

    run(story)


def test_the_journal_has_the_programs_fields(tmp_path: Path, server: Server) -> None:
    async def story() -> None:
        options = {"syslog_target": f"journald:{tmp_path}/log", "stderr_syslog": True, "group_name": "g"}
        one = sh("p", "echo a=b >&2; exec sleep 1000", stderr_syslog_priority="daemon.warning", **options)
        async with supervising(tmp_path, group(one)) as supervisor:
            supervisor.autostart(list(supervisor.processes()))
            await server.messages(1)
            pid = str(process(supervisor, "g:p").machine.pid).encode()
            assert parsed(server.got[0]) == {
                "MESSAGE": b"a=b",
                "PRIORITY": b"4",
                "SYSLOG_FACILITY": b"3",
                "SYSLOG_IDENTIFIER": b"p",
                "SYSLOG_PID": pid,
                "OBJECT_PID": pid,
                "SUPERVISE_PROGRAM": b"p",
                "SUPERVISE_GROUP": b"g",
                "SUPERVISE_PROCESS": b"p",
                "SUPERVISE_STREAM": b"stderr",
            }

    run(story)


def test_a_dead_server_stalls_nothing_and_is_seen(tmp_path: Path) -> None:
    async def story() -> None:
        flood = "yes 0123456789012345678901234567890123456789 | head -c 5000000; echo end"
        options = {"syslog_target": f"unix:{tmp_path}/nobody", "stdout_syslog": True, "startsecs": 0}
        file = tmp_path / "p.log"
        async with supervising(tmp_path, group(sh("p", flood, stdout_logfile=str(file), **options))) as supervisor:
            supervisor.autostart(list(supervisor.processes()))
            await eventually(lambda: file.exists() and file.read_bytes().endswith(b"end\n"))
            channel = process(supervisor, "p").logs.stdout
            await eventually(lambda: bool(channel.problem))
            assert "nobody" in channel.problem
            assert channel.dropped > 3_000_000
            server = Server(tmp_path / "nobody")
            with server.sock:
                await eventually(lambda: sum(map(len, server.read())) > 500_000)

    run(story)


def test_what_was_written_last_arrives_when_everything_ends(tmp_path: Path, server: Server) -> None:
    async def story() -> None:
        options = {"syslog_target": f"unix:{tmp_path}/log", "stdout_syslog": True}
        async with supervising(tmp_path, group(sh("p", "printf begun; exec sleep 1000", **options))) as supervisor:
            supervisor.autostart(list(supervisor.processes()))
            await eventually(lambda: process(supervisor, "p").logs.stdout.tail_ring() == b"begun")
        assert after_time(await server.messages(1)) == ["<14>supervisord: p begun"]

    run(story)


def test_an_update_applies_at_once(tmp_path: Path, server: Server) -> None:
    async def story() -> None:
        loop = "while sleep 0.02; do echo x; done"
        old, new = (
            sh("p", loop, syslog_target=f"unix:{tmp_path}/log", stdout_syslog=syslog) for syslog in (False, True)
        )
        async with supervising(tmp_path, group(old)) as supervisor:
            supervisor.autostart(list(supervisor.processes()))
            await reach(supervisor, "p", State.RUNNING)
            assert server.read() == []
            process(supervisor, "p").logs.reconfigure(new)
            await server.messages(3)
            process(supervisor, "p").logs.reconfigure(old)
            channel = process(supervisor, "p").logs.stdout
            for _ in range(60):  # some may be on their way
                before, passed = len(server.read()), channel._passed
                await eventually(lambda passed=passed: channel._passed > passed + 20)
                if len(server.read()) == before:
                    break
            else:
                pytest.fail("lines are still sent")

    run(story)


def test_long_lines_are_cut_between_characters() -> None:
    assert list(pieces(b"", 10)) == [b""]
    assert list(pieces(b"0123456789", 10)) == [b"0123456789"]
    assert list(pieces("01234567ä9".encode(), 9)) == [b"01234567", "ä9".encode()]
    assert list(pieces(b"\x80" * 20, 9)) == [b"\x80" * 6, b"\x80" * 6, b"\x80" * 8]
    assert b"".join(pieces(b"x" * 50_000, LONGEST)) == b"x" * 50_000


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "<11>supervisord: 2026-01-31 12:00:00,000 ERRO it's bad"),
        ({"syslog_tag": "sv"}, "<11>sv[7]: it's bad"),
        ({"syslog_facility": "daemon", "syslog_tag": "sv"}, "<27>sv[7]: it's bad"),
    ],
)
def test_the_main_log(tmp_path: Path, server: Server, options: dict[str, Any], expected: str) -> None:
    async def story() -> None:
        outputs = Outputs()
        config = DaemonConfig(logfile="syslog", syslog_target=f"unix:{tmp_path}/log", **options)
        MainOutput(outputs, config, 7).send(b"2026-01-31 12:00:00,000 ERRO it's bad\n")
        assert after_time(await server.messages(1)) == [expected]
        await asyncio.to_thread(outputs.close)

    run(story)
