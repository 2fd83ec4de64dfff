"""The main job with the real programs: Celery and RabbitMQ from conf.d, a worker as www-data, Monit beside the daemon.

The configuration is the kind that years of production leave behind: comments behind values, blanks around `=`, both
streams in one file, options of every section. What is shown: a long task survives a restart, a killed worker's task is
redelivered, the log is where it should be, and Monit starts the daemon, brings it back after SIGKILL and stops it.
"""

import grp
import importlib.metadata
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.daemons import Kind, Supervisors, client_command, daemon_command, environment, proxy
from tests.tools import alive, free_ports, missing, need, need_package, need_root, wait_for

pytestmark = pytest.mark.timeout(600)
KIND: Kind = "supervise"
WORKER, BROKER = "myapp-celery", "rabbitmq"

MAIN = """\
; supervisor config file

[unix_http_server]
file={place}/run/supervisor.sock   ; (the path to the socket file)
chmod=0700                       ; sockef file mode (default 0700)

[supervisord]
logfile={place}/log/supervisord.log ; (main log file;default $CWD/supervisord.log)
logfile_maxbytes=50MB        ; (max main logfile bytes b4 rotation;default 50MB)
logfile_backups=10           ; (num of main logfile rotation backups;default 10)
loglevel=info                ; (log level;default info; others: debug,warn,trace)
pidfile={place}/run/supervisord.pid ; (supervisord pidfile;default supervisord.pid)
nodaemon=false               ; (start in foreground if true;default false)
minfds=1024                  ; (min. avail startup file descriptors;default 1024)
minprocs=200                 ; (min. avail process descriptors;default 200)
childlogdir={place}/log            ; ('AUTO' child log dir, default $TEMP)

; the below section must remain in the config file for RPC
; (supervisorctl/web interface) to work, additional interfaces may be
; added by defining them in separate rpcinterface: sections
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix://{place}/run/supervisor.sock ; use a unix:// URL  for a unix socket

; The [include] section can just contain the "files" setting.
[include]
files = conf.d/*.conf
"""

CELERY = """\
; =======================================
;  celery worker of myapp
; =======================================

[program:myapp-celery]
;; Set full path to celery program if using virtualenv
command={python} -m celery -A tasks worker --loglevel=INFO --concurrency=2

;; the app and its libraries
environment=PYTHONPATH={app}:{libraries},BROKER="{broker}",HOME="{app}"
directory={app}

; unprivileged
user=www-data
numprocs=1
stdout_logfile={place}/log/celery.log
stderr_logfile={place}/log/celery.log
autostart=true
autorestart=true
startsecs=2

; Need to wait for currently executing tasks to finish at shutdown.
; Increase this if you have very long running tasks.
stopwaitsecs = 600

; if rabbitmq is supervised, set its priority higher
; so it starts first
priority=998
"""

RABBITMQ = """\
[program:rabbitmq]
command = /usr/lib/rabbitmq/bin/rabbitmq-server
user = rabbitmq
priority = 100
startsecs = 1
stopasgroup = true
killasgroup = true
redirect_stderr = true
stdout_logfile = {place}/log/rabbitmq.log
environment =
    HOME="{place}/rabbit", RABBITMQ_NODENAME="test{amqp}@localhost",
    RABBITMQ_NODE_IP_ADDRESS="127.0.0.1", RABBITMQ_NODE_PORT="{amqp}", RABBITMQ_DIST_PORT="{dist}",
    ERL_EPMD_PORT="{epmd}", ERL_EPMD_ADDRESS="127.0.0.1",
    RABBITMQ_MNESIA_BASE="{place}/rabbit/mnesia", RABBITMQ_LOG_BASE="{place}/rabbit/log",
    RABBITMQ_CONF_ENV_FILE="{place}/rabbit/env", RABBITMQ_CONFIG_FILE="{place}/rabbit/rabbitmq",
    RABBITMQ_ENABLED_PLUGINS_FILE="{place}/rabbit/plugins",
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+S 1:1 +sbwt none -kernel inet_dist_use_interface {{127,0,0,1}}"
"""

MONIT = """\
set daemon 1
set log {place}/monit/log
set pidfile {place}/monit/pid
set idfile {place}/monit/id
set statefile {place}/monit/state
set httpd unixsocket {place}/monit/sock allow root:root

check process supervise with pidfile {place}/run/supervisord.pid
    start program = "{place}/bin/supervise -c {place}/supervisord.conf" with timeout 60 seconds
    stop program = "{place}/bin/supervisectl -c {place}/supervisord.conf shutdown" with timeout 60 seconds
"""

