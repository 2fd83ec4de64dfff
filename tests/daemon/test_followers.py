"""Followers: exact across rotation and truncation, bounded, and told what they missed."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

from supervise.daemon.channel import Channel
from supervise.daemon.followers import Bell, Gap, Live, Truncated, _Reader, follow_file, follow_log
from supervise.daemon.sinks import Sink
from supervise.system.logfile import LogFile
from supervise.system.pump import Pump, Worker
from tests.tools import need_root


async def collect(items: AsyncIterator[object], size: int) -> bytes:
    """Bytes from a follower until there are `size` of them; anything else than bytes is a failure."""
    data = b""
    async with asyncio.timeout(60):
        async for item in items:
            assert isinstance(item, bytes), item
            data += item
            if len(data) >= size:
                break
    return data


@asynccontextmanager
async def followed(path: Path, backups: int) -> AsyncIterator[tuple[LogFile, Bell, AsyncIterator[object]]]:
    """A log with a first line, and who has read that."""
    file, bell = LogFile(str(path), 0, backups), Bell(asyncio.get_running_loop())
    file.write(b"1\n")
    async with aclosing(follow_file(str(path), bell, 10)) as items:
        assert await anext(items) == b"1\n"
        yield file, bell, items
    file.close()


def test_the_end_then_what_comes(tmp_path: Path) -> None:
    async def run() -> None:
        path = tmp_path / "log"
        path.write_bytes("aä".encode() * 100)
        bell = Bell(asyncio.get_running_loop())
        async with aclosing(follow_file(str(path), bell, 4)) as items:
            assert await anext(items) == "aä".encode()  # not the rest of the character before
            with path.open("ab") as file:
                file.write(b"more")
            bell.ring()
            assert await anext(items) == b"more"
            path.write_bytes(b"new")
            bell.ring()
            assert await anext(items) == Truncated()
            assert await anext(items) == b"new"

    asyncio.run(run())


def test_rotation_is_followed_without_loss(tmp_path: Path) -> None:
    """A writer that rotates every few lines, while the reader comes by now and then."""

    async def run() -> None:
        path, lines = tmp_path / "log", [b"line %05d\n" % number for number in range(3000)]
        file = LogFile(str(path), 2000, 1000)
        file.write(b"begun\n")
        bell = Bell(asyncio.get_running_loop())

        def write() -> None:
            for line in lines:
                file.write(line)
                bell.ring()
            file.close()

        thread = threading.Thread(target=write)
        async with aclosing(follow_file(str(path), bell, 6)) as items:
            assert await anext(items) == b"begun\n"
            reading = asyncio.create_task(collect(items, sum(map(len, lines))))
            thread.start()
            assert await reading == b"".join(lines)
        thread.join()

    asyncio.run(run())


def test_many_rotations_are_followed(tmp_path: Path) -> None:
    """Hundreds of backups behind, whose numbers have gaps."""

    async def run() -> None:
        async with followed(tmp_path / "log", 1000) as (file, bell, items):
            lines = [b"%d\n" % number for number in range(2, 300)]
            for line in lines:
                file.rotate()
                file.write(line)
            bell.ring()
            wanted = b"".join(lines)
            assert await collect(items, len(wanted)) == wanted

    asyncio.run(run())


def test_rotated_out_of_reach_is_a_gap(tmp_path: Path) -> None:
    async def run() -> None:
        async with followed(tmp_path / "log", 1) as (file, bell, items):
            for number in range(2, 6):
                file.rotate()
                file.write(b"%d\n" % number)
            bell.ring()
            assert [await anext(items), await anext(items)] == [Gap(0), b"5\n"]

    asyncio.run(run())


def test_a_file_that_comes_later_and_one_that_is_deleted(tmp_path: Path) -> None:
    async def run() -> None:
        path = tmp_path / "log"
        bell = Bell(asyncio.get_running_loop())
        async with aclosing(follow_file(str(path), bell, 100)) as items:
            assert await anext(items) == b""
            reading = asyncio.create_task(anext(items))
            await asyncio.sleep(0.05)
            path.write_bytes(b"first")
            bell.ring()
            assert await reading == b"first"
            path.unlink()
            bell.ring()
            reading = asyncio.create_task(anext(items))
            await asyncio.sleep(0.05)
            path.write_bytes(b"second")
            bell.ring()
            async with asyncio.timeout(60):
                assert await reading in (b"second", Gap(0))

    asyncio.run(run())


def test_a_file_that_may_not_be_opened_is_waited_for(tmp_path: Path) -> None:
    """Somebody else's link, say: it is looked at when the bell rings, and not again and again meanwhile."""
    need_root()
    (tmp_path / "other").write_text("other\n")
    (tmp_path / "home").mkdir()
    os.chown(tmp_path / "home", 12345, -1)
    path = tmp_path / "home" / "x.log"
    path.write_text("line\n")
    reader = _Reader(str(path))
    assert reader.begin(100) == [b"line\n"]
    path.unlink()
    path.symlink_to(tmp_path / "other")
    assert (reader.advance(), reader.more) == ([], False)
    path.unlink()
    path.write_text("again\n")
    found = [*reader.advance(), *reader.advance()]
    assert (found, reader.more) == ([Gap(0), b"again\n"], False)
    reader.close()


