"""A real systemd for tests: booted in namespaces of its own, in less than a second.

    with booted(place) as machine:
        machine.unit("x.service", "[Service]\nExecStart=/bin/true")
        machine.systemctl("start", "x")

1. It sees the file system of this machine, read-only but for `place` and a /run of its own; its own processes; control
   groups below one that was made for it; no network. Nothing that it does reaches further.
2. It has no units but those that systemd makes by itself, and those of the test.
3. Where it cannot be booted (no root, no namespaces, no cgroup version 2), the test is skipped with the reason: that is
   up to the machine, not to what is installed on it.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.tools import missing, need_cgroup, need_root, wait_for

SYSTEMD = next((path for path in ("/usr/lib/systemd/systemd", "/lib/systemd/systemd") if os.path.exists(path)), "")
PATIENCE = 180.0  # seconds: beside much else a machine in a machine is slow

ENTER = """\
set -e
mount --make-rprivate /
echo 0 > {group}/cgroup.procs
exec unshare --cgroup sh {place}/boot
"""
BOOT = """\
set -e
mount -t proc proc /proc
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
mount -o remount,bind,ro /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount --bind {place} {place}
mount -o remount,bind,ro /
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/dev /run/lock /run/systemd/system /run/systemd/system.conf.d
for name in null zero full random urandom tty; do touch /run/dev/$name; mount --bind /dev/$name /run/dev/$name; done
mkdir /run/dev/shm /run/dev/pts
mount --rbind /run/dev /dev
ln -s /proc/self/fd /dev/fd
for name in /etc/systemd/system /etc/systemd/system.conf.d /usr/lib/systemd/system-generators; do
    [ ! -d $name ] || mount -t tmpfs tmpfs $name
done
printf '[Manager]\\nDefaultStandardOutput=null\\nShowStatus=no\\nLogTarget=null\\n' > /run/systemd/system.conf
mv /run/systemd/system.conf /run/systemd/system.conf.d/test.conf
printf '[Unit]\\nDefaultDependencies=no\\n' > /run/systemd/system/test.target
unset NOTIFY_SOCKET LISTEN_PID LISTEN_FDS INVOCATION_ID
export container=test
exec {systemd} --system --unit=test.target
"""


class Machine:
    """systemd, as PID 1 of its own small world."""

    def __init__(self, place: Path, pid: int) -> None:
        self.place, self.pid = place, pid

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command inside, and return what it wrote."""
        done = subprocess.run(
            ["nsenter", "-t", str(self.pid), "-m", "-p", "-u", "-i", "-n", "-C", *command],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            env={"PATH": os.environ["PATH"]},
        )
        assert not check or done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def systemctl(self, *words: str, check: bool = True) -> str:
        """Talk to that systemd."""
        return self.run("systemctl", "--no-pager", *words, check=check)

    def show(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.systemctl("show", "--value", "--property", name, unit).strip()

    def unit(self, name: str, text: str) -> None:
        """Write a unit or a drop-in, and have it read."""
        path = Path("/run/systemd/system", name)
        own = self.place / "unit"
        own.write_text(text)
        self.run("sh", "-c", f"mkdir -p {path.parent} && cp {own} {path}")
        self.systemctl("daemon-reload")


@contextmanager
def booted(place: Path) -> Iterator[Machine]:
    """Boot it, and end it with all that runs in it."""
    need_root("CAP_SYS_ADMIN")
    if not SYSTEMD:
        missing("systemd is not installed")
    group = need_cgroup() / f"systemd-{place.name}"
    group.mkdir()
    (place / "enter").write_text(ENTER.format(group=group, place=place))
    (place / "boot").write_text(BOOT.format(place=place, systemd=SYSTEMD))
    log = place / "boot.log"
    with log.open("wb") as output:
        outside = subprocess.Popen(
            [
                *("unshare", "--mount", "--pid", "--uts", "--ipc", "--net", "--fork", "--kill-child=KILL"),
                *("sh", str(place / "enter")),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield _running(place, outside, log)
    finally:
        outside.kill()  # and so PID 1, and so everything inside
        outside.wait()
        wait_for(lambda: _removed(group), "all of the machine has gone")


def _running(place: Path, outside: "subprocess.Popen[bytes]", log: Path) -> Machine:
    def answers() -> Machine | None:
        if outside.poll() is not None:
            missing(f"no systemd can be booted here: {log.read_text().strip()}")
        children = Path(f"/proc/{outside.pid}/task/{outside.pid}/children").read_text().split()
        machine = Machine(place, int(children[0]))
        state = machine.systemctl("is-system-running", check=False).strip()
        return machine if state in {"running", "degraded"} else None

    try:
        return wait_for(answers, "systemd runs", PATIENCE)
    except pytest.fail.Exception as failure:
        missing(f"no systemd can be booted here: {failure}: {log.read_text().strip()}")


def _removed(group: Path) -> bool:
    for directory, _, _ in os.walk(group, topdown=False):
        os.rmdir(directory)
    return True