TASKS = '''\
import os, sys, time
from celery import Celery

app = Celery("tasks", broker=os.environ["BROKER"])
app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True, worker_prefetch_multiplier=1)


def note(path, word):
    with open(path, "a") as file:
        file.write(f"{word} {os.getpid()}\\n")


@app.task
def slow(path, gate):
    """Runs until the gate opens."""
    note(path, "begin")
    print("slow says hello on stdout", flush=True)
    while not os.path.exists(gate):
        time.sleep(0.05)
    note(path, "end")


@app.task(acks_late=True)
def twice(path):
    """The first run never ends, the second at once."""
    first = not os.path.exists(path)
    note(path, "begin")
    time.sleep(1000 if first else 0)
    note(path, "end")
'''

Command = list[str | Path]


@dataclass(frozen=True)
class Stack:
    """The machine of the story: one directory with everything in it."""

    place: Path
    python: str
    env: dict[str, str]

    @property
    def daemon(self) -> int:
        return int((self.place / "run/supervisord.pid").read_text())

    def info(self, name: str) -> dict[str, object]:
        with proxy(self.place / "run/supervisor.sock") as rpc:
            return dict(rpc.supervisor.getProcessInfo(name))

    def running(self, name: str, *, besides: int = 0) -> int:
        """Wait until the program runs, with another pid than `besides`; returns the pid."""

        def pid() -> int:
            info = self.info(name)
            return int(str(info["pid"])) if info["statename"] == "RUNNING" and info["pid"] != besides else 0

        return wait_for(pid, f"{name} runs\n{self.log('supervisord.log')}\n{self.log('celery.log')}")

    def log(self, name: str) -> str:
        path = self.place / "log" / name
        return path.read_text(errors="replace") if path.exists() else ""

    def lines(self, name: str) -> list[str]:
        """First words of what a task wrote into its file."""
        path = self.place / "app" / name
        return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []

    def send(self, task: str, *arguments: Path) -> None:
        """Queue a task, as a web application would."""
        code = f"import tasks; tasks.{task}.delay(*{[str(argument) for argument in arguments]!r})"
        subprocess.run([self.python, "-c", code], cwd=self.place / "app", env=self.env, check=True, timeout=120)

    def control(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The command of the blog post: `supervisectl …`."""
        command: Command = [self.place / "bin/supervisectl", "-c", self.place / "supervisord.conf", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    def monit(self, *words: str) -> subprocess.CompletedProcess[str]:
        command: Command = [need("monit"), "-c", self.place / "monitrc", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    def up(self) -> None:
        """Everything runs and the worker has met its broker."""
        self.running(BROKER)
        self.running(WORKER)
        wait_for(lambda: "ready." in self.log("celery.log").rpartition("[tasks]")[2], "the worker is ready", 240)


def python_for(user: str, place: Path) -> tuple[str, Path]:
    """An interpreter of our version, and a directory with Celery, that the user may read."""
    need_package("celery")
    celery = importlib.metadata.distribution("celery")
    site = Path(str(celery.locate_file(""))).resolve()
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    account: dict[str, Any] = dict(
        user=user, group=user, extra_groups=(), cwd="/", capture_output=True, text=True, check=False
    )
    for python in (sys.executable, getattr(sys, "_base_executable", ""), f"/usr/bin/python{version}"):
        show = "import sys; print('%d.%d' % sys.version_info[:2])"
        try:
            seen = subprocess.run([python, "-c", show], **account).stdout.strip()
        except OSError:
            continue
        if seen != version:
            continue
        if subprocess.run(["test", "-r", site / "celery/__init__.py"], **account).returncode == 0:
            return python, site
        copy = place / "site-packages"
        for name in sorted(requirements("celery")):
            for file in importlib.metadata.files(name) or []:
                if ".." not in file.parts and file.suffix != ".pyc":
                    (copy / file).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(file.locate(), copy / file)
        return python, copy
    return missing(f"{user} may execute no Python {version} here")


def requirements(name: str) -> set[str]:
    """The installed distributions that a distribution needs, itself included."""
    found: set[str] = set()
    queue = [name]
    while queue:
        one = queue.pop()
        if one in found or not list(importlib.metadata.distributions(name=one)):
            continue
        found.add(one)
        wanted = importlib.metadata.requires(one) or []
        queue += [re.split(r"[^\w.-]", line)[0] for line in wanted if "extra ==" not in line]
    return found


def script(path: Path, argv: list[str], env: dict[str, str]) -> None:
    """A command that works from any environment: Monit gives its programs nearly none."""
    export = "".join(f"export {name}='{value}'\n" for name, value in env.items())
    path.write_text(f'#!/bin/sh\n{export}exec {" ".join(f"{word!r}" for word in argv)} "$@"\n')
    path.chmod(0o755)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Monit runs; it has been told of the daemon and nothing else."""
    need_root()
    supervisors = Supervisors()
    place = supervisors.place()
    need("monit")
    if not Path("/usr/lib/rabbitmq/bin/rabbitmq-server").exists():
        need("rabbitmq-server")
    amqp, dist, epmd = free_ports(3)
    broker = f"amqp://guest:guest@127.0.0.1:{amqp}//"
    for name, owner in (
        ("run", "root"),
        ("log", "root"),
        ("bin", "root"),
        ("conf.d", "root"),
        ("monit", "root"),
        ("app", "www-data"),
        ("rabbit", "rabbitmq"),
    ):
        (place / name).mkdir()
        shutil.chown(place / name, owner)
    python, libraries = python_for("www-data", place)
    (place / "app/tasks.py").write_text(TASKS)
    (place / "rabbit/env").touch()
    names = dict(
        place=place,
        amqp=amqp,
        dist=dist,
        epmd=epmd,
        broker=broker,
        python=python,
        libraries=libraries,
        app=place / "app",
    )
    (place / "supervisord.conf").write_text(MAIN.format(**names))
    (place / "conf.d/celery.conf").write_text(CELERY.format(**names))
    (place / "conf.d/rabbitmq.conf").write_text(RABBITMQ.format(**names))
    (place / "monitrc").write_text(MONIT.format(**names))
    (place / "monitrc").chmod(0o600)
    env = environment(place)
    script(place / "bin/supervise", daemon_command(KIND), env)
    script(place / "bin/supervisectl", client_command(KIND), env)
    monit = subprocess.Popen([need("monit"), "-I", "-c", place / "monitrc"], stdout=subprocess.DEVNULL, env=env)
    try:
        client = env | {"PYTHONPATH": f"{place}/app:{libraries}", "BROKER": broker}
        yield Stack(place, python, client)
    finally:
        monit.terminate()
        monit.wait(60)
        subprocess.run(
            [place / "bin/supervisectl", "-c", place / "supervisord.conf", "shutdown"], capture_output=True, check=False
        )
        subprocess.run([need("epmd"), "-port", str(epmd), "-kill"], capture_output=True, check=False)
        supervisors.close()


def test_monit_starts_everything(stack: Stack) -> None:
    stack.up()
    daemon = psutil.Process(stack.daemon)
    assert daemon.ppid() != os.getpid(), "it has left the one who started it"
    for name, user in ((WORKER, "www-data"), (BROKER, "rabbitmq")):
        process = psutil.Process(stack.running(name))
        account = pwd.getpwnam(user)
        assert process.ppid() == daemon.pid
        assert process.uids() == (account.pw_uid,) * 3
        groups = re.search(r"^Groups:(.*)$", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)
        assert groups is not None
        assert {int(group) for group in groups[1].split()} == set(os.getgrouplist(user, account.pw_gid))
    worker = psutil.Process(stack.running(WORKER))
    assert worker.cwd() == str(stack.place / "app")
    assert "--loglevel=INFO" in worker.cmdline()
    assert stack.control("status").returncode == 0
    lines = stack.control("status").stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [[WORKER, "RUNNING"], [BROKER, "RUNNING"]]


def test_the_higher_number_starts_later(stack: Stack) -> None:
    stack.up()
    log = stack.log("supervisord.log")
    assert log.index(f"spawned: '{BROKER}'") < log.index(f"spawned: '{WORKER}'")


def test_a_long_task_survives_a_restart(stack: Stack) -> None:
    stack.up()
    before = stack.running(WORKER)
    notes, gate = stack.place / "app/long", stack.place / "app/gate"
    stack.send("slow", notes, gate)
    wait_for(lambda: stack.lines("long") == ["begin"], "the task has begun")

    command: Command = [stack.place / "bin/supervisectl", "-c", stack.place / "supervisord.conf", "restart", WORKER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as restart:
        wait_for(lambda: stack.info(WORKER)["statename"] == "STOPPING", "the worker has been told")
        wait_for(lambda: "Warm shutdown" in stack.log("celery.log"), "the worker shuts down warm")
        assert alive(before)
        assert restart.poll() is None, "restart waits for the task"
        assert stack.lines("long") == ["begin"]
        gate.touch()
        shown, _ = restart.communicate(timeout=120)
    assert restart.returncode == 0
    assert shown.splitlines() == [f"{WORKER}: stopped", f"{WORKER}: started"]
    assert stack.lines("long") == ["begin", "end"], "finished, and once"
    assert stack.running(WORKER) != before
    assert "with SIGKILL" not in stack.log("supervisord.log")


def test_a_killed_worker_is_back_and_its_task_redelivered(stack: Stack) -> None:
    stack.up()
    before = stack.running(WORKER)
    stack.send("twice", stack.place / "app/late")
    wait_for(lambda: stack.lines("late") == ["begin"], "the task has begun")
    pool = psutil.Process(before).children(recursive=True)
    os.kill(before, signal.SIGKILL)
    try:
        assert stack.running(WORKER, besides=before)
        wait_for(lambda: stack.lines("late") == ["begin", "begin", "end"], "the second delivery has finished")
    finally:
        for child in pool:  # a pool outlives its murdered master: nobody told it to stop
            if child.is_running():
                child.kill()
    assert f"exited: {WORKER} (terminated by SIGKILL; not expected)" in stack.log("supervisord.log")


def test_both_streams_are_in_the_one_log(stack: Stack) -> None:
    stack.up()
    stack.send("slow", stack.place / "app/short", stack.place / "app")
    wait_for(lambda: stack.lines("short") == ["begin", "end"])
    wait_for(lambda: "slow says hello on stdout" in stack.log("celery.log"), "stdout is there")
    log = stack.log("celery.log")
    assert "[tasks]" in log, "the banner comes on stdout"
    assert re.search(r"INFO/MainProcess\] Connected to amqp", log), "the log comes on stderr"
    facts = (stack.place / "log/celery.log").stat()
    assert (facts.st_uid, stat.S_IMODE(facts.st_mode)) == (0, 0o644), "opened by the daemon, not by the program"
    written = (stack.place / "app/short").stat()
    assert (written.st_uid, written.st_gid) == (pwd.getpwnam("www-data").pw_uid, grp.getgrnam("www-data").gr_gid)


def test_monit_brings_the_daemon_back(stack: Stack) -> None:
    """And the next daemon takes up the broker, the worker and its task where they are."""
    stack.up()
    old, worker, broker = stack.daemon, stack.running(WORKER), stack.running(BROKER)
    notes, gate = stack.place / "app/across", stack.place / "app/across-gate"
    stack.send("slow", notes, gate)
    wait_for(lambda: stack.lines("across") == ["begin"], "the task has begun")
    keeper = psutil.Process(psutil.Process(old).ppid())
    assert any(word.endswith("keeper.py") for word in keeper.cmdline()), keeper.cmdline()
    keeper.kill()  # it would be faster than Monit, which would not even notice
    os.kill(old, signal.SIGKILL)
    wait_for(lambda: stack.daemon != old and alive(stack.daemon), "Monit has started another daemon")
    wait_for(lambda: "process is not running" in (stack.place / "monit/log").read_text())
    stack.up()
    assert (stack.running(WORKER), stack.running(BROKER)) == (worker, broker), "the same processes"
    written = len(stack.log("celery.log"))
    gate.touch()
    wait_for(lambda: stack.lines("across") == ["begin", "end"], "the task has finished, once")
    wait_for(lambda: "succeeded" in stack.log("celery.log")[written:], "and its log goes on")


def test_monit_stops_it_cleanly(stack: Stack) -> None:
    stack.up()
    daemon, worker, broker = stack.daemon, stack.running(WORKER), stack.running(BROKER)
    assert stack.monit("stop", "supervise").returncode == 0
    for pid in (daemon, worker, broker):
        wait_for(lambda pid=pid: not alive(pid), f"{pid} has ended")
    assert not (stack.place / "run/supervisord.pid").exists()
    assert not (stack.place / "run/supervisor.sock").exists()
    log = stack.log("supervisord.log")
    assert f"stopped: {WORKER} (exit status 0)" in log
    wait_for(lambda: "Not monitored" in stack.monit("summary").stdout, "Monit has let go of it")
