"""Who is measured: each peer runs the same programs, the way its manual says one does.

`limit` is what the machine can do at all: `child keep`, a supervisor of thirty lines of C, and `cat` for logs.
"""

import os
import resource
import shutil
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from tests.bench.calls import Caller
from tests.bench.children import compiler, until
from tests.daemons import Kind, client_command, configuration, daemon_command

SUPERVISE, SUPERVISORD, RUNIT, LIMIT = "supervise", "supervisord", "runit", "limit"
MEGABYTE = 1_000_000
ROTATED_AT = 50 * MEGABYTE
KEPT = 100  # rotated files: none is lost


@dataclass(frozen=True)
class Program:
    """Processes NAME0000, NAME0001, …, each the bench's child with these words. `{place}`, `{name}` and `{log}` in them
    stand for the place, the process's name and its log file."""

    name: str
    words: str = "sit"
    count: int = 1
    log: Literal["none", "auto", "file"] = "none"  # auto: what one gets without asking
    user: str = ""

    @property
    def processes(self) -> list[str]:
        return [f"{self.name}{number:04}" for number in range(self.count)]


@dataclass(frozen=True)
class Site:
    """Where one supervisor works, and with which child."""

    place: Path
    child: str

    @property
    def stamps(self) -> Path:
        return self.place / "stamps"

    @property
    def socket(self) -> Path:
        return self.place / "s.sock"


class Peer:
    """A kind of supervisor."""

    name = ""
    end_signal = signal.SIGTERM
    patient = True  # it reacts at once, so that a measure may be repeated often

    def found(self) -> bool:
        """Whether it is on this machine."""
        raise NotImplementedError

    def prepare(self, site: Site, programs: Sequence[Program], more: str) -> list[str]:
        """Write what it wants to read, and return the command that starts it."""
        raise NotImplementedError

    def wait(self, site: Site) -> None:
        """Until it can be asked."""

    def daemons(self, pid: int) -> list[int]:
        """The processes that make up the supervisor."""
        return [pid]

    def client(self, site: Site, words: Sequence[str]) -> list[str]:
        """The whole command for `status`, `stop all`, `restart NAME` or `update`."""
        raise NotImplementedError

    def log(self, site: Site, name: str) -> Path:
        """The file that a process's output is being written to."""
        return site.place / f"{name}.log"

    def logs(self, site: Site, name: str) -> list[Path]:
        """This one, and before it those that were rotated, oldest first."""
        log = self.log(site, name)
        return [*sorted(log.parent.glob(f"{log.name}.*"), key=lambda path: -int(path.suffix[1:])), log]

    def command(self, site: Site, program: Program, name: str, process: str = "") -> str:
        """The command line of the process; `process` is how the configuration spells its name."""
        words = program.words.replace("{log}", str(self.log(site, name))).replace("{place}", str(site.place))
        words = words.replace("{name}", name)
        return f"{site.child} {site.stamps} {process or name} {words}"


class Ini(Peer):
    """supervise and supervisord, on the same file."""

    def __init__(self, kind: Kind) -> None:
        self.name: Kind = kind
        self.patient = kind == SUPERVISE

    def found(self) -> bool:
        beside = Path(sys.executable).with_name("supervisord")
        return self.name == SUPERVISE or beside.exists() or shutil.which("supervisord") is not None

    def prepare(self, site: Site, programs: Sequence[Program], more: str) -> list[str]:
        text = "".join(self.section(site, program) for program in programs) + more
        (site.place / "s.conf").write_text(configuration(site.place, text))
        return [*daemon_command(self.name), "-n", "-c", str(site.place / "s.conf")]

    def section(self, site: Site, program: Program) -> str:
        """One [program:x]."""
        pattern = f"{program.name}%(process_num)04d"
        options = {
            "process_name": pattern,
            "numprocs": program.count,
            "command": self.command(site, program, program.processes[0] if program.count == 1 else pattern, pattern),
            "startsecs": 0,
            "autorestart": "true",
        }
        if program.log == "none":
            options |= {"stdout_logfile": "NONE", "stderr_logfile": "NONE"}
        if program.log == "file":
            options |= {"stdout_logfile": self.log(site, pattern), "stdout_logfile_maxbytes": ROTATED_AT}
            options |= {"stdout_logfile_backups": KEPT, "stderr_logfile": "NONE"}
        if program.user:
            options["user"] = program.user
        return f"[program:{program.name}]\n" + "".join(f"{key} = {value}\n" for key, value in options.items()) + "\n"

    def wait(self, site: Site) -> None:
        def answered() -> bool:
            with suppress(OSError), Caller(site.socket) as caller:
                return b"RUNNING" in caller.rpc("getState")
            return False

        until(answered, "an answer")

    def client(self, site: Site, words: Sequence[str]) -> list[str]:
        names = [f"{word[:-4]}:{word}" if word[-4:].isdigit() else word for word in words]
        return [*client_command(self.name), "-c", str(site.place / "s.conf"), *names]


