"""A disk that hangs when a test wants it to."""

import contextlib
import fcntl
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools import need, need_root

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
def mounted(directory: Path) -> Iterator[Disk]:
    """Make one, below that directory. Skips where that cannot be done."""
    need_root()
    image, place = directory / "image", directory / "disk"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(16 << 20)
    subprocess.run([need("mkfs.ext4"), "-q", image], check=True)
    if subprocess.run(["mount", "-o", "loop", image, place], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("cannot mount here")
    disk = Disk(place)
    try:
        yield disk
    finally:
        with contextlib.suppress(OSError):
            disk.thaw()
        subprocess.run(["umount", "-l", place], check=True)
