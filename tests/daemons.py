"""Running supervisors for tests: ours and the real supervisord, on the same configuration, each in its own directory.

    daemon = supervisors.start("supervise", '''
        [program:web]
        command = sleep 1000
    ''')
    daemon.wait_state("web", "RUNNING")

1. The directory is short (a unix socket's path has 108 bytes) and may be entered by every user (programs change users).
2. A daemon is started in the foreground and has answered before `start` returns; its end is waited for.
3. Nothing is left: what still carries the directory in its environment or command line is killed at the end.
"""

import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import textwrap
import time
import xmlrpc.client
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.tools import PATIENCE, ROOT, need, sweep, wait_for

Kind = Literal["supervise", "supervisord"]
KINDS: tuple[Kind, ...] = ("supervise", "supervisord")

PIDFILES = ("main.pid", "conf/supervise.pid", "run/supervisord.pid")  # of all configurations in these tests

MAIN = """\
[unix_http_server]
file = {place}/s.sock

[supervisord]
logfile = {place}/main.log
pidfile = {place}/main.pid
childlogdir = {place}
{supervisord}

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl = unix://{place}/s.sock

"""


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path, timeout: float = PATIENCE) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        # A socket with settimeout() would not wait where many others want to connect, but fail with EAGAIN.
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(PATIENCE), 0))
        try:
            self.sock.connect(str(self.path))
            self.sock.settimeout(self.timeout)
        except OSError:
            self.close()
            raise


class UnixTransport(xmlrpc.client.Transport):
    """What an exporter or a script uses to talk XML-RPC over the control socket."""

    def __init__(self, path: Path, timeout: float = PATIENCE) -> None:
        super().__init__()
        self.path, self.timeout = path, timeout

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        if not self._connection or host != self._connection[0]:
            self._connection = host, UnixConnection(self.path, self.timeout)
        connection = self._connection[1]
        assert connection is not None
        return connection


def proxy(path: Path, timeout: float = PATIENCE) -> Any:
    """An XML-RPC client (whose answers are of any type) of a unix socket. Close it: `with proxy(path) as rpc`."""
    return xmlrpc.client.ServerProxy("http://localhost/RPC2", transport=UnixTransport(path, timeout))


def sleepers(*names: str) -> str:
    """Sections of programs that are RUNNING at once and do nothing."""
    return "".join(f"[program:{name}]\ncommand = sleep 1000\nstartsecs = 0\n" for name in names)


# Sections of a program whose output shows what is missing or doubled, and of one that says what it is told.
LINES = """\
[program:lines]
command = bash -c 'i=0; while :; do echo line $((++i)); sleep 0.01; done'
stdout_logfile = {place}/lines.log
startsecs = 0
"""
CAT = """\
[program:cat]
command = cat
stdout_logfile = {place}/cat.log
startsecs = 0
"""
# … of one that says half a passage, half of its end at the first line it reads, and the rest at the second; and of one
# whose input waits until there is a file PLACE/go.
CAPTURES = """\
[program:captures]
command = bash -c 'printf "one <!--XSUPERVISOR:BEG"; read x; printf "IN-->half"; \
    read x; echo "-whole<!--XSUPERVISOR:END-->two"; exec sleep 1000'
stdout_logfile = {place}/captures.log
stdout_capture_maxbytes = 100
startsecs = 0
"""
LATE = """\
[program:late]
command = bash -c 'while ! test -e {place}/go; do sleep 0.01; done; exec cat'
stdout_logfile = {place}/late.log
startsecs = 0
"""

# Sections of programs that cannot be started: there is no such file, it may not be executed, it ends too soon.
UNSTARTABLE = """\
[program:bad]
command = /does/not/exist
autostart = false
[program:plain]
command = /etc/passwd
autostart = false
[program:quick]
command = false
autostart = false
startretries = 0
startsecs = 3600
autorestart = false
"""


def daemon_command(kind: Kind) -> list[str]:
    """argv that starts a daemon of this kind, without options."""
    return [sys.executable, "-m", "supervise"] if kind == "supervise" else [need("supervisord")]


