"""Writes what changed to the state directory, in a thread: a slow disk must not stop the loop."""

from __future__ import annotations

from collections.abc import Iterable

import anyio
import anyio.to_thread

from ..domain.ledger import Changes, Remembered
from ..domain.state import State
from .history import Entry, History
from .ledger import Ledger


async def save(
    state: State, ledger: Ledger, history: History, removed: Iterable[Entry], now: float
) -> None:
    """One save, not to be cancelled: what was taken to be written must be. A ledger that another
    process wrote until now is joined with what is known here, and written whole."""

    def write(changes: Changes) -> Remembered | None:
        history.add(removed)
        return ledger.save(changes, now)

    with anyio.CancelScope(shield=True):
        theirs = await anyio.to_thread.run_sync(write, state.take_changes())
        if theirs is not None:
            state.inherit(theirs, now)
            await anyio.to_thread.run_sync(ledger.save, state.take_changes(), now)
