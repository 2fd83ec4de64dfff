"""Starting a child, without running Python between fork and exec.

Session, user, groups, umask, directory and descriptors are set in C: there is no `preexec_fn` here, because a thread
that holds a lock at the fork would leave the child waiting for it for ever. It is posix_spawn(3) that does it where the
program runs as we do, the forker where it has another user, and `subprocess` wherever these cannot. A spawn is a
transaction: it returns a child, or raises and leaves no process and no descriptor behind.
"""

import errno
import os
import re
import select
import shlex
import stat
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, TypedDict

from supervise.config import secrets
from supervise.config.model import ProgramConfig
from supervise.errors import Fault
from supervise.system import posixspawn
from supervise.system.accounts import Account, look_up
from supervise.system.forking import Forker, NotStarted, Stage
from supervise.system.fsuser import files_as
from supervise.system.stdin import Stdin

_QUOTING, _BLANKS = frozenset("'\"\\"), re.compile("[ \t\r\n]+")
DEFAULT_PATH = ("/bin", "/usr/bin", "/usr/local/bin")  # supervisord's, where nobody set PATH


class SpawnError(Exception):
    """A program could not be started. `str()` is supervisord's `spawnerr`.

    `stage` says how far it came, `number` is the errno (0: none), `kind` the fault that an XML-RPC client is told.
    """

    def __init__(self, stage: Stage, number: int, text: str, kind: Fault = Fault.SPAWN_ERROR) -> None:
        super().__init__(text)
        self.stage, self.number, self.text, self.kind = stage, number, text, kind


class Child(NamedTuple):
    """What a spawn gives: the process, and the way to its stdin (None where the caller brought its own)."""

    pid: int
    stdin: Stdin | None


def lookup(config: ProgramConfig, path: str | None) -> tuple[str, list[str]]:
    """The file to execute, and argv, by supervisord's rules; `path` is the daemon's own PATH.

    A word without a slash is searched in the program's PATH, else in the daemon's; the first directory that has the
    name wins, executable or not. A relative word with a slash is looked for in the program's `directory`, where exec
    will look for it (supervisord looks in its own directory, and then executes the other file).
    Raises SpawnError, stage "lookup".
    """
    try:
        argv = _split(config.command)
    except ValueError as why:
        raise _refused(f"can't parse command {secrets.command(config.command)!r}: {why}") from None
    if not argv:
        raise _refused("command is empty")
    word = argv[0]
    if "/" in word:
        places = [os.path.join(config.directory or "", word)]
    else:
        path = dict(config.environment).get("PATH", path or None)
        directories = DEFAULT_PATH if path is None else path.split(os.pathsep)
        places = [os.path.abspath(os.path.join(directory, word)) for directory in directories]
    for place in places:
        if (mode := _mode(place)) is not None:
            break
    else:
        raise SpawnError("lookup", errno.ENOENT, f"can't find command {secrets.words([word])[0]!r}", Fault.NO_FILE)
    filename = word if "/" in word else place
    if stat.S_ISDIR(mode):
        raise _refused(f"command at {filename!r} is a directory", errno.EISDIR)
    if not stat.S_IMODE(mode) & 0o111:
        raise _refused(f"command at {filename!r} is not executable", errno.EACCES)
    if not os.access(place, os.X_OK):
        raise _refused(f"no permission to run command {filename!r}", errno.EACCES)
    return filename, argv


def _split(command: str) -> list[str]:
    """`shlex.split`, which looks at every character only where that makes a difference. Raises ValueError."""
    if _QUOTING.isdisjoint(command):
        return [word for word in _BLANKS.split(command) if word]
    return shlex.split(command)


def _mode(path: str) -> int | None:
    try:
        return os.stat(path).st_mode
    except (OSError, ValueError):  # ValueError: a null byte
        return None


def _refused(text: str, number: int = 0) -> SpawnError:
    return SpawnError("lookup", number, text, Fault.NOT_EXECUTABLE)


def spawn(
    config: ProgramConfig,
    filename: str,
    argv: Sequence[str],
    env: Mapping[str, str],
    *,
    stdout: int,
    stderr: int,
    stdin: int | None = None,
    pass_fds: Sequence[int] = (),
    forker: Forker | None = None,
    cgroup: str | None = None,
    account: Account | None = None,
) -> Child:
    """Start the program in a session of its own. `stdout`, `stderr` and `stdin` are the child's ends; all stay the
    caller's to close. Without `stdin` the child gets a pipe that never ends (see `Stdin`). It has
    `pass_fds` under the same numbers. Where the user changes, a `forker` is faster, and does not wait for what that
    user, or a disk, delays; it must be told of the `cgroup` that we have entered for this child. Without the `account`
    of that user the user database is asked.

    Pipes among them are given to the program's user, so that it may open /dev/stdout or /dev/stderr again. A failure
    that supervisord's child would report is also written to `stderr` in its words. The caller's reaper must be in the
    same thread, or hold back unknown statuses, until it watches the pid. Blocks until exec: 0.4 ms, with another user
    1 ms, and 2 to 4 ms without the forker. Raises SpawnError.
    """
    try:
        own, end = (None, stdin) if stdin is not None else Stdin.open(config.uid)
    except OSError as error:
        raise _at_fork(error.errno or 0, config) from None
    try:
        fds = (end, stdout, stderr)
        child = Child(_start(config, filename, argv, env, fds, pass_fds, forker, cgroup, account), own)
    except BaseException as error:
        if own:
            own.close()
        if isinstance(error, SpawnError) and error.stage in {"user", "chdir", "exec"}:
            _tell(stderr, f"supervisor: {error}\nsupervisor: child process was not spawned\n")
        raise
    finally:
        if own:
            os.close(end)
    return child


