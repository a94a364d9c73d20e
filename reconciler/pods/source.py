"""What the three sources of pods have in common: their interface, and how they fail."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from ..domain.facts import PodGone, PodReported, PodsReported
from ..domain.pods import Pod

Put = Callable[[PodsReported | PodReported | PodGone], None]  # never waits
Sleep = Callable[[float], Awaitable[None]]


class PodsUnavailable(Exception):
    """A source does not report pods, or no longer: nothing is known, least of all that there are
    none. The text is for people: what failed, and what to do."""


class Source(Protocol):
    """A source that reports the pods of this node."""

    name: str  # socket, kubelet or api

    @property
    def where(self) -> str:
        """What answers, and at which address; for the log."""
        ...

    async def ask(self, timeout: float) -> tuple[Pod, ...]:
        """Returns all pods of this node within `timeout` seconds. Raises PodsUnavailable."""
        ...

    async def watch(self, put: Put) -> None:
        """Puts a list of all pods, then each change, until the source fails. Never returns;
        raises PodsUnavailable."""
        ...
