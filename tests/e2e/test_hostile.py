"""Strangers, greedy clients and wild children against one daemon: it answers everybody else, and stays in bounds."""

import fcntl
import http.client
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import xmlrpc.client
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supervise.config.load import examine
from supervise.errors import ConfigErrors
from tests.api.asking import connected, exchange, statuses
from tests.daemons import Daemon, Supervisors, UnixConnection, configuration
from tests.tools import alive, need_root, wait_for

pytestmark = pytest.mark.timeout(300)

MB = 1 << 20
PROGRAMS = """
[program:good]
command = sh -c 'while :; do echo tick; sleep 0.1; done'
startsecs = 0
"""
WILD = """
[program:endless]
command = sh -c 'head -c 100000000 /dev/zero | tr "\\0" x; touch {place}/written; exec sleep 1000'
stdout_logfile_maxbytes = 1MB
stdout_logfile_backups = 1
startsecs = 0

[program:closes]
command = sh -c 'exec >&- 2>&-; exec sleep 1000'
startsecs = 0

[program:both]
command = sh -c 'yes >&2 & exec yes'
stdout_logfile_maxbytes = 1MB
stderr_logfile_maxbytes = 1MB
stdout_logfile_backups = 1
stderr_logfile_backups = 1
startsecs = 0
stopasgroup = true

[program:away]
command = sh -c '(setsid sh -c "trap : TERM HUP INT; sleep 1000; sleep 1000" &)'
startsecs = 0
autorestart = false
stop_scope = tree

[program:deaf]
command = %(here)s/deaf
stopwaitsecs = 1
startsecs = 0

[program:größe\u2003\u202etxt]
command = sh -c 'echo "\u0441\u0442\u0430\u0440\u0442"; exec sleep 1000'
startsecs = 0
"""
DEAF = f"""#!{sys.executable} -S
import signal, time
for number in signal.valid_signals() - {{9, 19}}:
    signal.signal(number, signal.SIG_IGN)
open("PATH", "w")
while True:
    time.sleep(1000)
"""


def rss(daemon: Daemon) -> int:
    found: int = psutil.Process(daemon.pid).memory_info().rss
    return found


def answers(daemon: Daemon) -> None:
    assert daemon.rpc.supervisor.getState()["statecode"] == 1
    assert daemon.info("good")["statename"] == "RUNNING"


@pytest.fixture(scope="module")
def daemon(shared_supervisors: Supervisors) -> Daemon:
    daemon = shared_supervisors.start("supervise", PROGRAMS)
    daemon.wait_state("good", "RUNNING")
    return daemon


# Children


def test_wild_children(supervisors: Supervisors) -> None:
    place = supervisors.place()
    deaf = place / "deaf"
    deaf.write_text(DEAF.replace("PATH", str(place / "is-deaf")))
    deaf.chmod(0o755)
    daemon = supervisors.start("supervise", PROGRAMS + WILD, place=place)
    before = rss(daemon)
    wait_for((place / "is-deaf").exists, "it ignores all signals", 60)
    wait_for((place / "written").exists, "a hundred megabytes are taken", 120)
    assert rss(daemon) < before + 64 * MB
    logs = wait_for(lambda: sum(path.stat().st_size for path in place.glob("endless-*")))  # one may be renamed just now
    assert logs <= 4 * MB + 65536  # a line may go on to twice the size before it is cut
    answers(daemon)
    name = "größe\u2003\u202etxt"
    wait_for(lambda: daemon.states()[f"{name}:{name}"] == "RUNNING")
    own = f"/api/v1/processes/{quote(name)}/logs/stdout"
    wait_for(lambda: daemon.request("GET", own)[2] == "старт\n".encode())
    assert name in daemon.ctl("status").stdout
    daemon.wait_state("away", "EXITED")
    pids = [daemon.info(one)["pid"] for one in ("endless", "closes", "both", "deaf")]
    assert {row["status"] for row in daemon.rpc.supervisor.stopAllProcesses()} == {80}
    assert not [pid for pid in pids if alive(pid)]
    daemon.wait_log("killing 'deaf'")  # which is written by a thread that has much to write


