"""One remover per node: an exclusive lock in the state directory.

It is the kernel's (flock), so it ends with its process, however that ends. Where no file can be
made (a read-only disk) the directory itself is locked: the lock must not depend on writing.
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
        self._handles: list[int] = []

    def __enter__(self) -> Self:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._take(os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        except BlockingIOError:
            self._release()
            raise LockUnavailable(self._held()) from None
        except OSError as error:
            self._release()
            text = f"no state directory at {self._folder}: {error.strerror}; name one that can be"
            raise LockUnavailable(f"{text} made with --state-dir") from error
        self._note_pid()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._release()

    def _take(self, handle: int) -> None:
        self._handles.append(handle)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

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

    def _release(self) -> None:
        while self._handles:
            os.close(self._handles.pop())
