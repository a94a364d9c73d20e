"""What the loop works with: the runtime, the mailbox, the policy's files, a measurement, the
ledger, the journal, the clocks.

The loop imports none of them: `app` passes in the real ones, the demo and the tests their own.
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
    """Records what becomes of facts in log and metrics. It never affects what is decided."""

    def absorbed(self, fact: Fact, state: State, at: float) -> None: ...
    def decided(self, plan: Plan, state: State, at: float) -> None: ...


class Policies(Protocol):
    """The operator's files, read on demand; when `refresh` returns, what is new is in the mailbox
    (`sources.policy_file`)."""

    async def refresh(self) -> None: ...


@dataclass(slots=True)
class Dependencies:
    """What the loop works with, passed in by `app`."""

    runtime: ImageRuntime
    mailbox: Mailbox[Fact]
    policies: Policies
    sample: Callable[[], Awaitable[UsageSample]]
    save: Callable[[State], Awaitable[None]]
    journal: Journal
    clock: Callable[[], float]  # seconds since 1970, never stepping back
    monotonic: Callable[[], float]  # seconds, for spans only
    # Takes or confirms the right to remove, or, called with False, gives it back. None: no other
    # process can have it.
    claim: Callable[[bool], Awaitable[RemoverReported]] | None = None
    wall: Callable[[], float] | None = None  # the wall clock, which may step; None: `clock`
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
