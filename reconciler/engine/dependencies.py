"""What the loop works with and whom it tells, handed in from outside: the runtime, the mailbox, the
policy's files, a measurement, the ledger, the journal, the clocks.

The loop knows none of them by name: `app` hands in the real ones, the demo and the tests their own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import anyio

from ..aiokit import Mailbox
from ..domain.facts import Fact, RemoverReported
from ..domain.inventory import UsageSample
from ..domain.plan import Plan
from ..domain.runtime import ImageRuntime
from ..domain.state import State


class Journal(Protocol):
    """Who is told: the log and the metrics. Nothing it does changes what is decided."""

    def absorbed(self, fact: Fact, state: State, at: float) -> None: ...
    def decided(self, plan: Plan, state: State, at: float) -> None: ...


class Policies(Protocol):
    """The operator's files, looked at on demand; what is new is in the mailbox when it returns
    (`sources.policy_file`)."""

    async def refresh(self) -> None: ...


@dataclass(slots=True)
class Dependencies:
    """What the loop works with, handed in by `app`."""

    runtime: ImageRuntime
    mailbox: Mailbox[Fact]
    policies: Policies
    sample: Callable[[], Awaitable[UsageSample]]
    save: Callable[[State], Awaitable[None]]
    journal: Journal
    clock: Callable[[], float]  # seconds since 1970, never stepping back
    monotonic: Callable[[], float]  # seconds, for spans only
    # Takes the right to remove, makes sure of it, or, where it is not wanted, gives it back. None:
    # nobody else could have it.
    claim: Callable[[bool], Awaitable[RemoverReported]] | None = None
    wall: Callable[[], float] | None = None  # the wall clock, which steps; None: `clock` is it
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
