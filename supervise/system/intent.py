"""What the log thread is about to do, in memory that outlives it: so that our death loses no output.

Whatever instant SIGKILL comes at: no byte is lost, and the next daemon, finishing what was begun, writes none twice.

Every worker of the pump has an area: a mapped file in the journal's directory whose larger part is the very buffer that
pipes are read into, so that nothing is copied. One step is: `begin` (so many bytes of that pipe will be read), read,
`have`, and for each append to a file `mark` (this file, at this offset, so many bytes), then `end`. After SIGKILL the
mapped pages are still there, and the next daemon asks of an area that is in the middle of a step:

1. Was it read? Before reading, the place of the last bytes is given a pattern. If that is intact, nothing was read.
2. How much was written? Of appends before the last mark, all; of the last, what the file has from its offset on.

Everything is ordered so that the word written last makes the rest valid. What a filter holds back from one step to the
next is kept by `carry`, what waits for a file that hangs by `spool`, in areas of the same form. Not covered: targets
that are no files.
"""

import itertools
import logging
import mmap
import os
import re
import stat
import struct
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from supervise.system.journal import MODE
from supervise.system.pipes import pending

log = logging.getLogger("supervise")

HEAD = 4096  # bytes before the buffer
LONGEST_PATH = 3072
PREFIX = "output-"
IDLE, READING, READ, KEPT = range(4)
MAGIC = 0x31_50_45_54_53  # "STEP1"

# Native sizes: each field is stored by one instruction, in this order (the last one counts).
STEP = struct.Struct("@6Q")  # pipe, stamp, bytes to be read, serial of the last mark before, bytes done before, phase
_MARK = struct.Struct("@6Q")  # bytes done before, device, inode, offset, length, serial
_WORD = struct.Struct("@Q")
COUNT, _PHASE = 2, 5  # words of STEP
_MARKS = (64, 128)  # two, written in turn
_NONCE, _MAGIC, _LENGTH, _PATH = 192, 200, 208, 216

_RARE = bytes((0xC0, 0xC1, *range(0xF5, 0x100)))  # never in UTF-8: the pattern of a few bytes is not output by chance


class Recorder(Protocol):
    """What a file tells of itself before it is written to; see `Intent`."""

    done: int

    def mark(self, device: int, inode: int, offset: int, length: int) -> None: ...


