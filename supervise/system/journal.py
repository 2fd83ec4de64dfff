"""What must outlive the daemon: small records in memory that belongs to the kernel, not to us.

The file lies on a memory file system (`place`): its content is true only until the next boot, must survive our death
by SIGKILL, which mapped pages do, and must never wait for a disk. A record is written by copying it into the mapping.

Layout: slots of SLOT bytes, two halves each, written in turn; a half holds `crc32 generation json newline`. Of the
halves that are whole the younger one counts, so a write that was cut off leaves the record before it. Slot 0 is the
header. All of it belongs to us alone, since whoever could write it could have us signal any process.
"""

import ctypes
import fcntl
import json
import mmap
import os
import stat
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

SLOT = 4096
HALF = SLOT // 2
GROWTH = 64  # slots that the file grows by
MOST = 1 << 16  # slots at most: 256 MiB of addresses, though only what is used costs memory
SCHEMA = 1
PATIENCE = 2.0  # seconds that a lock may outlive the daemon that held it
LOOK_AGAIN = 0.02
STATE = "state"  # name of the file
CLK_TCK = os.sysconf("SC_CLK_TCK")
MODE = 0o1600  # of every file here: the sticky bit asks cleaners to leave it (XDG Base Directory, systemd-tmpfiles)
MEMORY_FILE_SYSTEMS = frozenset({0x01021994, 0x858458F6})  # tmpfs, ramfs (linux/magic.h)
ENCODE = json.JSONEncoder(separators=(",", ":"), check_circular=False, ensure_ascii=False).encode

Record: TypeAlias = Mapping[str, Any]


class JournalError(Exception):
    """There is a journal that must not be used, or none can be made. `str()` says why and what to do."""


class InUseError(JournalError):
    """Another daemon writes there."""


