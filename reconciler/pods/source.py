"""What the three sources of pods have in common: what they are asked, and how they fail."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from ..domain.facts import PodGone, PodReported, PodsReported
from ..domain.pods import Pod

Put = Callable[[PodsReported | PodReported | PodGone], None]  # never waits
Sleep = Callable[[float], Awaitable[None]]


class PodsUnavailable(Exception):
    """A source does not tell of pods, or does not any more: nothing is known, least of all that
    there are none. The text is for people: what failed, and what to do."""


class Source(Protocol):
    """Somebody who tells of the pods of this node."""

    name: str  # socket, kubelet or api

    @property
    def where(self) -> str:
        """Who answers, and at which address; for the log."""
        ...

    async def ask(self, timeout: float) -> tuple[Pod, ...]:
        """All pods of this node, asked for once, in so many seconds. Raises PodsUnavailable."""
        ...

    async def watch(self, put: Put) -> None:
        """Puts a PodsReported, then what changes, for as long as the source tells. Never returns;
        raises PodsUnavailable."""
        ...
