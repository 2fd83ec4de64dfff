"""The world of a chaos run: programs, a daemon that is killed and started again, somebody who calls its API."""

import contextlib
import fcntl
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import xmlrpc.client
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from supervise.system.pipes import pending
from tests.daemons import Daemon, Supervisors, configuration, proxy, wait_answer
from tests.e2e.chaos.oracle import Told, judge_ends, judge_events, judge_logs, runs
from tests.tools import belonging_to, wait_for

KINDS = (
    *("steady", "captured", "listener", "crasher", "fcgi", "activated", "both", "forker", "killer", "merged"),
    *("long", "shared", "stubborn", "crasher"),
)
VERBS = ("start", "start", "stop", "restart", "restart", "signal", "rotate", "update", "status", *["event"] * 6)
RARE = ("upgrade", "upgrade", "upgrade", "reload")
CHILD = Path(__file__).with_name("child.py")
PAUSE = 10.5  # seconds of a daemon's life after which the keeper starts the next one at once
SHUTDOWN_STATE = 6  # the fault's number
SETTLED = 1.0  # seconds after which what a dead program has written has been read by a daemon that lives
BACKUPS = 100_000  # more than the longest run makes: what is removed with the oldest ones would look lost


class Safe:
    """Keeps a descriptor of every pipe that programs show, for as long as it may be needed."""

    def __init__(self, place: Path) -> None:
        self._held: dict[int, list[int]] = {}
        self._dead: dict[int, float] = {}  # when it was first seen that they are
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(place / "safe"))
        self._listener.listen(1000)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                message, fds, _, _ = socket.recv_fds(connection, 200, 2)
                if message:
                    with self._lock:
                        self._held[int(message.split()[1])] = fds
                    with contextlib.suppress(OSError):
                        connection.send(b"k")

    def release_dead(self, born: float) -> None:
        """What has been dead for a while, all of which a daemon has lived (that began at `born`), has been read, unless
        the disk is slow."""
        now = time.monotonic()
        with self._lock:
            for pid in list(self._held):
                if psutil.pid_exists(pid):
                    continue
                settled = now - max(self._dead.setdefault(pid, now), born) > SETTLED
                if settled and not any(map(pending, self._held[pid])):
                    del self._dead[pid]
                    for fd in self._held.pop(pid):
                        os.close(fd)