def client_command(kind: Kind) -> list[str]:
    """argv of the client that belongs to it, without options."""
    if kind == "supervisord":
        return [need("supervisorctl")]
    return [sys.executable, "-c", "from supervise.cli.supervisectl import main; main()"]


def environment(place: Path, **more: str) -> dict[str, str]:
    """What daemons, clients and so their children get: the same for both kinds; the mark by which they are found."""
    keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR") if name in os.environ}
    return keep | {"PYTHONPATH": str(ROOT), "TEST_PLACE": str(place), "PYTHONWARNINGS": "ignore"} | more


@dataclass
class Daemon:
    """One daemon in the foreground."""

    kind: Kind
    place: Path
    config: Path
    process: subprocess.Popen[bytes]
    env: dict[str, str]
    expect_traceback: bool = False
    _proxies: list[xmlrpc.client.ServerProxy] = field(default_factory=list)

    @property
    def socket(self) -> Path:
        return self.place / "s.sock"

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def rpc(self) -> Any:
        """XML-RPC; one connection for the life of the daemon."""
        if not self._proxies:
            self._proxies.append(proxy(self.socket))
        return self._proxies[0]

    @property
    def log(self) -> str:
        """The main log."""
        return (self.place / "main.log").read_text(errors="replace")

    @property
    def output(self) -> str:
        """What the daemon itself wrote to its stdout and stderr."""
        return (self.place / "output").read_text(errors="replace")

    def read(self, name: str) -> str:
        """A file in the daemon's directory; empty while it does not exist."""
        path = self.place / name
        return path.read_text(errors="replace") if path.exists() else ""

    def configure(self, programs: str, supervisord: str = "") -> None:
        """Write the configuration again; nobody is told."""
        self.config.write_text(configuration(self.place, programs, supervisord))

    def info(self, name: str) -> dict[str, Any]:
        """getProcessInfo."""
        return dict(self.rpc.supervisor.getProcessInfo(name))

    def states(self) -> dict[str, str]:
        """Namespec -> state's name."""
        return {f"{row['group']}:{row['name']}": row["statename"] for row in self.rpc.supervisor.getAllProcessInfo()}

    def wait_state(self, name: str, *states: str, timeout: float = PATIENCE) -> dict[str, Any]:
        """Until the process is in one of the states; returns its info."""

        def reached() -> dict[str, Any] | None:
            info = self.info(name)
            return info if info["statename"] in states else None

        return wait_for(reached, f"{name} in {' or '.join(states)}", timeout) or {}

    def wait_log(self, text: str, timeout: float = PATIENCE) -> str:
        """Until the main log contains the text; returns the log."""
        return wait_for(lambda: self.log if text in self.log else "", f"main log says {text!r}", timeout)

    def ctl(
        self, *words: str, client: Kind | None = None, stdin: str = "", timeout: float = PATIENCE
    ) -> subprocess.CompletedProcess[str]:
        """Run a control client (by default the one that belongs to the daemon) against it."""
        argv = [*client_command(client or self.kind), "-c", str(self.config), *words]
        return subprocess.run(
            argv, input=stdin, capture_output=True, text=True, env=self.env, cwd=self.place, timeout=timeout
        )

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """One HTTP request on the control socket."""
        connection = UnixConnection(self.socket)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def api(self, path: str) -> Any:
        """An answer of the JSON API."""
        return json.loads(self.request("GET", f"/api/v1{path}")[2])

    def disconnect(self) -> None:
        """Close the test's own connection, so that the next call makes a new one."""
        while self._proxies:
            self._proxies.pop()("close")()

    def stop(self, number: int = signal.SIGTERM, timeout: float = PATIENCE) -> int:
        """Signal, wait, and return the exit code. Our daemon must not have shown a traceback."""
        self.disconnect()
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(timeout)
        if self.kind == "supervise" and not self.expect_traceback:
            _, found, rest = self.output.partition("Traceback")
            assert not found, rest[:3000]
        return code


def configuration(place: Path, programs: str, supervisord: str = "") -> str:
    """A whole configuration file. `{place}` in `programs` is the directory; braces elsewhere are left alone."""
    main = MAIN.replace("{supervisord}", textwrap.dedent(supervisord).replace("{place}", str(place)))
    return main.replace("{place}", str(place)) + textwrap.dedent(programs).replace("{place}", str(place))