class Intent:
    """One worker's area. Used in that worker's thread only; nothing here costs a system call."""

    __slots__ = ("_map", "_nonce", "_path", "_serial", "_words", "buffer", "done", "file", "pipe", "stamp")

    def __init__(self, file: str, size: int, *, sparse: bool = False) -> None:
        """Make the area, with a buffer of `size` bytes; if it is sparse, none of them may be touched yet.

        Raises OSError.
        """
        self.file = file
        fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, MODE)
        try:
            os.posix_fallocate(fd, 0, HEAD if sparse else HEAD + size)  # so that touching a page never is a SIGBUS
            os.truncate(fd, HEAD + size)
            self._map = mmap.mmap(fd, HEAD + size, mmap.MAP_SHARED | (0 if sparse else mmap.MAP_POPULATE))
        except OSError:
            os.unlink(file)
            raise
        finally:
            os.close(fd)
        self._nonce = bytes(_RARE[byte % len(_RARE)] for byte in os.urandom(4)) + os.urandom(4)
        self._map[_NONCE : _NONCE + 8] = self._nonce
        _WORD.pack_into(self._map, _MAGIC, MAGIC)
        self._words = memoryview(self._map)[:48].cast("Q")
        self.buffer = memoryview(self._map)[HEAD:]
        self.done = 0  # bytes of this step that are written; those who write add to it
        self.pipe = 0  # whose step this is; 0: nobody's
        self.stamp = 0  # larger than that of any step before
        self._serial = 0
        self._path: str | None = ""

    def begin(self, pipe: int, count: int, path: str | None) -> int:
        """Exactly `count` bytes of that pipe will be read, to be written to `path`. Returns the stamp of the step,
        which is larger than that of any step before."""
        self._words[_PHASE] = IDLE
        if path is not self._path:
            self._aim(path)
        if count >= 8:
            self._map[HEAD + count - 8 : HEAD + count] = self._nonce
        else:
            self._map[HEAD : HEAD + count] = self._nonce[:count]
        self.done, self.pipe = 0, pipe
        self.stamp = stamp = time.monotonic_ns()
        STEP.pack_into(self._map, 0, pipe, stamp, count, self._serial, 0, READING)
        return stamp

    def _aim(self, path: str | None) -> None:
        encoded = os.fsencode(path or "")
        if len(encoded) > LONGEST_PATH:
            encoded = b""
        _WORD.pack_into(self._map, _LENGTH, len(encoded))
        self._map[_PATH : _PATH + len(encoded)] = encoded
        self._path = path

    def have(self, count: int) -> None:
        """The first `count` bytes of the buffer have been read."""
        self._words[COUNT] = count
        self._words[_PHASE] = READ

    def mark(self, device: int, inode: int, offset: int, length: int) -> None:
        """`length` bytes, after the `done` ones, will be appended to that file, whose end is at `offset`. With 0: no
        more than the `done` ones have been written, and where that was can be asked no longer."""
        self._serial = serial = self._serial + 1
        _MARK.pack_into(self._map, _MARKS[serial & 1], self.done, device, inode, offset, length, serial)

    def end(self) -> None:
        """All that was read has been written, or given up."""
        self._words[_PHASE] = IDLE
        self.pipe = 0

    def take_up(self, step: "Interrupted", done: int) -> None:
        """Continue somebody else's step, `done` bytes of which were written, as our own."""
        self._words[_PHASE] = IDLE
        self._aim(step.path)
        self.buffer[: len(step.data)] = step.data
        self.done, self.pipe, self.stamp = done, step.pipe, step.stamp
        phase = KEPT if step.kept else READ
        STEP.pack_into(self._map, 0, step.pipe, step.stamp, len(step.data), self._serial, done, phase)

    def left(self) -> "Interrupted":
        """This step, for another worker to finish; the area is not to be used any more. In any thread."""
        step = _parse(self.file, bytes(self._map), _number(Path(self.file).name))
        assert step is not None
        return step

    @property
    def intact(self) -> bool:
        """Whether the file is still there."""
        return os.path.exists(self.file)

    def remove(self) -> None:
        """Forget all. The buffer may still be in use."""
        with suppress(OSError):
            os.unlink(self.file)


@dataclass(slots=True)
class Interrupted:
    """A step that a daemon before us did not finish."""

    file: str
    pipe: int
    stamp: int
    path: str
    data: bytes
    doubtful: bool  # whether `data` was read at all; if it was not, it is still in the pipe
    done: int  # bytes that were written before the append that was begun last
    append: tuple[int, int, int, int] | None  # device, inode, offset, length
    number: int
    serial: int  # of the last mark
    kept: bool  # it is a spool: `data` is output, and has passed the filters
    found: bytes = field(default=b"", repr=False)  # what the file has from that offset on

    def look(self) -> None:
        """See what the last append has brought about. To be called before anybody writes to the file again."""
        if self.append is not None and self.append[0] and self.append[3]:
            self.found = _content(self.path, *self.append)

    def was_read(self, fd: int) -> bool:
        """Whether the bytes were taken out of the pipe, of which `fd` (or -1) is our end."""
        if not self.doubtful:
            return True
        return len(self.data) < 8 and fd >= 0 and pending(fd) < len(self.data)

    def written(self, output: bytes) -> int:
        """How many bytes are in the file already, of those that this step had to write."""
        if self.append is None:
            return self.done
        wanted = output[self.done : self.done + self.append[3]]
        if self.found[: len(wanted)] == wanted[: len(self.found)]:
            return self.done + min(len(self.found), len(wanted))
        # Somebody else has written to the file too.
        return self.done + (len(wanted) if wanted in self.found else 0)

    def have_appended(self) -> None:
        """The last append was completed: from now on its area says so."""
        assert self.append is not None
        self.done, self.serial, self.append = self.done + self.append[3], self.serial + 1, None
        with open(self.file, "r+b", buffering=0) as area:
            os.pwrite(area.fileno(), _MARK.pack(self.done, 0, 0, 0, 0, self.serial), _MARKS[self.serial & 1])

    def retire(self) -> None:
        """It is finished, or in another area as well."""
        with suppress(OSError):
            os.unlink(self.file)


