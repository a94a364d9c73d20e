"""Writes what changed to the state directory, in a thread: a slow disk must not stop the loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

import anyio
import anyio.to_thread

from ..domain.ledger import Changes, Remembered
from ..domain.state import State
from .history import Entry, History
from .ledger import Ledger


def saver(
    ledger: Ledger,
    history: History,
    finished: Callable[[], Iterable[Entry]],
    clock: Callable[[], float],
    log_trouble: Callable[[str | None, float], None] = lambda trouble, at: None,
) -> Callable[[State], Awaitable[None]]:
    """Returns what the loop saves with. A save must not be cancelled: changes that were taken to be
    written must be written. A ledger that another process wrote until now is merged with what is
    known here, and written whole. `finished` returns the removals since the last save;
    `log_trouble` gets the trouble, or None."""

    async def save(state: State) -> None:
        removed, now = finished(), clock()

        def write(changes: Changes) -> Remembered | None:
            history.add(removed)
            return ledger.save(changes, now)

        with anyio.CancelScope(shield=True):
            theirs = await anyio.to_thread.run_sync(write, state.take_changes())
            if theirs is not None:
                state.inherit(theirs, now)
                await anyio.to_thread.run_sync(ledger.save, state.take_changes(), now)
        log_trouble(ledger.trouble_to_log(standby=state.stands_by) or history.trouble, clock())

    return save