class Journal:
    """Numbered records. One thread.

    `records` are those found when it was opened; `header` is None for a new file. `damaged` counts the slots whose
    record cannot be read any more, though it was not just cut off.
    """

    def __init__(self, path: str, *, sole: bool = False) -> None:
        """Open or create the file; `sole`: as the only one who does so, until we end.

        Raises JournalError: not ours, not a file, or no room; InUseError.
        """
        self.path = path
        self._fd = _open_alone(path) if sole else _open(path)
        try:
            self._map = self._fit(max(os.fstat(self._fd).st_size // SLOT, GROWTH))
        except OSError as exc:
            os.close(self._fd)
            raise JournalError(f"{path}: {exc.strerror}") from None
        self._generations: dict[int, int] = {}
        self.damaged = 0
        found = dict(self._read())
        self.header: Record | None = found.pop(0, None)
        self.records: dict[int, Record] = found
        self._free = [slot for slot in range(self._slots - 1, 0, -1) if slot not in found]

    def clear(self) -> None:
        """Forget every record, and the header."""
        for slot in (0, *self.records):
            self._map[slot * SLOT : (slot + 1) * SLOT] = bytes(SLOT)
            self._generations.pop(slot, None)
        self._free += self.records
        self.header, self.records = None, {}

    def begin(self, header: Record) -> None:
        """Write the header of a journal of ours: schema, and what the caller adds."""
        self._write(0, {"schema": SCHEMA} | dict(header))

    def allocate(self) -> int:
        """A free slot. Raises JournalError when the memory for more is not to be had."""
        if not self._free:
            slots = self._slots + GROWTH
            try:
                if slots > MOST:
                    raise OSError(28, f"more than {MOST} records")
                os.posix_fallocate(self._fd, 0, slots * SLOT)  # so that touching a page never is a SIGBUS
                self._map.resize(slots * SLOT)
            except OSError as exc:
                raise JournalError(f"{self.path}: {exc.strerror}") from None
            self._free = list(range(slots - 1, slots - GROWTH - 1, -1))
        return self._free.pop()

    def write(self, slot: int, record: Record, more: str = "") -> None:
        """Replace a record, with `more` that `members` gave. It costs no system call.

        Raises ValueError for one that does not fit.
        """
        self._write(slot, record, more)

    def free(self, slot: int) -> None:
        """Forget a record."""
        self._map[slot * SLOT : (slot + 1) * SLOT] = bytes(SLOT)
        self._generations.pop(slot, None)
        self._free.append(slot)

    @property
    def intact(self) -> bool:
        """Whether the file is still to be found by its name."""
        return is_named(self._fd, self.path)

    def close(self, *, remove: bool) -> None:
        """Close the file, and `remove` it, with the directory made for it, if there is nothing to remember."""
        self._map.close()
        os.close(self._fd)
        if remove:
            Path(self.path).unlink(missing_ok=True)
            with suppress(OSError):  # there is something else in it
                Path(self.path).parent.rmdir()

    @property
    def _slots(self) -> int:
        return len(self._map) // SLOT

    def _fit(self, slots: int) -> mmap.mmap:
        os.posix_fallocate(self._fd, 0, slots * SLOT)
        return mmap.mmap(self._fd, slots * SLOT)

    def _write(self, slot: int, record: Record, more: str = "") -> None:
        generation = self._generations.get(slot, 0) + 1
        text = f"{generation} {{{members(record)}{',' if more else ''}{more}}}"
        body = text.encode("utf-8", "surrogatepass")  # as json.loads has it
        line = b"%08x %s\n" % (zlib.crc32(body), body)
        if len(line) > HALF:
            raise ValueError(f"a record of {len(line)} bytes does not fit into {HALF}")
        start = slot * SLOT + generation % 2 * HALF
        self._map[start : start + len(line)] = line
        self._generations[slot] = generation

    def _read(self) -> Iterator[tuple[int, Record]]:
        for slot in range(self._slots):
            halves = [self._map[start : start + HALF] for start in (slot * SLOT, slot * SLOT + HALF)]
            if (found := younger(halves)) is None:
                self.damaged += all(half.strip(b"\0") for half in halves)
            else:
                self._generations[slot], record = found
                yield slot, record


def members(record: Record) -> str:
    """What is in a record, as text: encoded once, it may be written many times."""
    return ENCODE(record)[1:-1]


def younger(halves: Iterable[bytes]) -> tuple[int, Record] | None:
    """The generation and the record of a slot; None if no half of it is whole."""
    whole = [found for half in halves if (found := parse(half)) is not None]
    return max(whole, key=lambda half: half[0], default=None)


def parse(half: bytes) -> tuple[int, Record] | None:
    """The generation and the record of one half; None if it is empty, torn or foreign."""
    line, newline, _ = half.partition(b"\n")
    checksum, _, body = line.partition(b" ")
    try:
        if not newline or int(checksum, 16) != zlib.crc32(body):
            return None
        generation, _, text = body.partition(b" ")
        record = json.loads(text)
        return (int(generation), record) if isinstance(record, dict) else None
    except ValueError:
        return None


def forsaken() -> Iterator[tuple[Record, Iterator[Record]]]:
    """The header and the records of each journal of our own user, of this boot, that no daemon writes. Never raises."""
    boot = boot_id()
    for base in _bases():
        if not _is_ours(base):
            continue
        for path in Path(base).glob(f"*/{STATE}"):
            try:
                fd = _open(str(path), os.O_RDONLY)
            except JournalError:
                continue
            with open(fd, "rb") as file:
                try:
                    fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    data = file.read()
                except OSError:
                    continue
            slots = (data[start : start + SLOT] for start in range(0, len(data), SLOT))
            found = (younger((slot[:HALF], slot[HALF:])) for slot in slots)
            if (header := next(found, None)) is not None and header[1].get("boot") == boot:
                yield header[1], (record[1] for record in found if record is not None)


def _open(path: str, how: int = os.O_RDWR | os.O_CREAT) -> int:
    try:
        fd = os.open(path, how | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NOCTTY | os.O_NONBLOCK, MODE)
    except OSError as exc:
        raise JournalError(f"{path}: {exc.strerror}") from None
    facts = os.fstat(fd)
    if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_mode & 0o077:
        os.close(fd)
        raise JournalError(f"{path}: it must be a file of user {os.geteuid()} that nobody else can open; remove it")
    return fd


def is_named(fd: int, path: str) -> bool:
    """Whether an open file is still to be found by its name."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except OSError:
        return False


def _open_alone(path: str) -> int:
    """The same with a lock. That is the pidfile's once more, which may be removed, or be another one by now.

    A child that a killed daemon was just spawning has it until its exec: that is waited for, not for long.
    """
    until = time.monotonic() + PATIENCE
    while True:
        fd = _open(path)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            if time.monotonic() > until:
                raise InUseError(f"another daemon uses {path}, and looks after the programs in it") from None
            time.sleep(LOOK_AGAIN)
            continue
        except OSError:  # ENOLCK: a file system without locks
            return fd
        if is_named(fd, path):
            return fd
        os.close(fd)  # its last holder has removed it


def place(name: str) -> str:
    """A directory of our own on a memory file system: the one of this name that is there, wherever daemons before us
    could make it, else a new one. Raises JournalError when none will do.

    They are made below /run for root, else below /dev/shm, and where that is none (or somebody else has been there),
    in XDG_RUNTIME_DIR; on a disk only where no memory will do. The login session that has started us is not the first
    choice: the next daemon may be of another one, or of none.
    """
    problems = []

    def order(base: str) -> tuple[bool, ...]:
        there = f"{base}/{name}"
        return not os.path.exists(f"{there}/{STATE}"), not os.path.exists(there), not in_memory(os.path.dirname(base))

    for base in sorted(_bases(), key=order):
        try:
            return own_directory(f"{own_directory(base)}/{name}")
        except OSError as exc:
            problems.append(f"{exc.filename or base}: {exc.strerror}")
    raise JournalError("; ".join(problems))


def _bases() -> list[str]:
    """Where our directories are."""
    euid = os.geteuid()
    common = f"/dev/shm/supervise-{euid}"
    if euid == 0:  # who believes in no environment
        return ["/run/supervise", common]
    return [common, f"{os.environ.get('XDG_RUNTIME_DIR') or f'/run/user/{euid}'}/supervise"]


def in_memory(path: str) -> bool:
    """Whether a directory is on a file system that cannot wait for a disk (statfs(2): f_type comes first)."""
    facts = ctypes.create_string_buffer(256)
    if ctypes.CDLL(None).statfs(os.fsencode(path), facts):
        return False
    return ctypes.c_long.from_buffer(facts).value in MEMORY_FILE_SYSTEMS


def own_directory(path: str) -> str:
    """Make a directory that only we can enter, or check that it is one. Raises OSError."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if not _is_ours(path):
            raise PermissionError(1, "it is not a directory that only we can write to", path) from None
    return path


def _is_ours(path: str) -> bool:
    """Whether it is a directory that only we can write to."""
    try:
        facts = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.geteuid() and not facts.st_mode & 0o022


def boot_id() -> str:
    """The identity of this boot (random(4)); pids mean nothing beyond it."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since the boot (proc_pid_stat(5), field 22); None if there is none.

    A zombie counts: it keeps its pid. With the pid and the boot this names a process for ever.
    """
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        line = os.read(fd, 4096)
    except OSError:  # it was reaped in between
        return None
    finally:
        os.close(fd)
    return int(line.rpartition(b")")[2].split()[19])


def ticks_now() -> float:
    """The present as `start_time` has it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) * CLK_TCK
