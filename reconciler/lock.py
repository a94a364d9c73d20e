"""One remover per node: an exclusive lock on the state directory.

It is the kernel's (flock), so it ends with its process, however that ends. Where no file can be
made (a read-only disk) it holds all the same: the directory itself is locked. A directory that was
removed and made anew is another one, which another process can lock: `renew`, before anything is
removed, sees to it that it is still the one at that path.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

FILE = "reconciler.lock"


class LockUnavailable(Exception):
    """The lock is held by another process, or there is no place for it; the text says which."""


class Lock:
    """Held from `with` to its end. Raises LockUnavailable, naming the holder's pid."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._handle: int | None = None

    def __enter__(self) -> Self:
        try:
            self._take()
        except BlockingIOError:
            raise LockUnavailable(self._held()) from None
        except OSError as error:
            text = f"no state directory at {self._folder}: {error.strerror}; name one that can be"
            raise LockUnavailable(f"{text} made with --state-dir") from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def renew(self) -> None:
        """Takes the lock anew if another directory is at the path now. Raises LockUnavailable if
        another process was faster. Where no directory can be made nobody else has one either, and
        the lock that is held goes on to hold."""
        assert self._handle is not None
        try:
            if os.path.samestat(os.stat(self._folder), os.fstat(self._handle)):
                return
        except OSError:
            pass
        try:
            self._take()
        except BlockingIOError:
            raise LockUnavailable(self._held()) from None
        except OSError:
            return

    def _take(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            raise
        before, self._handle = self._handle, handle
        if before is not None:
            os.close(before)
        self._note_pid()

    def _note_pid(self) -> None:
        # On a read-only disk the lock holds all the same, only the pid is not told.
        with contextlib.suppress(OSError):
            (self._folder / FILE).write_text(f"{os.getpid()}\n")

    def _held(self) -> str:
        try:
            pid = (self._folder / FILE).read_text().strip()
        except OSError:
            pid = "unknown"
        return (
            f"another reconciler (pid {pid}) removes images here and holds {self._folder}; "
            "only one may: stop it first, or use `plan`, `explain` or --dry-run"
        )
