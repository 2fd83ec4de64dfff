"""The main log: supervisord's format, no forged lines, never a hindrance."""

import asyncio
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from supervise.config.model import DaemonConfig
from supervise.daemon.logs import Logs
from supervise.daemon.mainlog import BLATHER, EARLY, TRACE, MainLog, install
from tests.tools import ROOT

log = logging.getLogger("supervise")
STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} "


def config(path: Path | str, **options: Any) -> DaemonConfig:
    return DaemonConfig(logfile=str(path), **options)


@asynccontextmanager
async def opened(settings: DaemonConfig, place: Path, *, foreground: bool = False) -> AsyncIterator[MainLog]:
    logs = Logs(asyncio.get_running_loop(), childlogdir=str(place), identifier="supervisor")
    main_log = install()
    main_log.open(settings, logs, foreground=foreground)
    try:
        yield main_log
    finally:
        main_log.close()
        await logs.close()


def test_format_and_levels(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(config(tmp_path / "log", loglevel=BLATHER), tmp_path):
            for level in (50, 40, 30, 20, 10, TRACE, BLATHER):
                log.log(level, "message %d of '%s'", level, "web")
            log.log(2, "not this one")

    asyncio.run(run())
    lines = (tmp_path / "log").read_text().splitlines()
    assert [re.findall(rf"^{STAMP}(\w{{4}}) message (\d+) of 'web'$", line) for line in lines] == [
        [("CRIT", "50")],
        [("ERRO", "40")],
        [("WARN", "30")],
        [("INFO", "20")],
        [("DEBG", "10")],
        [("TRAC", "5")],
        [("BLAT", "3")],
    ]


def test_lines_from_before_it_was_open(tmp_path: Path) -> None:
    async def run() -> None:
        logs = Logs(asyncio.get_running_loop(), childlogdir=str(tmp_path), identifier="supervisor")
        main_log, before = install(), set(threading.enumerate())
        for number in range(EARLY + 10):
            log.warning("early %d", number)
        assert set(threading.enumerate()) <= before, "no thread before a fork"
        main_log.open(config(tmp_path / "log"), logs)
        await main_log.confirm()
        log.warning("late")
        main_log.close()
        await logs.close()

    asyncio.run(run())
    lines = (tmp_path / "log").read_text().splitlines()
    assert len(lines) == EARLY + 1
    assert lines[0].endswith("WARN early 0")
    assert lines[-1].endswith("WARN late")


def test_no_line_can_be_forged(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(config(tmp_path / "log"), tmp_path):
            log.info("name %s", "x\n2026-01-01 00:00:00,000 CRIT forged\r\x1b[2J\x00\x85\u2028\udcff\ttab é")
            try:
                raise ValueError("a\n2026-01-01 00:00:00,000 CRIT forged too")
            except ValueError:
                log.exception("caught")
            log.info("'%s' stdout output:\n%s", "x", "one\ntwo\n", extra={"verbatim": True})

    asyncio.run(run())
    text = (tmp_path / "log").read_text()
    lines = text.split("\n")
    assert r"x\n2026-01-01 00:00:00,000 CRIT forged\r\x1b[2J\x00\x85\u2028\udcff" in lines[0]
    assert lines[0].endswith("\ttab é")
    stamped = [line for line in lines if re.match(STAMP, line)]
    assert len(stamped) == 3
    assert not [line for line in stamped if "forged too" in line]
    assert text.endswith("'x' stdout output:\none\ntwo\n")


def test_it_never_raises(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Unprintable:
        def __str__(self) -> str:
            raise RuntimeError("no")

    async def run() -> None:
        async with opened(config(tmp_path / "log"), tmp_path):
            log.info("%d", "no number")
            log.info("%s", Unprintable())
            log.info(Unprintable())
            log.info("fine")

    asyncio.run(run())
    text = (tmp_path / "log").read_text()
    assert text.count("could not be logged") >= 2
    assert text.endswith("INFO fine\n")
    assert capsys.readouterr() == ("", "")


def test_rotation_and_orders(tmp_path: Path) -> None:
    path = tmp_path / "log"

    async def run() -> None:
        settings = config(path, logfile_maxbytes=1000, logfile_backups=3)
        async with opened(settings, tmp_path) as main_log:
            for number in range(100):
                log.info("message %d", number)
            await main_log.rotate()
            assert path.read_bytes() == b""
            path.rename(tmp_path / "moved")
            log.info("where")
            await main_log.reopen()
            log.info("there")
            await main_log.rotate()
            await main_log.clear()
            main_log.reconfigure(config(tmp_path / "other", loglevel=40))
            log.info("not logged any more")
            log.error("logged")

    asyncio.run(run())
    assert (tmp_path / "log.1").read_text().endswith("there\n")
    assert all(each.stat().st_size <= 1000 for each in tmp_path.glob("log*"))
    assert re.fullmatch(STAMP + "ERRO logged\n", (tmp_path / "other").read_text())


@pytest.mark.parametrize("name", ["/dev/null", "syslog"])
def test_no_file(tmp_path: Path, name: str) -> None:
    async def run() -> None:
        async with opened(config(name), tmp_path) as main_log:
            log.info("hello")
            await main_log.clear()
            await main_log.confirm()
            assert main_log.path is None
            assert main_log.problem == ""

    asyncio.run(run())


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(config(tmp_path / "none" / "log"), tmp_path) as main_log:
            with pytest.raises(FileNotFoundError):
                await main_log.confirm()
            for _ in range(100):
                log.info("hello")
            await main_log.reopen()
            assert "No such file" in main_log.problem
            assert b"hello" in main_log.tail_ring()

    asyncio.run(run())


def test_it_can_be_followed(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(config(tmp_path / "log"), tmp_path) as main_log:
            items = main_log.follow(1000)
            log.info("hello")
            async with asyncio.timeout(60):
                data = b""
                while b"hello\n" not in data:
                    item = await anext(items)
                    assert isinstance(item, bytes)
                    data += item
            await items.aclose()

    asyncio.run(run())


SCRIPT = """
import asyncio, logging, sys
sys.path.insert(0, sys.argv[2])
from supervise.config.model import DaemonConfig
from supervise.daemon.logs import Logs
from supervise.daemon.mainlog import setup
async def main():
    logs = Logs(asyncio.get_running_loop(), childlogdir="/tmp", identifier="x")
    main_log = setup(DaemonConfig(logfile=sys.argv[1], silent=sys.argv[3] == "silent"), logs, foreground=True)
    for number in range(1000):
        logging.getLogger("supervise").info("message %d", number)
    main_log.close()
    await logs.close()
asyncio.run(main())
"""


def foreground(logfile: Path | str, how: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    argv = [sys.executable, "-c", SCRIPT, str(logfile), str(ROOT), how]
    return subprocess.run(argv, timeout=120, check=True, **{"stdout": subprocess.PIPE, **options})


def test_foreground(tmp_path: Path) -> None:
    out = foreground(tmp_path / "log", "loud").stdout
    assert len(out.splitlines()) == 1000
    assert out == (tmp_path / "log").read_bytes()
    assert foreground(tmp_path / "log", "silent").stdout == b""
    assert len(foreground("/dev/stdout", "loud").stdout.splitlines()) == 1000  # once, not twice


def test_a_closed_or_full_stdout_disturbs_nobody(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = foreground(tmp_path / "log", "loud", stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    text = (tmp_path / "log").read_text()
    assert done.stderr == b""
    assert text.count("message") == 1000
    with open("/dev/full", "wb") as full:
        done = foreground(tmp_path / "log2", "loud", stdout=full, stderr=subprocess.PIPE)
    assert done.stderr == b""
    assert (tmp_path / "log2").read_text().count("message") == 1000


def test_more_than_can_be_written_is_counted(tmp_path: Path) -> None:
    async def run() -> None:
        logs = Logs(asyncio.get_running_loop(), childlogdir=str(tmp_path), identifier="supervisor")
        main_log, go = install(), threading.Event()
        main_log.open(config(tmp_path / "log"), logs)

        def block(_: object) -> None:
            go.wait()

        logs.pump.call(block)
        for _ in range(100):
            log.info("%s", "x" * 100_000)
        go.set()
        await main_log.confirm()
        main_log.close()
        await logs.close()

    asyncio.run(run())
    lines = (tmp_path / "log").read_text().splitlines()
    kept = sum("xxx" in line for line in lines)
    assert 40 <= kept < 50
    assert [line for line in lines if f"{100 - kept} lines of the main log were lost" in line]
