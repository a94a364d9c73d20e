"""A file's bytes, read without ever blocking: a FIFO, a socket or a device is refused unopened, and
so is more than a limit.

Whoever may choose a path can put anything there: opening a FIFO waits for a writer, and /dev/zero
never ends.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from .domain.humanize import size_text

LARGEST = 1 << 20  # bytes; more is refused

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Refused(OSError):
    """What is at a path is not to be read; `strerror` and the text say why, for people."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(0, why, str(path))

    def __str__(self) -> str:
        return str(self.strerror)


def read_text(path: Path) -> str:
    """The whole of a small file. Raises OSError, UnicodeDecodeError."""
    with opened(path) as handle:
        return bytes_of(handle, path).decode()


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    """A handle to read a regular file with, for as long as the context lasts. Raises OSError."""
    check(path)  # before it is opened: opening a device can have effects
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        _check_kind(os.fstat(handle), path)
        yield handle
    finally:
        os.close(handle)


def bytes_of(handle: int, path: Path) -> bytes:
    """All bytes of an opened file. Raises OSError, also if there are more than `LARGEST`."""
    size = os.fstat(handle).st_size
    if size > LARGEST:
        raise Refused(path, f"larger than {size_text(LARGEST)} ({size} bytes), not read")
    data = b""
    while len(data) <= LARGEST and (more := os.read(handle, LARGEST + 1 - len(data))):
        data += more
    if len(data) > LARGEST:
        raise Refused(path, f"larger than {size_text(LARGEST)}, not read")
    return data


def check(path: Path) -> None:
    """Raises OSError unless a regular file is at a path, or a link to one."""
    _check_kind(os.stat(path), path)


def _check_kind(found: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
        raise Refused(path, f"expected a regular file, found {kind}")