@pytest.mark.parametrize("scope", ["process", "tree"])
def test_a_user_who_delays_the_start_of_his_program(supervisors: Supervisors, scope: str) -> None:
    """With a lease, for 45 seconds: nobody can execute the file meanwhile. He delays nobody else, however often."""
    need_root()
    place = supervisors.place()
    file = place / "program"
    file.write_text("#!/bin/sh\nexec sleep 1000\n")
    file.chmod(0o755)
    options = f"user = nobody\nautostart = false\nautorestart = false\nstartsecs = 0\nstop_scope = {scope}\n"
    late = f"[program:late]\ncommand = {file}\n{options}"
    daemon = supervisors.start("supervise", PROGRAMS + late, place=place)
    asked = list[int]()  # by the kernel, to give the lease back
    before = signal.signal(signal.SIGIO, lambda number, _: asked.append(number))
    try:
        for times in range(1, 4):
            with file.open("rb+") as leased:
                fcntl.fcntl(leased, fcntl.F_SETLEASE, fcntl.F_WRLCK)
                daemon.rpc.supervisor.startProcess("late", False)
                wait_for(lambda times=times: len(asked) == times)
                daemon.wait_state("late", "RUNNING")
                answers(daemon)
                assert fcntl.fcntl(leased, fcntl.F_GETLEASE) == fcntl.F_RDLCK, "it has not been given back, or taken"
                daemon.rpc.supervisor.signalProcess("late", "KILL")
                daemon.wait_state("late", "EXITED")
    finally:
        signal.signal(signal.SIGIO, before)
    daemon.rpc.supervisor.startProcess("late")
    answers(daemon)


@pytest.mark.parametrize("name", ["a\x1b[31mb", "a\tb", "a\x85b", "a\u2028b", "a" * 5000, "\u0430"])
def test_names_with_anything_in_them(supervisors: Supervisors, name: str) -> None:
    """Refused, or served: but never a line in the log that is not ours, nor an answer that cannot be read."""
    place = supervisors.place()
    config = place / "s.conf"
    config.write_text(configuration(place, f"[program:{name}]\ncommand = sleep 1000\nautostart = false\n"))
    daemon = supervisors.run("supervise", config, place, answers=False)
    wait_for(lambda: daemon.process.poll() is not None or daemon.socket.exists(), "it starts or refuses")
    if daemon.process.poll() is None:
        (info,) = daemon.rpc.supervisor.getAllProcessInfo()
        assert info["name"]
        assert daemon.request("GET", "/")[0] == 200
        assert "\x1b" not in daemon.log
        assert daemon.stop() == 0
    else:
        assert daemon.process.returncode == 2
        assert "Error: " in daemon.output


# Clients


def call(body: str | bytes) -> bytes:
    raw = body.encode() if isinstance(body, str) else body
    return b"POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(raw), raw)


