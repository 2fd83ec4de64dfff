"""A log file: appended to, rotated between lines, opened again, cleared."""

import contextlib
import os
import stat
from itertools import takewhile
from pathlib import Path

from supervise.system.intent import Recorder
from supervise.system.links import open_log

LONGEST_LINE = 1 << 20  # bytes beyond the limit after which even a line is cut, so that a file has a hard bound
NEWLINE = 0x0A
FRONT = 64  # backups that are renamed at every rotation; where there may be many more, these are as seldom as this


class NotAFileError(OSError):
    """The path is a pipe, a socket or a device: nothing that could be rotated, cleared or read back."""


class LogFile:
    """One file that is only ever appended to. Not for two threads at a time; methods raise OSError.

    Rotation, as supervisord's: at `maxbytes` (0: never) PATH becomes PATH.1, that becomes PATH.2, up to `backups`; with
    `backups` 0 the file is emptied. Unlike supervisord, a file is rotated *before* it would pass the limit and always
    after a newline. So no line is cut, and a file is larger than `maxbytes` by at most the rest of one line that began
    below the limit, or by one line that alone is larger; a line more than LONGEST_LINE beyond the limit is cut there.

    To rename thousands of backups at every rotation takes a disk longer than to write what is logged meanwhile. Where
    `backups` is more than twice FRONT, those behind the first FRONT are moved by FRONT numbers at once: their numbers
    have gaps, never another order, and up to FRONT fewer than `backups` are kept.

    The file is opened at the first write and may be closed at any time: a silent program costs no descriptor.
    """

    __slots__ = (
        "_in_line",
        "_limit",
        "backups",
        "device",
        "fd",
        "inode",
        "maxbytes",
        "mode",
        "path",
        "rotation_problem",
        "size",
        "total",
    )

    def __init__(self, path: str, maxbytes: int = 0, backups: int = 0) -> None:
        self.path = path
        self.maxbytes, self.backups = maxbytes, backups
        self.mode = 0o666  # it is made with, less the umask
        self.fd = -1
        self.device = 0  # the file system it is (or will be) on; 0: not known yet
        self.inode = 0
        self.size = 0  # of the file, as far as we know
        self.total = 0  # bytes written through this object, also by a call that then failed
        self.rotation_problem = ""
        self._in_line = False  # the file's last byte is not a newline
        self._limit = maxbytes

    def configure(self, maxbytes: int, backups: int) -> None:
        """Change the limits; a file that is too large is rotated at the next write."""
        self.maxbytes, self.backups, self._limit = maxbytes, backups, maxbytes

    def locate(self) -> int:
        """Return the file system it is on, before it is opened for the first time."""
        if not self.device:
            self.device = Path(self.path).absolute().parent.stat().st_dev
        return self.device

    def open(self) -> None:
        """Open or create the file. Raises NotAFileError, OSError."""
        self.close()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
        try:
            fd = open_log(self.path, flags, self.mode)
        except OSError as exc:
            if exc.errno and not _is_file(self.path):
                raise NotAFileError(exc.errno, exc.strerror, self.path) from None
            raise
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode):
            os.close(fd)
            raise NotAFileError(0, "not a regular file", self.path)
        self.fd, self.size, self.device, self.inode = fd, facts.st_size, facts.st_dev, facts.st_ino
        self._limit = self.maxbytes
        self._in_line = bool(self.size) and _last_byte(fd) != NEWLINE

    def close(self) -> None:
        """Close the file; the next write opens it again."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)

    def write(self, data: memoryview | bytes, recorder: Recorder | None = None) -> None:
        """Append all of `data`, rotating where needed, and tell `recorder` before every step.

        After an error `total` tells how much was written.
        """
        if self.fd < 0:
            self.open()
        if self._limit and self.size + len(data) > self._limit:
            self._write_rotating(bytes(data), recorder)
        elif data:
            self._append(data, recorder)

    def _append(self, data: memoryview | bytes, recorder: Recorder | None) -> None:
        if recorder is not None:
            recorder.mark(self.device, self.inode, self.size, len(data))
        written = os.write(self.fd, data)
        self.size += written
        self.total += written
        while written < len(data):
            more = os.write(self.fd, data[written:])
            written += more
            self.size += more
            self.total += more
        if recorder is not None:
            recorder.done += written
        self._in_line = data[-1] != NEWLINE

    def _write_rotating(self, data: bytes, recorder: Recorder | None) -> None:
        if not self.current():
            self.open()  # somebody has rotated it already, perhaps we, by another name that a link makes
        start = 0
        while start < len(data):
            end = self._fitting(data, start)
            if end > start:
                self._append(memoryview(data)[start:end], recorder)
                start = end
            if start < len(data):
                self._rotate_or_go_on(recorder)

    def _fitting(self, data: bytes, start: int) -> int:
        """Where to stop before the next rotation: `start` if that is due now."""
        room = self._limit - self.size
        if len(data) - start <= room:
            return len(data)
        if (cut := data.rfind(b"\n", start, start + max(0, room))) >= 0:
            return cut + 1
        if self.size and not self._in_line:
            return start
        # A line that began below the limit: it ends here, however long, within reason.
        bound = start + max(1, room + LONGEST_LINE)
        cut = data.find(b"\n", start, bound)
        return cut + 1 if cut >= 0 else min(len(data), bound)

    def _rotate_or_go_on(self, recorder: Recorder | None) -> None:
        if self._in_line and self.size < self._limit + LONGEST_LINE:
            return
        try:
            self.rotate(recorder)
        except OSError as exc:
            # Better a file that grows than output that is lost: try again when it has grown by a tenth.
            self.rotation_problem = f"cannot rotate {self.path}: {exc.strerror}"
            self._limit = self.size + max(self.maxbytes // 10, 65536)
            if self.fd < 0:
                self.open()

    def rotate(self, recorder: Recorder | None = None) -> None:
        """Rotate now; an empty file stays."""
        if self.fd < 0 or not self.current():
            self.open()
        if not self.size:
            return
        if self.backups > 0:
            self._shift()
        else:
            if recorder is not None:
                recorder.mark(0, 0, 0, 0)
            os.ftruncate(self.fd, 0)
        self.size, self._in_line, self._limit = 0, False, self.maxbytes
        self.rotation_problem = ""

    def _shift(self) -> None:
        # Only what stands in the way is moved: so a rotation in whose middle we were killed is completed by the next.
        many = self.backups > 2 * FRONT
        taken = list(takewhile(self._is_taken, range(1, FRONT + 1 if many else self.backups)))
        if many and len(taken) == FRONT:
            os.replace(f"{self.path}.{taken.pop()}", f"{self.path}.{self._place_behind()}")
        for number in reversed(taken):
            os.replace(f"{self.path}.{number}", f"{self.path}.{number + 1}")
        with contextlib.suppress(FileNotFoundError):  # deleted behind our back: the new one is wanted all the same
            os.replace(self.path, f"{self.path}.1")
        old = os.fstat(self.fd)
        self.open()
        _resemble(self.fd, old)

    def _is_taken(self, number: int) -> bool:
        return os.path.lexists(f"{self.path}.{number}")

    def _place_behind(self) -> int:
        """The highest free number between the first FRONT backups and all others; these make room if need be."""
        free = len(list(takewhile(lambda number: not self._is_taken(number), range(FRONT + 1, 2 * FRONT + 1))))
        if free:
            return FRONT + free
        start = os.path.basename(self.path) + "."
        names = [name for name in os.listdir(os.path.dirname(self.path) or ".") if name.startswith(start)]
        numbers = [int(name[len(start) :]) for name in names if name[len(start) :].isdecimal()]
        for number in sorted(numbers, reverse=True):
            if FRONT < number <= self.backups - FRONT:
                os.replace(f"{self.path}.{number}", f"{self.path}.{number + FRONT}")
            elif FRONT < number <= self.backups:
                os.unlink(f"{self.path}.{number}")
        return 2 * FRONT

    def clear(self) -> None:
        """Empty the file, whether it is open or not; backups stay."""
        if self.fd < 0 or not self.current():
            self.open()
        os.ftruncate(self.fd, 0)
        self.size, self._in_line, self._limit = 0, False, self.maxbytes

    def current(self) -> bool:
        """Whether PATH still is the open file; also notices that somebody else has cut it or written to it."""
        try:
            named, ours = os.stat(self.path), os.fstat(self.fd)
        except FileNotFoundError:
            return False
        if self.size != ours.st_size:
            self.size = ours.st_size
            self._in_line = self._in_line and self.size > 0
        return (named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino)


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode) or os.path.isdir(path)
    except OSError:
        return True


def _last_byte(fd: int) -> int:
    try:  # of this very file, whatever has its name by now: a FIFO would wait for a writer
        with open(f"/proc/self/fd/{fd}", "rb", buffering=0) as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1)[0]
    except (OSError, IndexError):
        return NEWLINE


def _resemble(fd: int, old: os.stat_result) -> None:
    """Give a new file the owner and mode that somebody has given to the old one, as far as we may."""
    new = os.fstat(fd)
    with contextlib.suppress(PermissionError):
        if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
            os.fchown(fd, old.st_uid, old.st_gid)
        if new.st_mode != old.st_mode:
            os.fchmod(fd, stat.S_IMODE(old.st_mode))
