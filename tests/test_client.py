"""The JSON API as a class, against a running daemon."""

import socket
import threading
from collections.abc import Generator
from pathlib import Path

import pytest

from supervise.client import Client, ServerEvent, read_events
from supervise.errors import Fault
from supervise.http1 import ServerError, Stream
from tests.daemons import Daemon, Supervisors
from tests.tools import alive, free_ports, wait_for

pytestmark = pytest.mark.xdist_group("client")

PROGRAMS = """
[program:cat]
command = cat
startsecs = 0
[program:talks]
command = sh -c 'seq 100; exec sleep 1000'
startsecs = 0
[program:off]
command = sleep 1000
autostart = false
"""


@pytest.fixture(scope="module")
def daemon(shared_supervisors: Supervisors) -> Daemon:
    daemon = shared_supervisors.start("supervise", PROGRAMS)
    wait_for(lambda: daemon.ctl("tail", "talks").stdout.endswith("100\n\n"), "talks has talked")
    return daemon


@pytest.fixture
def client(daemon: Daemon) -> Client:
    return Client(f"unix://{daemon.socket}")


def fault(caught: pytest.ExceptionInfo[ServerError]) -> int:
    return caught.value.fault


def test_processes(client: Client) -> None:
    assert [process["namespec"] for process in client.processes()] == ["cat", "off", "talks"]
    assert [process["name"] for process in client.processes("off", "c*")] == ["cat", "off"]
    assert client.process("cat")["statename"] == "RUNNING"
    assert client.explain("off")["process"]["name"] == "off"
    with pytest.raises(ServerError) as caught:
        client.process("a b/c?")
    assert (fault(caught), caught.value.status) == (Fault.BAD_NAME, 404)


def test_actions(client: Client) -> None:
    results = client.act("restart", ["cat", "nosuch"])
    assert [(result["action"], result["status"]) for result in results if result["name"] == "cat"] == [
        ("stop", Fault.SUCCESS),
        ("start", Fault.SUCCESS),
    ]
    assert client.act("signal", ["cat"], signal="CONT")[0]["status"] == Fault.SUCCESS
    with pytest.raises(ServerError) as caught:
        client.act("dance", ["cat"])
    assert caught.value.status == 400


def test_wait(client: Client) -> None:
    assert client.wait("cat", "running", 10)["name"] == "cat"
    with pytest.raises(ServerError, match="off is STOPPED") as caught:
        client.wait("off", "running", 0.1)
    assert fault(caught) == Fault.FAILED


def test_logs(client: Client) -> None:
    assert client.read_log("talks", bytes=4) == b"100\n"
    assert client.read_log("talks", lines=2) == b"99\n100\n"
    assert client.read_log("talks", offset=0, length=4) == b"1\n2\n"
    assert b"spawned: 'cat'" in client.read_log("", offset=0, length=0)
    assert client.read_log("talks", "stderr", bytes=10) == b""
    with pytest.raises(ServerError) as caught:
        client.read_log("nosuch", bytes=1)
    assert fault(caught) == Fault.BAD_NAME


def test_follow(client: Client) -> None:
    for number in range(20):  # what comes after the beginning of the answer is never missed
        line = b"hello \xff %d\n" % number
        with client.follow("cat", start=0) as stream:
            client.send_stdin("cat", line)
            seen = b""
            for data in stream:
                seen += data
                if b"\n" in seen:
                    break
        assert seen == line


def test_a_stream_can_be_closed_from_elsewhere(client: Client) -> None:
    stream = client.follow("off", start=0)
    ended = threading.Event()

    def read() -> None:
        try:
            for _ in stream:
                pass
        except (ServerError, ValueError):
            pass
        ended.set()

    threading.Thread(target=read, daemon=True).start()
    stream.close()
    assert ended.wait(30)