def test_a_large_file_comes_in_pieces(tmp_path: Path) -> None:
    async def run() -> None:
        path, data = tmp_path / "log", os.urandom(1_000_000)
        path.write_bytes(data + b"begun\n")
        bell = Bell(asyncio.get_running_loop())
        async with aclosing(follow_file(str(path), bell, 6)) as items:
            assert await anext(items) == b"begun\n"
            reading = asyncio.create_task(collect(items, len(data)))
            with path.open("ab") as file:
                file.write(data)
            bell.ring()
            assert await reading == data

    asyncio.run(run())


def test_leaving_frees_the_descriptor(tmp_path: Path) -> None:
    async def run() -> None:
        path = tmp_path / "log"
        path.write_bytes(b"x")
        bell = Bell(asyncio.get_running_loop())
        async with aclosing(follow_file(str(path), bell, 1)) as items:
            await anext(items)
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(50):
            async with aclosing(follow_file(str(path), bell, 1)) as items:
                await anext(items)
                task = asyncio.create_task(anext(items))
                await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task])
        async with asyncio.timeout(60):
            while len(os.listdir("/proc/self/fd")) > before:  # a cancelled read closes when it ends
                await asyncio.sleep(0.01)

    asyncio.run(run())


def test_live_readers_lose_the_oldest_and_are_told() -> None:
    async def run() -> None:
        left: list[Live] = []
        live = Live(asyncio.get_running_loop(), 100, left.append)

        def write() -> None:
            for number in range(50):
                live.put(b"%09d\n" % number)

        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
        items = aiter(live)
        assert await anext(items) == Gap(400)
        assert await anext(items) == b"".join(b"%09d\n" % number for number in range(40, 50))
        live.put(b"x" * 1000)  # one piece is kept, however large
        assert await anext(items) == b"x" * 1000
        live.close()
        assert [item async for item in items] == []
        assert left

    asyncio.run(run())


def test_the_loop_may_be_gone() -> None:
    loop = asyncio.new_event_loop()
    live, bell = Live(loop, 100, lambda _: None), Bell(loop)
    loop.close()
    live.put(b"x")
    bell.ring()


def test_a_log_in_memory_is_followed_too() -> None:
    async def run() -> None:
        channel = Channel(asyncio.get_running_loop(), "web", "stdout")
        channel.feed(Worker(), b"before ", 1)
        async with aclosing(follow_log(channel, 100)) as items:
            assert await anext(items) == b"before "
            channel.feed(Worker(), b"after", 1)
            assert await anext(items) == b"after"
        assert not channel._live

    asyncio.run(run())


def test_a_log_in_a_file_rings_its_followers(tmp_path: Path) -> None:
    async def run() -> None:
        pump = Pump()
        channel = Channel(asyncio.get_running_loop(), "web", "stdout")
        channel.path, channel.sink = str(tmp_path / "log"), Sink(str(tmp_path / "log"), pump)
        pump.call(lambda worker: channel.feed(worker, b"before ", 1))
        async with aclosing(channel.follow(100)) as items:
            data = await collect(items, 7)
            for _ in range(3):
                pump.call(lambda worker: channel.feed(worker, b"after", 1))
            data += await collect(items, 15)
            assert data == b"before " + b"after" * 3
        assert not channel.sink.listeners
        pump.call(channel.sink.close)
        assert await asyncio.to_thread(pump.close)

    asyncio.run(run())
