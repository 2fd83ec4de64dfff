"""Descriptors given to those who keep them, whatever they do."""

import asyncio
import os
import socket
from pathlib import Path

import pytest

from supervise.system.keeping import Keeper, Outbox, Store, start_keeper
from tests.tools import wait_for


def receive(sock: socket.socket) -> tuple[str, int | None]:
    """One message, and the inode of the descriptor with it."""
    sock.settimeout(30)
    data, fds, _, _ = socket.recv_fds(sock, 4096, 1)
    inode = os.fstat(fds[0]).st_ino if fds else None
    for fd in fds:
        os.close(fd)
    return data.decode(), inode


def seqpacket() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def test_the_dialect_of_the_keeper() -> None:
    ours, its = seqpacket()
    reader, writer = os.pipe()
    with ours, its:
        keeper = Keeper(ours)
        keeper.hold("pipe-1", reader)
        keeper.hold("process-1-2", reader)
        keeper.release("pipe-1")
        keeper.say("ready")
        said = [receive(its) for _ in range(3)]
    assert said == [("hold pipe-1", os.fstat(reader).st_ino), ("release pipe-1", None), ("ready", None)]
    os.close(reader)
    os.close(writer)


def test_the_dialect_of_systemd(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        store = Store(str(tmp_path / "notify"))
        store.hold("process-1-2", reader)
        store.release("process-1-2")
        said = [receive(manager) for _ in range(2)]
        store._outbox.sock.close()
    assert said == [
        ("FDSTORE=1\nFDNAME=process-1-2\nFDPOLL=0", os.fstat(reader).st_ino),
        ("FDSTOREREMOVE=1\nFDNAME=process-1-2", None),
    ]
    os.close(reader)
    os.close(writer)
    with pytest.raises(FileNotFoundError):
        Store(str(tmp_path / "nobody"))


def test_what_finds_the_queue_full_is_sent_later_and_in_order() -> None:
    ours, its = seqpacket()
    reader, writer = os.pipe()
    inode = os.fstat(reader).st_ino

    async def story() -> None:
        box = Outbox(ours)
        box.attach(asyncio.get_running_loop())
        before = len(os.listdir("/proc/self/fd"))
        for number in range(1000):
            box.send(str(number), b"%d" % number, reader)
        assert len(os.listdir("/proc/self/fd")) > before + 100, "those that wait"
        os.close(reader)  # theirs are duplicates
        for number in range(1000):
            assert await asyncio.to_thread(receive, its) == (str(number), inode)
        for _ in range(1000):
            if len(os.listdir("/proc/self/fd")) < before:
                break
            await asyncio.sleep(0.01)
        assert len(os.listdir("/proc/self/fd")) == before - 1
        box.send("end", b"end")
        assert receive(its) == ("end", None)

    with ours, its:
        asyncio.run(story())
    os.close(writer)


class Counting(Outbox):
    """Counts how often it arranges to try again."""

    arranged = 0

    def _arrange(self) -> None:
        self.arranged += 1
        super()._arrange()


def test_one_timer_is_enough_for_all_that_waits() -> None:
    """A keeper that is stopped, with a thousand messages for it, costs a look now and then."""
    ours, its = seqpacket()

    async def story() -> None:
        box = Counting(ours)
        box.attach(asyncio.get_running_loop())
        for number in range(1000):
            box.send(str(number), b"something")
        assert box.arranged == 1

    with ours, its:
        asyncio.run(story())


def test_what_is_given_up_meanwhile_is_not_kept_waiting() -> None:
    """A program that is restarted again and again, under a keeper that is stopped, takes no descriptors away."""
    ours, its = seqpacket()

    async def story() -> None:
        keeper = Keeper(ours)
        keeper.listen(lambda *_: None, lambda: None)
        before = len(os.listdir("/proc/self/fd"))
        for number in range(1000):
            keeper.hold(f"pipe-{number}", 0)
            keeper.release(f"pipe-{number}")
        assert len(os.listdir("/proc/self/fd")) <= before
        keeper.hold("last", 0)
        held = set[str]()
        while "last" not in held:
            text, inode = await asyncio.to_thread(receive, its)
            verb, _, name = text.partition(" ")
            assert (inode is None) == (verb == "release")
            held = held | {name} if verb == "hold" else held - {name}
        assert held == {"last"}
        keeper.close()

    with ours, its:
        asyncio.run(story())


def test_nobody_there_is_no_trouble() -> None:
    ours, its = seqpacket()
    its.close()
    keeper = Keeper(ours)
    keeper.hold("a", 0)
    keeper.release("a")
    ours.close()
    keeper.say("ready")


def test_what_the_keeper_says() -> None:
    ours, its = seqpacket()
    heard: list[object] = []

    async def story() -> None:
        keeper = Keeper(ours)
        keeper.listen(lambda *end: heard.append(end), lambda: heard.append("lost"))
        its.send(b"ended 10 20 256")
        its.send(b"something that comes with a later version")
        its.send(b"ended 11 21 9")
        its.close()
        while "lost" not in heard:
            await asyncio.sleep(0.01)
        keeper.close()

    with ours:
        asyncio.run(asyncio.wait_for(story(), 30))
    assert heard == [(10, 20, 256), (11, 21, 9), "lost"]


def test_forking(tmp_path: Path) -> None:
    """In the child we go on; the parent becomes the keeper and ends as we end."""
    pid = os.fork()
    if pid == 0:
        keeper = start_keeper(["/bin/false"], {"cwd": "/"})
        (tmp_path / "pids").write_text(f"{os.getpid()} {os.getppid()}")
        if keeper is not None:
            keeper.say("ending")
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    own, parent = wait_for(lambda: (tmp_path / "pids").read_text().split())
    assert (parent, own != str(pid)) == (str(pid), True)
