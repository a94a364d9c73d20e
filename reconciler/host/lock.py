"""Exclusive locks on directories: one remover per runtime, one writer per ledger.

They are the kernel's (flock), so they end with their process, however that ends, and belong to the
inode: they hold between containers and namespaces, on a read-only mount too, and on a disk where no
file can be made. A directory that was removed and made again is another one, which another process
can lock: so the holder of a lock takes it again each time before it does what the lock is for.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from ..domain.neutral import neutralised
from .mounts import mounts

LOCKS = Path("/proc/locks")
ELSEWHERE = "another reconciler (in another container or namespace)"
SHOWN = 120  # characters of a command line

Inode = tuple[int, int]  # device and number


class LockUnavailable(Exception):
    """Another process holds a lock, or there is no place for it; the text says which."""


class Lock:
    """A lock on several directories at once: all are held, or none is."""

    def __init__(self) -> None:
        self._held: dict[Inode, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def take(self, directories: Iterable[str | Path]) -> str | None:
        """Takes it, or makes sure that the directories at these paths are the ones that are held.
        Returns None if it is held, else who holds one of them, for people, and then holds none.
        Raises OSError where a directory can't be opened or locked; what was held stays held."""
        wanted: dict[Inode, str | Path] = {}
        for path in sorted(map(str, directories)):
            wanted.setdefault(_inode(os.stat(path)), path)
        taken: dict[Inode, int] = {}
        try:
            for inode in sorted(wanted.keys() - self._held.keys()):
                taken[inode] = _locked(wanted[inode], inode)
        except BlockingIOError:
            _close(taken)
            self.release()
            return _holder(wanted[inode]) or ELSEWHERE
        except OSError:
            _close(taken)
            raise
        unwanted = {inode: self._held.pop(inode) for inode in self._held.keys() - wanted.keys()}
        self._held |= taken
        _close(unwanted)
        return None

    def release(self) -> None:
        """Releases all of it."""
        _close(self._held)
        self._held = {}


def holder_of(directories: Iterable[str | Path]) -> str | None:
    """Who holds a lock on one of them, as far as can be seen without taking it."""
    for path in directories:
        with contextlib.suppress(OSError):
            found = _holder(path)
            if found is not None:
                return found
    return None


def _holder(path: str | Path) -> str | None:
    """Who holds the lock on a directory, for people. /proc/locks lists only the processes in our
    own PID namespace."""
    with contextlib.suppress(OSError, ValueError):
        wanted = _place(path)
        for line in LOCKS.read_text().splitlines():
            _, kind, _, _, pid, place, *_ = line.split()
            if kind == "FLOCK" and place == wanted:
                command = _command(pid)
                what = "reconciler" if "reconciler" in command or not command else "process"
                return f"another {what} (pid {pid}{command and ': '}{command})"
    return None


def _place(path: str | Path) -> str:
    """A directory as /proc/locks names it: the device of its filesystem, and its inode. On btrfs
    `stat` reports another device, the subvolume's; that of the mount is the filesystem's (our
    measurement)."""
    handle = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = os.fstat(handle)
        lines = Path(f"/proc/self/fdinfo/{handle}").read_text().splitlines()
    finally:
        os.close(handle)
    number = int(dict(line.split(":", 1) for line in lines).get("mnt_id", -1))
    device = next((one.device for one in mounts() if one.number == number), found.st_dev)
    return f"{os.major(device):02x}:{os.minor(device):02x}:{found.st_ino}"


def _command(pid: str) -> str:
    """The command line of a process; empty where it can't be seen."""
    try:
        words = Path("/proc", pid, "cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    text = neutralised(b" ".join(words).decode(errors="replace").strip())
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _locked(path: str | Path, inode: Inode) -> int:
    """A handle that holds a directory's lock. Raises OSError, BlockingIOError if another does."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _inode(os.fstat(handle)) != inode:
            raise OSError(errno.ESTALE, "replaced this moment", str(path))
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle


def _inode(found: os.stat_result) -> Inode:
    return found.st_dev, found.st_ino


def _close(handles: dict[Inode, int]) -> None:
    for handle in handles.values():
        os.close(handle)
