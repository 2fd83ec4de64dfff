"""File systems of a test's own: one that is soon full, and a disk that hangs when the test wants it to."""

import contextlib
import fcntl
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.tools import missing, need, need_root

FREEZE, THAW = 0xC0045877, 0xC0045878  # linux/fs.h


class Disk:
    """A small file system of its own, mounted at `place`."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def freeze(self) -> None:
        """From now on whoever writes there waits, and cannot be killed."""
        self._tell(FREEZE)

    def thaw(self) -> None:
        """They go on."""
        self._tell(THAW)

    def _tell(self, request: int) -> None:
        fd = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, request, 0)
        finally:
            os.close(fd)


@contextlib.contextmanager
def mount(place: Path, *how: str) -> Iterator[Path]:
    """A file system at `place`, as these words for mount(8) have it. Skips where that cannot be done."""
    need_root("CAP_SYS_ADMIN")
    place.mkdir()
    done = subprocess.run([need("mount"), *how, place], capture_output=True, text=True)
    if done.returncode:
        missing(f"cannot mount here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@contextlib.contextmanager
def mounted(directory: Path) -> Iterator[Disk]:
    """Make one, below that directory. Skips where that cannot be done."""
    image = directory / "image"
    with image.open("wb") as file:
        file.truncate(16 << 20)
    subprocess.run([need("mkfs.ext4"), "-q", image], check=True)
    with mount(directory / "disk", "-o", "loop", str(image)) as place:
        disk = Disk(place)
        try:
            yield disk
        finally:
            with contextlib.suppress(OSError):
                disk.thaw()