class Intents:
    """The areas of a daemon's workers, and what the daemons before it did not finish."""

    def __init__(self, directory: str, size: int) -> None:
        self.directory, self.size = directory, size
        self.found = sorted(interrupted(directory), key=lambda step: step.stamp)
        self._numbers = itertools.count(max((step.number for step in self.found), default=0) + 1)
        self._areas: list[Intent] = []
        self._told = False

    def of(self, pipe: int) -> list[Interrupted]:
        """What is unfinished of a pipe, oldest first. It is the caller's then."""
        mine = [step for step in self.found if step.pipe == pipe]
        self.found = [step for step in self.found if step.pipe != pipe]
        return mine

    def place(self) -> tuple[str, int]:
        """The file of another area, and its number."""
        number = next(self._numbers)  # also in the loop's thread
        return f"{self.directory}/{PREFIX}{number}", number

    def new(self) -> Intent | None:
        """An area for another worker; None (and a line in the main log) where there is no room for it."""
        try:
            area = Intent(self.place()[0], self.size)
        except OSError as exc:
            if not self._told:
                self._told = True
                log.error("output may be lost or doubled when this daemon is killed: %s", exc)
            return None
        self._areas.append(area)
        return area

    def close(self) -> None:
        """The end. Removes the areas whose steps are finished (a thread may hang in one), and an empty directory."""
        for area in self._areas:
            if not area.pipe:
                area.remove()
        with suppress(OSError):
            os.rmdir(self.directory)


def interrupted(directory: str) -> list[Interrupted]:
    """The unfinished steps in all areas of a directory; areas without one are removed.

    A step that a daemon had taken up from one before counts once, as the later one knew it.
    """
    steps: dict[tuple[int, int], Interrupted] = {}
    for path in sorted(Path(directory).glob(PREFIX + "*"), key=lambda path: _number(path.name)):
        step = _parse(str(path), path.read_bytes(), _number(path.name))
        if step is None:
            path.unlink()
            continue
        if (older := steps.get((step.pipe, step.stamp))) is not None:
            older.retire()
        steps[step.pipe, step.stamp] = step
    spooled = {step.number: len(step.data) for step in steps.values() if step.kept}
    for step in steps.values():
        if step.append is not None and step.append[0] == 0 and step.append[2] < spooled.get(step.append[1], 0):
            step.have_appended()  # all of it is there, and that must be known when the spool is not there any more
    return list(steps.values())


def forget(directory: str) -> None:
    """Remove every area: they are of another boot."""
    for path in Path(directory).glob(PREFIX + "*"):
        path.unlink()


def _number(name: str) -> int:
    match = re.fullmatch(re.escape(PREFIX) + r"(\d+)", name)
    return int(match[1]) if match else 0


def _parse(file: str, area: bytes, number: int) -> Interrupted | None:
    if len(area) < HEAD or _WORD.unpack_from(area, _MAGIC)[0] != MAGIC:
        return None
    pipe, stamp, count, serial, done, phase = STEP.unpack_from(area, 0)
    data = area[HEAD : HEAD + count]
    if phase not in (READING, READ, KEPT):
        return None
    nonce, width = area[_NONCE : _NONCE + 8], min(count, 8)
    doubtful = phase == READING and data[count - width :] == nonce[:width]
    last = max((_MARK.unpack_from(area, at) for at in _MARKS), key=lambda mark: mark[5])
    step = Interrupted(
        file=file,
        pipe=pipe,
        stamp=stamp,
        path=os.fsdecode(area[_PATH : _PATH + _WORD.unpack_from(area, _LENGTH)[0]]),
        data=data,
        doubtful=doubtful,
        done=done,
        append=None,
        number=number,
        serial=last[5],
        kept=phase == KEPT,
    )
    if last[5] > serial:
        step.done, step.append = last[0], last[1:5]
    return step


def _content(path: str, device: int, inode: int, offset: int, length: int) -> bytes:
    """What the file with that identity has from `offset` on: the one at `path`, or what that was renamed to."""
    folder = os.path.dirname(path)
    with suppress(OSError):
        names = [path, *(f"{folder}/{name}" for name in os.listdir(folder) if name.startswith(Path(path).name + "."))]
        for name in names:
            with suppress(OSError), _Reading(name) as fd:
                facts = os.fstat(fd)
                if (facts.st_dev, facts.st_ino) == (device, inode) and stat.S_ISREG(facts.st_mode):
                    return os.pread(fd, length + HEAD, offset)
    return b""


class _Reading:
    """A file opened for reading; never waits, whatever it is."""

    def __init__(self, path: str) -> None:
        self._path, self._fd = path, -1

    def __enter__(self) -> int:
        self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