def test_events(client: Client) -> None:
    events = client.events()
    seen: list[ServerEvent] = []
    listener = threading.Thread(target=lambda: seen.append(next(events)), daemon=True)
    listener.start()

    def heard() -> bool:
        client.act("restart", ["cat"])
        return bool(seen)

    wait_for(heard, "an event")
    listener.join(30)
    assert isinstance(events, Generator)
    events.close()
    assert seen[0].type.startswith("PROCESS_STATE_")
    assert seen[0].data["name"] == "cat"


def test_server_sent_events() -> None:
    """The grammar, in pieces of one byte."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        text = b': hi\n\nevent: A\ndata: {"x":1}\nid: 7\n\ndata:{"y":2}\r\n\r\nevent: ignored\n\n'
        theirs.sendall(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(b"1\r\n%c\r\n" % c for c in text)
        )
        theirs.sendall(b"0\r\n\r\n")
        assert list(read_events(Stream(ours, "u"))) == [("A", {"x": 1}, "7"), ("message", {"y": 2}, "")]


def test_configuration(daemon: Daemon, client: Client) -> None:
    assert client.reread() == {"added": [], "changed": [], "removed": [], "notes": []}
    daemon.configure(PROGRAMS + "[program:new]\ncommand = sleep 1000\nautostart = false\n")
    try:
        assert client.reread()["added"] == ["new"]
        assert {row["name"]: row["inuse"] for row in client.available()}["new"] is False
        client.add_group("new")
        with pytest.raises(ServerError) as caught:
            client.add_group("new")
        assert fault(caught) == Fault.ALREADY_ADDED
        client.remove_group("new")
        assert [step["group"] for step in client.update(dry_run=True)] == ["new"]
        assert client.update(["nosuch"])[0]["kind"] == "error"
    finally:
        daemon.configure(PROGRAMS)
    with pytest.raises(ServerError) as caught:
        client.remove_group("cat")
    assert fault(caught) == Fault.STILL_RUNNING


def test_the_daemon(daemon: Daemon, client: Client) -> None:
    assert client.daemon()["pid"] == daemon.pid
    assert "groups" in client.config()
    client.reopen_logs()
    client.clear_main_log()


def test_tcp_and_credentials(supervisors: Supervisors) -> None:
    place, [port] = supervisors.place(), free_ports(1)
    config = place / "s.conf"
    config.write_text(
        f"[inet_http_server]\nport=127.0.0.1:{port}\nusername=chris\npassword=\u00e4:b\n"
        f"[unix_http_server]\nfile={place}/s.sock\n"
        f"[supervisord]\nlogfile={place}/main.log\npidfile={place}/main.pid\nchildlogdir={place}\n"
        "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
    )
    daemon = supervisors.run("supervise", config, place)
    url = f"http://127.0.0.1:{port}"
    assert Client(url, "chris", "\u00e4:b").daemon()["pid"] == daemon.pid
    with pytest.raises(ServerError) as caught:
        Client(url, "chris", "wrong").daemon()
    assert caught.value.reason == "credentials"
    ended = Client(url, "chris", "\u00e4:b").end_of_daemon()
    Client(f"unix://{place}/s.sock").shutdown()
    assert ended(60.0)


def test_the_end_is_seen(supervisors: Supervisors) -> None:
    daemon = supervisors.start("supervise", "")
    client = Client(f"unix://{daemon.socket}")
    assert client.end_of_daemon()(0.05) is False
    ended = client.end_of_daemon()
    client.shutdown()
    assert ended(60.0)
    assert not alive(daemon.pid)
    with pytest.raises(ServerError) as caught:
        client.daemon()
    assert caught.value.reason in ("missing", "refused")


def test_a_busy_server_is_waited_for(tmp_path: Path) -> None:
    """A unix socket whose backlog is full would refuse a client that does not block."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen(0)
        with socket.socket(socket.AF_UNIX) as first:
            first.connect(str(tmp_path / "s"))
            with pytest.raises(ServerError, match="did not answer within 1 seconds") as caught:
                Client(f"unix://{tmp_path}/s", timeout=1).daemon()
    assert caught.value.reason == "timeout"


def test_bad_urls() -> None:
    with pytest.raises(ValueError, match="url must be"):
        Client("ftp://x")