class World:
    """One run."""

    def __init__(self, seed: int, programs: int, *, keeper: bool = False) -> None:
        """With `keeper` the daemon has a real one, which starts it again; otherwise we play both."""
        self.keeper = keeper
        self.chance, self.fate = random.Random(seed), random.Random(f"fate {seed}")  # for operations, for deaths
        self.supervisors = Supervisors()
        self.place = self.supervisors.place()
        for name in ("ledgers", "locks", "heard"):
            (self.place / name).mkdir()
        self.safe = Safe(self.place) if not keeper else None
        self.told: list[Told] = []
        self.reloads: list[tuple[float, float]] = []
        self.names = [f"p{number:02}" for number in range(programs)]
        self.kinds = {name: KINDS[number % len(KINDS)] for number, name in enumerate(self.names)}
        self.versions = dict.fromkeys(self.names, 0)
        self.done: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.lock = threading.Lock()  # held while the daemon is replaced
        self.daemon: Daemon = self.supervisors.start(
            "supervise", self.programs(), place=self.place, options=("-n", "--respawn") if keeper else ("-n",)
        )
        self.born = time.monotonic()

    def programs(self) -> str:
        """The configuration of all programs, as it is to be now."""
        return "".join(self.program(name) for name in self.names)

    def program(self, name: str) -> str:
        kind = self.kinds[name]
        section = {"listener": "eventlistener", "fcgi": "fcgi-program"}.get(kind, "program")
        always = kind in ("killer", "forker", "listener", "fcgi", "activated")
        lines = [
            f"[{section}:{name}]",
            f"command = {sys.executable} -I -S {CHILD} {self.place} {name} {kind}",
            f"environment = VERSION={self.versions[name]},TEST_PLACE={self.place}",
            "startsecs = 0",
            "startretries = 1000000",
            f"exitcodes = 0,{self.names.index(name) % 4}",
            f"autorestart = {'true' if always else 'unexpected'}",
            f"stderr_logfile = {self.place}/{name}.{'out' if kind == 'shared' else 'err'}",
            f"stderr_logfile_maxbytes = {40000 + self.versions[name] if kind == 'shared' else 0}",
            f"stderr_logfile_backups = {BACKUPS}",
            f"stopwaitsecs = {1 if kind == 'stubborn' else 30}",
        ]
        match kind:
            case "listener":
                lines += ["events = REMOTE_COMMUNICATION,PROCESS_COMMUNICATION", "buffer_size = 1000000"]
                lines += ["stdout_logfile = NONE"]
            case _:
                lines += [
                    f"stdout_logfile = {self.place}/{name}.out",
                    f"stdout_logfile_maxbytes = {0 if kind == 'steady' else 40000 + self.versions[name]}",
                    f"stdout_logfile_backups = {BACKUPS}",
                    f"redirect_stderr = {'true' if kind == 'merged' else 'false'}",
                ]
        match kind:
            case "captured":
                lines += ["stdout_capture_maxbytes = 10000"]
            case "fcgi":
                lines += [f"socket = unix://{self.place}/{name}.sock"]
            case "activated":
                lines += [f"sockets = {name}", "", f"[socket:{name}]", f"address = {self.place}/{name}.sock"]
        return "\n".join(lines) + "\n\n"

    def configure(self) -> None:
        """Write the configuration anew, in one step: a daemon may be starting."""
        fresh = self.place / "s.conf.new"
        fresh.write_text(configuration(self.place, self.programs()))
        fresh.replace(self.daemon.config)

    # Operations

    def operate(self) -> None:
        """Do one thing that an operator might do. A daemon that dies meanwhile is no mistake."""
        verb = self.chance.choice(VERBS if self.chance.random() < 0.97 else RARE)
        name = self.chance.choice(self.names)
        body: dict[str, Any] = {"action": verb, "names": [name], "wait": self.chance.random() < 0.5}
        if verb == "signal":
            body["signal"] = self.chance.choice(("USR1", "HUP", "USR2"))
        try:
            if verb == "update":
                self.versions[name] += 1
                self.configure()
                answer = self.call("POST", "/config/update", {})
            elif verb == "status":
                answer = self.call("GET", "/processes")
            elif verb == "upgrade":
                answer = self.call("POST", "/daemon/upgrade", {})
            elif verb == "event":
                answer = self.tell_event()
            elif verb == "reload":
                answer = self.reload()
            else:
                answer = self.call("POST", "/actions", body)
        except (OSError, http.client.HTTPException):
            verb += " cut off"
        else:
            if isinstance(answer, str):
                self.wrong.append(f"{verb} {name}: {answer}")
        self.done[verb] += 1

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """One API call: what it answers as JSON; a text if it is refused."""
        data = json.dumps(body).encode() if body is not None else None
        status, _, answer = self.daemon.request(
            method, "/api/v1" + path, data, {"Content-Type": "application/json"} if data else {}
        )
        return json.loads(answer) if status < 400 or status == 503 else f"{status} {answer[:300]!r}"

    def tell_event(self) -> str | None:
        """Some numbered events: what is accepted has to be heard."""
        for _ in range(self.chance.choice((1, 1, 20))):
            said, at = f"number-{self.done['accepted']}-{time.monotonic_ns()}", time.time()
            with proxy(self.daemon.socket) as rpc:
                try:
                    rpc.supervisor.sendRemoteCommEvent("chaos", said)
                except xmlrpc.client.Fault as fault:
                    return None if fault.faultCode == SHUTDOWN_STATE else repr(fault)
            self.told.append(Told(said, at))
            self.done["accepted"] += 1
        return None

    def reload(self) -> Any:
        """Events that wait are thrown away with everything else."""
        begun = time.time()
        try:
            return self.call("POST", "/daemon/reload", {})
        finally:
            with contextlib.suppress(OSError, http.client.HTTPException):
                while self.call("GET", "/daemon")["statename"] == "RESTARTING":
                    time.sleep(0.05)
            self.reloads.append((begun, time.time() + 5))

    # Death

    def kill(self) -> None:
        """SIGKILL, at whatever the daemon is doing, and a new one after a while; that may be killed early, too."""
        with self.lock:
            again = True
            while self.keeper and again:
                old = self.pid
                os.kill(old, signal.SIGKILL)
                self.done["kill"] += 1
                wait_for(lambda old=old: self.pid not in (old, self.daemon.pid), "another daemon")
                again = self.fate.random() < 0.1
            while again:
                self.daemon.process.kill()
                self.daemon.process.wait()
                self.daemon.disconnect()
                self.done["kill"] += 1
                time.sleep(self.fate.choice((0, 0, 0.1, 0.5)))
                self.supervisors.running.remove(self.daemon)
                self.daemon = self.supervisors.run("supervise", self.daemon.config, self.place, answers=False)
                again = self.fate.random() < 0.3
                if again:
                    time.sleep(self.fate.uniform(0.05, 0.6))
            wait_answer(self.daemon)
            self.born = time.monotonic()

    @property
    def pid(self) -> int:
        """The daemon's own."""
        return int((self.place / "main.pid").read_text() or 0) if self.keeper else self.daemon.pid

    def run(self, minutes: float, kills: int) -> None:
        """Operate for so long, with that many deaths, spread evenly."""
        begun = time.monotonic()
        moments = sorted(self.fate.uniform(0.02, 0.95) * minutes * 60 for _ in range(kills))
        caller = threading.Thread(target=self._call_for, args=(begun + minutes * 60,))
        caller.start()
        while time.monotonic() < begun + minutes * 60:
            lived = time.monotonic() - self.born
            if moments and time.monotonic() - begun >= moments[0] and (not self.keeper or lived > PAUSE):
                moments.pop(0)
                if self.done["kill"] < kills:
                    self.kill()
                # A slow machine need not catch up: without some peace between deaths nobody could release old pipes.
                moments = [moment for moment in moments if moment > time.monotonic() - begun]
            elif self.safe is not None:
                self.safe.release_dead(self.born)
            time.sleep(0.02)
        caller.join()

    def _call_for(self, until: float) -> None:
        while time.monotonic() < until:
            self.operate()
            time.sleep(self.chance.uniform(0, 0.1))
            if self.lock.locked() and self.chance.random() < 0.7:  # most calls while there is no daemon teach nothing
                with self.lock:
                    pass

    # The end

    def judge(self) -> str:
        """Bring all to rest, and say what was done. `wrong` tells what is not as it must be."""
        wait_answer(self.daemon)
        self.configure()
        self.call("POST", "/config/update", {})
        self.call("POST", "/actions", {"action": "start", "names": self.of_kind("listener"), "wait": True})
        self._judge_states()
        self._judge_daemon()
        self.call("POST", "/actions", {"action": "stop", "names": self.of_kind("captured"), "wait": True})
        self._expect("events wait", lambda: [name for name in self.of_kind("listener") if self.waiting(name)], 120)
        self.call("POST", "/actions", {"action": "stop", "names": ["all"], "wait": True})
        self._expect("copies run though all were stopped", lambda: [name for name in self.names if self.taken(name)])
        self._expect("processes are left though all were stopped", self.others)
        time.sleep(SETTLED)
        processes = self.call("GET", "/processes")["processes"]
        self.wrong += [f"{each['name']} is {each['statename']} after a stop" for each in processes if each["pid"]]
        if self.daemon.stop() != 0:
            self.wrong.append("the daemon did not end well")
        if left := self.others():
            self.wrong.append(f"left: {left}")
        every_run = runs(self.place)
        wrong, lines = judge_logs(self.place, every_run, self.reloads)
        self.wrong += wrong
        self.wrong += judge_ends(self.daemon.log, every_run, processes)
        wrong, events = judge_events(self.place, self.told, every_run, self.reloads)
        self.wrong += wrong + self.daemon.read("complaints").splitlines()
        doubles = self.daemon.read("doubles")
        if doubles:
            self.wrong.append(f"second copies: {doubles}")
        if "internal error" in self.daemon.log or "Traceback" in self.daemon.log + self.daemon.output:
            self.wrong.append("the daemon met errors of its own: see the main log")
        doubts = self.daemon.log.count("since it is not known what it was told last")
        totals = f"{len(self.names)} programs, {len(every_run)} runs, {lines} lines, {events}"
        return f"{totals}, {doubts} listeners restarted for a doubt, {dict(sorted(self.done.items()))}"

    def of_kind(self, kind: str) -> list[str]:
        return [name for name in self.names if self.kinds[name] == kind]

    def waiting(self, name: str) -> bool:
        """Whether a listener has still to hear something."""
        told = self.call("GET", f"/processes/{name}")["listener"]
        return bool(told["waiting"] or told["event"])

    def taken(self, name: str) -> bool:
        """Whether a run of this program is there."""
        with (self.place / "locks" / name).open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return True
        return False

    def others(self) -> list[str]:
        """Processes of this run that are not the daemon."""
        return [str(each.pid) for each in belonging_to(self.place) if each.pid not in (self.pid, self.daemon.pid)]

    def _judge_states(self) -> None:
        """What the API says of each program is what the program itself knows, once it has had the time to start."""
        for name in self.names:

            def disagrees(name: str = name) -> object:
                info = self.call("GET", f"/processes/{name}")
                up = info["statename"] in ("RUNNING", "STOPPING")
                agrees = up == self.taken(name) and (not up or psutil.pid_exists(info["pid"]))
                return None if agrees else (info, self.taken(name))

            self._expect("the API does not tell the truth", disagrees)

    def _expect(self, trouble: str, found: Callable[[], object], patience: float = 40) -> None:
        """Whatever this finds has gone after a while, or is wrong."""
        until = time.monotonic() + patience
        while (left := found()) and time.monotonic() < until:
            if self.safe is not None:
                self.safe.release_dead(self.born)
            time.sleep(0.05)
        if left:
            self.wrong.append(f"{trouble}: {left}")

    def _judge_daemon(self) -> None:
        process = psutil.Process(self.pid)
        most = 60 + len(self.names) * 6 + 40
        self._expect("descriptors", lambda: process.num_fds() if process.num_fds() > most else None)
        if process.memory_info().rss > 200 << 20:
            self.wrong.append(f"{process.memory_info().rss >> 20} MiB")
        if process.num_threads() > 12:
            self.wrong.append(f"{process.num_threads()} threads")

    def close(self) -> None:
        """End everything; keep the files when something is wrong."""
        if self.wrong:
            kept = Path(f"/tmp/chaos-{os.getpid()}")
            subprocess.run(["cp", "-r", str(self.place), str(kept)], check=False)
            self.wrong.append(f"everything is kept in {kept}")
        with contextlib.suppress(ProcessLookupError):
            self.daemon.process.send_signal(signal.SIGTERM)
        self.supervisors.close()