def _start(
    config: ProgramConfig,
    filename: str,
    argv: Sequence[str],
    env: Mapping[str, str],
    fds: tuple[int, int, int],
    pass_fds: Sequence[int],
    forker: Forker | None,
    cgroup: str | None,
    account: Account | None,
) -> int:
    """The pid of the new process. Raises SpawnError."""
    identity = _identity(config, account)
    if "/" not in filename:
        filename = f"./{filename}"  # else subprocess would search PATH again
    try:
        if config.uid is not None:
            _own(fds, config.uid)
        if identity and forker is not None and [*pass_fds] == [*range(len(fds), len(fds) + len(pass_fds))]:
            every = (*fds, *pass_fds)
            pid = forker.start(filename, argv, env, every, config.directory, config.umask, **identity, cgroup=cgroup)
            if pid is not None:
                return pid
        if not identity and config.umask is None:
            pid = posixspawn.start(filename, argv, env, fds, pass_fds=pass_fds, directory=config.directory)
            if pid is not None:
                return pid
        with _entering(config.directory, identity):
            process = subprocess.Popen(
                argv,
                executable=filename,
                stdin=fds[0],
                stdout=fds[1],
                stderr=fds[2],
                cwd=config.directory,
                env=env,
                umask=-1 if config.umask is None else config.umask,
                start_new_session=True,
                pass_fds=pass_fds,
                **identity,
            )
    except NotStarted as error:
        raise _refused_at(error.stage, error.number, config, argv[0]) from None
    except OSError as error:
        raise _failure(error, config, argv[0], bool(identity)) from None
    except (ValueError, subprocess.SubprocessError) as error:  # a null byte in an argument or in the environment
        raise SpawnError("exec", errno.EINVAL, f"couldn't exec {argv[0]}: {error}") from None
    process.returncode = 0  # reaping is `reap`'s business: keep Popen from ever waiting for the child
    return process.pid


def changes_user(config: ProgramConfig) -> bool:
    """Whether the program is to have another user or group than we have."""
    return config.uid not in {None, os.geteuid()} or config.gid not in {None, os.getegid()}


class _Identity(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


def _identity(config: ProgramConfig, account: Account | None) -> _Identity:
    """Whom the child shall become, as arguments of Popen; empty if nothing changes.

    The user we are already needs no privilege, as with supervisord. A uid without a passwd entry has no group but its
    own number (or `group=`).
    """
    uid, gid = config.uid, config.gid
    if not changes_user(config):
        return {}
    if os.geteuid() != 0:
        if uid in {None, os.geteuid()}:
            raise SpawnError("user", errno.EPERM, f"couldn't setgid to {gid}: Could not set group id of effective user")
        raise SpawnError("user", errno.EPERM, f"couldn't setuid to {uid}: Can't drop privilege as nonroot user")
    if uid is None:
        return {"group": gid or 0}
    account = account or look_up(uid, gid)
    return {"user": uid, "group": account.gid, "extra_groups": [*account.groups]}


def _entering(directory: str | None, identity: _Identity) -> AbstractContextManager[None]:
    """Inside, a child enters its directory with the rights of its user, though `subprocess` does that first."""
    if directory is None or "user" not in identity:
        return nullcontext()
    return files_as(identity["user"], identity["group"], identity["extra_groups"])


def _own(fds: tuple[int, int, int], uid: int) -> None:
    for fd in set(fds):
        status = os.fstat(fd)
        if stat.S_ISFIFO(status.st_mode) and status.st_uid != uid and os.geteuid() == 0:
            os.fchown(fd, uid, -1)


def _failure(error: OSError, config: ProgramConfig, word: str, changes_user: bool) -> SpawnError:
    """Which stage an error of Popen belongs to. It names the directory for chdir(2) and the file for execve(2); Python
    3.11 names the directory for the user's calls too, but only those give EPERM or EINVAL."""
    number = error.errno or 0
    if error.filename is None or error.filename == config.directory:
        if changes_user and number in {errno.EPERM, errno.EINVAL}:
            return _refused_at("user", number, config, word)
        if error.filename is None:
            return _at_fork(number, config)
        return _refused_at("chdir", number, config, word)
    return _refused_at("exec", number, config, word)


def _refused_at(stage: Stage, number: int, config: ProgramConfig, word: str) -> SpawnError:
    """What the kernel refused to the child, in supervisord's words."""
    if stage == "fork":
        return _at_fork(number, config)
    what = {"user": f"setuid to {config.uid}", "chdir": f"chdir to {config.directory}"}.get(stage, f"exec {word}")
    return SpawnError(stage, number, f"couldn't {what}: {errno.errorcode.get(number, str(number))}")


def _at_fork(number: int, config: ProgramConfig) -> SpawnError:
    match number:
        case errno.EMFILE | errno.ENFILE:
            text = f"too many open files to spawn '{config.name}'"
        case errno.EAGAIN:
            text = f"Too many processes in process table to spawn '{config.name}'"
        case _:
            name = errno.errorcode.get(number, str(number))
            text = f"unknown error during fork for '{config.name}': {name}"
    return SpawnError("fork", number, text)


def _tell(fd: int, text: str) -> None:
    """Write to the child's log in the child's place, if that is possible without waiting."""
    try:
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        if any(event & select.POLLOUT for _, event in poll.poll(0)):
            os.write(fd, text.encode(errors="surrogateescape"))
    except OSError:
        pass