class Supervisors:
    """The daemons of one test (or module), and the end of them."""

    def __init__(self) -> None:
        self.places: list[Path] = []
        self.running: list[Daemon] = []

    def place(self) -> Path:
        """A new short directory that every user may enter."""
        place = Path(tempfile.mkdtemp(prefix="sv-"))
        place.chmod(0o755)
        self.places.append(place)
        return place

    def start(
        self,
        kind: Kind,
        programs: str,
        supervisord: str = "",
        *,
        place: Path | None = None,
        options: tuple[str, ...] = ("-n",),
        env: dict[str, str] | None = None,
        prefix: tuple[str, ...] = (),
    ) -> Daemon:
        """Start a daemon in the foreground and wait until it answers on its socket."""
        place = place or self.place()
        config = place / "s.conf"
        config.write_text(configuration(place, programs, supervisord))
        return self.run(kind, config, place, options=options, env=env, prefix=prefix)

    def another(self, daemon: Daemon) -> Daemon:
        """The daemon after one that is killed."""
        daemon.stop(signal.SIGKILL)
        return self.run(daemon.kind, daemon.config, daemon.place)

    def run(
        self,
        kind: Kind,
        config: Path,
        place: Path,
        *,
        options: tuple[str, ...] = ("-n",),
        env: dict[str, str] | None = None,
        prefix: tuple[str, ...] = (),
        answers: bool = True,
    ) -> Daemon:
        """The same with a configuration that is already there."""
        whole = environment(place, **(env or {}))
        with (place / "output").open("ab") as output:
            process = subprocess.Popen(
                [*prefix, *daemon_command(kind), *options, "-c", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=whole,
                cwd=place,
            )
        daemon = Daemon(kind, place, config, process, whole)
        self.running.append(daemon)
        if answers:
            wait_answer(daemon)
        return daemon

    def close(self) -> None:
        """Stop everything, hard after a while, and remove the directories; then say what was wrong with a daemon."""
        wrong = []
        for daemon in reversed(self.running):
            try:
                # supervisord stops one group a second, and nothing is learnt from that here
                daemon.stop(signal.SIGTERM if daemon.kind == "supervise" else signal.SIGKILL, timeout=20)
            except subprocess.TimeoutExpired:
                daemon.process.kill()
                daemon.process.wait()
            except AssertionError as error:
                wrong.append(str(error))
        for place in self.places:
            sweep(place)
            shutil.rmtree(place, ignore_errors=True)
            for journal in journals(place):
                shutil.rmtree(journal, ignore_errors=True)
            for group in groups(place):
                with suppress(OSError):
                    group.rmdir()
        assert not wrong, "\n".join(wrong)


def journals(place: Path) -> list[Path]:
    """Where daemons with a pidfile in the directory keep what they remember: it outlives them on purpose."""
    names = [hashlib.sha256(str(place / name).encode()).hexdigest()[:16] for name in PIDFILES]
    bases = [Path("/run/supervise"), *Path("/dev/shm").glob("supervise-*")]
    return [base / name for base in bases for name in names]


def groups(place: Path) -> Iterator[Path]:
    """Control groups that are left of a daemon with a pidfile in the directory which did not end in peace."""
    for name in {journal.name for journal in journals(place)}:
        for hierarchy in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
            yield from Path(hierarchy).glob(f"supervise-{name}-*")


def wait_answer(daemon: Daemon) -> None:
    """Until the daemon says that it runs; a daemon that ends meanwhile fails the test with what it wrote."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if daemon.process.poll() is not None:
            pytest.fail(f"{daemon.kind} ended with {daemon.process.returncode}:\n{daemon.output[-1500:]}")
        try:
            with proxy(daemon.socket) as rpc:
                if rpc.supervisor.getState()["statecode"] == 1:
                    return
        except (OSError, http.client.HTTPException):
            time.sleep(0.02)
    pytest.fail(f"{daemon.kind} does not answer:\n{daemon.output}")
