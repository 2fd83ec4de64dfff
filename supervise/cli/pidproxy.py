"""Run a command that starts a daemon of its own, and pass signals on to the process that its pidfile names.

    pidproxy PIDFILE COMMAND [ARGUMENT…]

supervisord installs a program of this name, and configurations call it (`command = pidproxy /run/db.pid db_safe`). It
ends when the command ends, with the same exit status. TERM, INT and QUIT end it, too, when the process that they were
passed on to has ended; as long as there is no pidfile, or a stale one, the command itself is signalled.
"""

import os
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
PASSED_ON = (*ENDING, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
AWAITED = (*PASSED_ON, signal.SIGCHLD)
LOOK_AGAIN = 0.1  # seconds, while the process that was told to end has not ended


def main() -> NoReturn:
    """The entry point."""
    if len(sys.argv) < 3:
        print(f"Usage: {sys.argv[0]} <pidfile name> <command> [<cmdarg1> ...]")
        sys.exit(1)
    sys.exit(run(sys.argv[1], sys.argv[2:]))


def run(pidfile: str, command: list[str]) -> int:
    """Run the command to its end, or to that of the process in the pidfile; returns the exit status."""
    signal.pthread_sigmask(signal.SIG_BLOCK, AWAITED)
    path = shutil.which(command[0]) or os.path.abspath(command[0])
    try:
        child = os.posix_spawn(path, command, os.environ, setsigmask=())
    except OSError as error:
        print(f"pidproxy: cannot run {path}: {error.strerror}", file=sys.stderr)
        return 127
    told, code = 0, None  # who has been told to end; how the command has ended
    while True:
        found = signal.sigtimedwait(AWAITED, LOOK_AGAIN) if told else signal.sigwaitinfo(AWAITED)
        if found is not None and found.si_signo in PASSED_ON:
            target = _pass_on(pidfile, found.si_signo, child)
            told = target if found.si_signo in ENDING else told
        if code is None and (ended := os.waitpid(child, os.WNOHANG))[0]:
            code = os.waitstatus_to_exitcode(ended[1])
        if told not in (0, child) and not _exists(told):
            return 0
        if told in (0, child) and code is not None:
            return code if code >= 0 else 128 - code


def _pass_on(pidfile: str, number: int, child: int) -> int:
    """Send a signal to the process in the pidfile, or else to the command; returns whom."""
    try:
        pid = int(Path(pidfile).read_text())
        if pid > 1:
            os.kill(pid, number)
            return pid
    except (OSError, ValueError):
        print(f"Can't read child pidfile {pidfile}!", file=sys.stderr)
    with suppress(ProcessLookupError):
        os.kill(child, number)
    return child


def _exists(pid: int) -> bool:
    """Whether there is such a process; a zombie that is not ours to reap has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (OSError, IndexError):
        return False


if __name__ == "__main__":
    main()
