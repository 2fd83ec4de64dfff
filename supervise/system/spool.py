"""What waits for a file that hangs, beside the journal: so that our death meanwhile loses nothing of it.

A spool is an area like that of a step (see `intent`) whose bytes have been read, and become more. A step whose output
is added to it tells so by a mark of device 0, with the spool's number in the inode's place. When the file answers
again, what it is told is marked in the spool; killed before that, or in the middle, the spool is one of the unfinished
steps of its pipe, after all older ones.
"""

import errno
import os

from supervise.system.intent import COUNT, HEAD, KEPT, STEP, Intent, Intents

PIECE = 32 * 1024  # bytes by which a spool takes up more of the file system
LEFT = 4  # of that, one part in so many is left to others


class Spool(Intent):
    """Output of one pipe for one path. Used by one thread at a time."""

    __slots__ = ("_room", "count", "number")

    def __init__(self, intents: Intents, step: Intent, path: str) -> None:
        """Make an empty one, to be written after what older steps than this one have left. Raises OSError."""
        file, self.number = intents.place()
        super().__init__(file, intents.size, sparse=True)
        self.count = self._room = 0
        self._aim(path)
        self.pipe, self.stamp = step.pipe, step.stamp + 1  # two steps begin more than a nanosecond apart
        STEP.pack_into(self._map, 0, self.pipe, self.stamp, 0, 0, 0, KEPT)

    @property
    def content(self) -> memoryview:
        """All that was added."""
        return self.buffer[: self.count]

    def add(self, data: memoryview | bytes, step: Intent) -> bool:
        """Take over output of a step; False if this is full.

        Raises OSError if the file system has no room for more.
        """
        begin, end = self.count, self.count + len(data)
        if end > len(self.buffer):
            return False
        if end > self._room:
            self._grow(end)
        step.mark(0, self.number, begin, len(data))
        self.buffer[begin:end] = data
        self._words[COUNT] = self.count = end
        step.done += len(data)
        step.mark(0, 0, 0, 0)  # from here on this may be written, and go
        return True

    def _grow(self, wanted: int) -> None:
        room = min(-(-wanted // PIECE) * PIECE, len(self.buffer))
        fd = os.open(self.file, os.O_RDWR | os.O_CLOEXEC)
        try:
            space = os.fstatvfs(fd)
            if space.f_bavail * LEFT < space.f_blocks:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.file)
            os.posix_fallocate(fd, 0, HEAD + room)  # so that touching a page never is a SIGBUS
        finally:
            os.close(fd)
        self._room = room