class Runit(Peer):
    """runsvdir, a runsv for each program, and svlogd where there is a log. At most 1000 programs, says runsvdir(8)."""

    name = RUNIT
    end_signal = signal.SIGHUP

    def found(self) -> bool:
        return all(shutil.which(tool) for tool in ("runsvdir", "runsv", "sv", "svlogd", "chpst"))

    def prepare(self, site: Site, programs: Sequence[Program], more: str) -> list[str]:
        for program in programs:
            for name in program.processes:
                user = f"chpst -u {program.user} " if program.user else ""
                self.script(site.place / "service" / name / "run", user + self.command(site, program, name))
                if program.log != "none":
                    log = self.log(site, name).parent
                    log.mkdir(parents=True)
                    (log / "config").write_text(f"s{ROTATED_AT}\nn{KEPT}\n")
                    self.script(site.place / "service" / name / "log" / "run", f"svlogd {log}")
        os.utime(site.place / "service", (0, 0))  # one that has just changed is looked at a second later
        return ["runsvdir", "-P", str(site.place / "service")]

    def script(self, path: Path, command: str) -> None:
        path.parent.mkdir(parents=True)
        path.write_text(f"#!/bin/sh\nexec {command}\n")
        path.chmod(0o755)

    def daemons(self, pid: int) -> list[int]:
        family = psutil.Process(pid).children(recursive=True)
        return [pid, *(child.pid for child in family if child.name() in {"runsv", "svlogd"})]

    def client(self, site: Site, words: Sequence[str]) -> list[str]:
        everything = [str(path) for path in sorted((site.place / "service").iterdir())]
        names = [str(site.place / "service" / word) for word in words[1:]]
        return ["sv", "-w", "60", words[0], *(everything if list(words[1:]) in ([], ["all"]) else names)]

    def log(self, site: Site, name: str) -> Path:
        return site.place / "logs" / name / "current"

    def logs(self, site: Site, name: str) -> list[Path]:
        log = self.log(site, name)
        return [*sorted(log.parent.glob("@*")), log]


class Limit(Peer):
    """No supervisor at all."""

    name = LIMIT

    def found(self) -> bool:
        return compiler() is not None

    def prepare(self, site: Site, programs: Sequence[Program], more: str) -> list[str]:
        commands = [(self.command(site, program, name), name) for program in programs for name in program.processes]
        if all(program.log == "none" for program in programs):
            (site.place / "list").write_text("".join(f"{command}\n" for command, _ in commands))
            return [site.child, "/dev/null", "keep", "keep", str(site.place / "list")]
        lines = [f"{command} | cat > {self.log(site, name)} &\n" for command, name in commands]
        (site.place / "list").write_text("".join(lines) + "wait\n")
        return ["sh", str(site.place / "list")]

    def daemons(self, pid: int) -> list[int]:
        """One `cat` for each program; before they are executed they are shells, too."""
        if psutil.Process(pid).name() != "sh":
            return [pid]

        def cats() -> list[int]:
            family = [one for one in psutil.Process(pid).children(recursive=True) if one.name() != "sh"]
            found = [one.pid for one in family if one.name() == "cat"]
            return found if len(found) * 2 == len(family) else []

        return until(cats, "a cat for each program")


PEERS: tuple[Peer, ...] = (Ini("supervise"), Ini("supervisord"), Runit(), Limit())


def available(names: Sequence[str] = ()) -> list[Peer]:
    """The peers of this machine, or those of them that are named."""
    return [peer for peer in PEERS if peer.found() and (not names or peer.name in names)]


def raise_limits() -> None:
    """As many descriptors as we may have; supervisord asks for more than some shells allow."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