METHOD = "<methodCall><methodName>supervisor.getState</methodName><params>{}</params></methodCall>"
BOMB = (
    '<?xml version="1.0"?><!DOCTYPE b [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9))
    + "]>"
    + METHOD.format("<param><value>&j;</value></param>")
)
REQUESTS = {
    "an entity bomb": call(BOMB),
    "an external entity": call('<!DOCTYPE b [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + METHOD.format("&x;")),
    "deep arrays": call(METHOD.format("<param><value><array><data>" * 20000)),
    "deep structs": call(METHOD.format("<param>" + "<value><struct><member><name>a</name>" * 20000)),
    "many elements": call(METHOD.format("<param><value><i4>1</i4></value></param>" * 40000)),
    "a huge number": call(METHOD.format(f"<param><value><i4>{'9' * 1000000}</i4></value></param>")),
    "a truncated call": call(METHOD.format("")[:-20]),
    "not XML": call(bytes(range(256)) * 100),
    "another encoding": call('<?xml version="1.0" encoding="utf-16"?>' + METHOD.format("")),
    "no end of a header": b"GET / HTTP/1.1\r\nX: " + b"a" * 100000,
    "many headers": b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100000 + b"\r\n",
    "two lengths": b"POST /RPC2 HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 50\r\n\r\nhello",
    "length and chunks": b"POST /RPC2 HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a negative length": b"POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
    "a chunk without end": b"POST /RPC2 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"
    + b"x" * 9999,
    "a path without end": b"GET /" + b"%2e" * 100000 + b" HTTP/1.1\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"r" * 600,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0" * 1000,
    "deep JSON": b"POST /api/v1/actions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Content-Length: 200000\r\n\r\n" + b"[" * 200000,
    "a traversal": b"GET /../../../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
    "a log's traversal": b"GET /logtail/..%2f..%2fetc%2fpasswd HTTP/1.1\r\nHost: x\r\n\r\n",
    "a method of its own": b"BREW /RPC2 HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("case", REQUESTS)
def test_a_request_that_is_meant_badly(daemon: Daemon, case: str) -> None:
    before = rss(daemon)
    answer = exchange(daemon, REQUESTS[case])
    assert not [status for status in statuses(answer) if not 400 <= status < 500], answer[:300]
    assert b"root:" not in answer
    assert rss(daemon) < before + 32 * MB
    answers(daemon)
    assert "Traceback" not in daemon.log


def test_a_multicall_of_multicalls(daemon: Daemon) -> None:
    inner: list[object] = [{"methodName": "supervisor.getState", "params": []}]
    for _ in range(3):
        inner = [{"methodName": "system.multicall", "params": [inner]}] * 2
    (first, *_) = daemon.rpc.system.multicall(inner)
    assert first["faultCode"] == 2
    many = [{"methodName": "supervisor.getAllProcessInfo"}] * 3000
    assert len(daemon.rpc.system.multicall(many)) == 3000
    answers(daemon)


def test_slow_and_silent_clients(daemon: Daemon) -> None:
    """Two hundred that send a byte now and then, and two thousand that send none."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, hard), hard))
    opened: list[socket.socket] = []
    before = rss(daemon)
    try:
        for number in range(2200):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(str(daemon.socket))  # blocking: it waits while the queue is full
            sock.settimeout(60)
            if number % 11 == 0:
                sock.sendall(b"POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n<")
            opened.append(sock)
        for _ in range(3):
            for sock in opened[::11]:
                with suppress(OSError):
                    sock.send(b" ", socket.MSG_NOSIGNAL)
            answers(daemon)
        daemon.disconnect()
        answers(daemon)  # also on a new connection
        assert psutil.Process(daemon.pid).num_fds() < 400
        assert rss(daemon) < before + 64 * MB
    finally:
        for sock in opened:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_b36_few_descriptors_are_not_used_up_by_clients(supervisors: Supervisors) -> None:
    prefix = ("sh", "-c", 'ulimit -n 96; exec "$@"', "sh")
    daemon = supervisors.start("supervise", PROGRAMS, "minfds = 64", prefix=prefix)
    assert resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)[0] == 96
    silent = []
    try:
        for _ in range(300):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(str(daemon.socket))  # blocking: it waits while the queue is full
            sock.settimeout(60)
            silent.append(sock)
        daemon.disconnect()
        answers(daemon)
        daemon.rpc.supervisor.stopProcess("good")
        assert daemon.rpc.supervisor.startProcess("good") is True  # there is room for its pipes
    finally:
        for sock in silent:
            sock.close()
    assert "Too many open files" not in daemon.log

    def used() -> float:
        times = psutil.Process(daemon.pid).cpu_times()
        return times.user + times.system

    def idle() -> bool:
        before = used()
        time.sleep(0.5)
        return used() - before < 0.1

    wait_for(idle, "nothing keeps it busy, once it has dealt with all who have left")


def test_64_megabytes(daemon: Daemon) -> None:
    before = rss(daemon)

    def send(head: bytes) -> None:
        with connected(daemon) as sock:
            try:
                sock.sendall(head)
                for _ in range(64):
                    sock.sendall(b"100000\r\n" + b" " * MB + b"\r\n")
            except OSError:
                pass  # cut off

    heads = [
        b"POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Length: 67108864\r\n\r\n",
        b"POST /RPC2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /api/v1/actions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n",
        b"POST /api/v1/processes/good/stdin HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n",
    ]
    threads = [threading.Thread(target=send, args=(head,)) for head in heads]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        answers(daemon)
        time.sleep(0.01)
    assert rss(daemon) < before + 48 * MB


# Anything at all, for a bounded time

BOUNDED = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
PARTS = st.sampled_from(
    [
        *(
            b"GET",
            b"POST",
            b" ",
            b"/",
            b"/RPC2",
            b"/api/v1/processes",
            b"?name=",
            b"%00",
            b"%ff",
            b" HTTP/1.1",
            b"\r\n",
        ),
        *(b"Host: x", b"Content-Length: ", b"5", b"0", b"Transfer-Encoding: chunked", b"Authorization: Basic "),
        *(b"\r\n\r\n", b"<methodCall>", b"<value>", b"{", b"[", b"\x00", b"\xff", b"..", b"Expect: 100-continue"),
        b"Connection: Upgrade",
    ]
)


@BOUNDED
@given(st.lists(st.one_of(PARTS, PARTS, st.binary(max_size=20)), max_size=30))
def test_any_bytes_get_an_answer_or_a_cut_connection(daemon: Daemon, parts: list[bytes]) -> None:
    for status in statuses(exchange(daemon, b"".join(parts))):
        assert status < 500
    assert daemon.process.poll() is None


@BOUNDED
@given(
    st.sampled_from(["/api/v1/processes/", "/api/v1/", "/logtail/", "/", "/api/v1/groups/"]),
    st.text(max_size=30),
    st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3),
    st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]),
)
def test_any_path_gets_an_answer(daemon: Daemon, base: str, name: str, query: dict[str, str], method: str) -> None:
    pairs = "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in query.items())
    connection = UnixConnection(daemon.socket)
    try:
        connection.request(method, f"{base}{quote(name, safe='')}?{pairs}")
        assert connection.getresponse().status < 500
    except (ConnectionError, http.client.HTTPException):
        pass  # cut
    finally:
        connection.close()


@BOUNDED
@given(st.text(max_size=40), st.lists(st.one_of(st.text(max_size=20), st.integers(-(2**31), 2**31 - 1)), max_size=4))
def test_any_method_gets_an_answer(daemon: Daemon, name: str, params: list[str | int]) -> None:
    body = xmlrpc.client.dumps(tuple(params), name.replace("shutdown", "")).encode("utf-8", "replace")
    status, _, _ = daemon.request("POST", "/RPC2", body)
    assert status in (200, 400)


WORDS = st.sampled_from(
    [
        *(
            "[program:a]",
            "[supervisord]",
            "[include]",
            "[user:a]",
            "[[",
            "]",
            "command",
            "=",
            " ",
            "\n",
            "%(here)s",
            "%(",
        ),
        *("%", "'", '"', ";", "#", "numprocs = 9", "files = *", "{", "}", '"""', "'''", "\\", "\\u0000", "é", "\x7f"),
        *("1e999", "nan", "[program.a]", "command = 'x'", "environment = A=", "role = read", "port = 0"),
        "password = {SCRYPT}1$1$1$$",
    ]
)


@settings(BOUNDED, max_examples=400)
@given(st.sampled_from(["s.conf", "s.toml"]), st.lists(st.one_of(WORDS, WORDS, st.text(max_size=9)), max_size=40))
def test_any_file_is_read_or_refused(tmp_path: Path, name: str, words: list[str]) -> None:
    path = tmp_path / name
    path.write_text("".join(words), "utf-8", "surrogatepass")
    try:
        found = examine(path)
    except ConfigErrors:
        return
    assert all(str(error) for error in (*found.errors, *found.warnings))


def test_check_has_an_answer_to_a_binary_file(tmp_path: Path) -> None:
    path = tmp_path / "s.conf"
    path.write_bytes(bytes(range(256)) * 1000)
    done = subprocess.run(
        [sys.executable, "-m", "supervise", "check", "-c", str(path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "NUL" in done.stdout
