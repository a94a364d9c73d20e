"""The right to remove images of this runtime: one process at a time has it.

It is the lock on the directories of all its image filesystems (host/lock.py), so it belongs to the
runtime, no matter in which container or with which state directory a process is started.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import anyio
import anyio.to_thread

from ..domain.facts import RemoverReported

PATIENCE = 5.0  # seconds that the directories have to answer
HANGS = "does not answer, so it is unknown who removes images here; its disk may hang"


class Exclusive(Protocol):
    """A lock like `host.lock.Lock`."""

    def take(self, directories: Iterable[str]) -> str | None:
        """Returns None if it is held now, else who holds it, for people. Raises OSError."""
        ...

    def release(self) -> None: ...


class Claim:
    """Asks for the right, on demand, in a thread: a disk that hangs must not stop the loop. While
    an answer is outstanding it does not ask again."""

    def __init__(
        self,
        lock: Exclusive,
        directories: Callable[[], tuple[str, ...]],
        clock: Callable[[], float],
        patience: float = PATIENCE,
    ) -> None:
        self._lock, self._directories, self._clock = lock, directories, clock
        self._patience = patience
        self._hangs = False

    async def renew(self, wanted: bool) -> RemoverReported:
        """Takes the right if it is wanted and free, makes sure that it is still ours, or releases
        it. Nobody has it as long as the runtime names no directory."""
        directories = self._directories()
        if not self._hangs:
            with anyio.move_on_after(self._patience):
                return await anyio.to_thread.run_sync(
                    self._renew, directories, wanted, abandon_on_cancel=True
                )
        return RemoverReported(self._clock(), trouble=f"{', '.join(directories)}: {HANGS}")

    def _renew(self, directories: tuple[str, ...], wanted: bool) -> RemoverReported:
        self._hangs = True
        try:
            if not wanted or not directories:
                self._lock.release()
                return RemoverReported(self._clock())
            other = self._lock.take(directories)
            return RemoverReported(self._clock(), ours=other is None, other=other)
        except OSError as error:
            text = f"{error.filename or ', '.join(directories)} can't be locked ({error.strerror}),"
            text += " so it is unknown whether another reconciler removes images here"
            return RemoverReported(self._clock(), trouble=text)
        finally:
            self._hangs = False
