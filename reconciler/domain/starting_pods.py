"""Pods that are about to start: the sandbox exists, and its first container does not yet.

What such a pod needs is unknown if no pod of its template ran here before and no pod source
reported it. And the runtime lists a container only at the end of its creation, so a listing is
incomplete for as long as that takes. So nothing is removed for a short moment, as measured on a
real Kubernetes (docs/safety.md):

- A pod counts as starting for `LONGEST_START` seconds from the first report of its sandbox, and for
  `AFTER_FIRST` from its first container, whichever ends sooner.
- That is never the length of a pull: a pod's own pull is often what crosses the mark.
- A sandbox is added once; a repeated report does not restart its time.
- Where such pods come without a pause, half of the time is left to the reclaim: they hold removal
  for `LONGEST_STRETCH` seconds, and then let it go on for as long.

`State.unknown_starts` says for which of them the needs are unknown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from .inventory import Sandbox

LONGEST_START = 5.0  # seconds from a sandbox to its first container, if no image is pulled
AFTER_FIRST = 1.0  # seconds from the first container to the others that start at once
LONGEST_STRETCH = 15.0  # seconds that pods may hold removal without a pause, in turns with removal
# Seconds that count as a pause: pods known by lists alone are reported late, one after the other.
PAUSE = 2.0
SETTLE_EVERY = 0.1  # seconds: in a storm of events not each of them looks at all starting pods


@dataclass(frozen=True, slots=True)
class StartingPod:
    """A new sandbox, and until when its pod counts as starting."""

    sandbox: Sandbox
    until: float


class StartingPods:
    """The pods that are starting, by sandbox; each is added once."""

    def __init__(self) -> None:
        self._starts: dict[str, StartingPod] = {}
        self._began = 0.0  # of the stretch without a pause that ends at `_until`
        self._until = 0.0
        self._settle_not_before = 0.0

    def __iter__(self) -> Iterator[StartingPod]:
        """All that were added since, also those whose time has ended since the last `settle`."""
        return iter(self._starts.values())

    def add(self, sandbox: Sandbox, at: float) -> None:
        """Adds a sandbox that is new at that moment; only its first report counts."""
        self._starts.setdefault(sandbox.id, StartingPod(sandbox, at + LONGEST_START))

    def container_made(self, sandbox_id: str, at: float) -> None:
        """A container was made in a sandbox: its pod counts as starting not much longer."""
        start = self._starts.get(sandbox_id)
        if start is not None:
            until = min(start.until, at + AFTER_FIRST)
            self._starts[sandbox_id] = replace(start, until=until)

    def current(self, now: float) -> Iterator[StartingPod]:
        """Yields the pods that may be about to make their first containers."""
        return (start for start in self._starts.values() if now < start.until)

    def settling_due(self, now: float) -> bool:
        """Whether it is time to look at all of them again."""
        return now >= self._settle_not_before

    def settle(self, ends: list[float], now: float) -> None:
        """Forgets the pods whose time is over, and tracks the stretch in which pods hold removal
        without a pause; `ends`: of those here whose needs are unknown."""
        self._settle_not_before = now + SETTLE_EVERY
        last_ends = max(ends, default=now)
        for sandbox_id in [one for one, start in self._starts.items() if now >= start.until]:
            del self._starts[sandbox_id]
        if last_ends > now:
            self._begin_after_pause(now)
            self._until = last_ends
        else:
            self._until = min(self._until, last_ends)

    def hold(self, sandbox_id: str, now: float) -> None:
        """A pod that was just added holds removal: its needs are unknown."""
        self._begin_after_pause(now)
        self._until = max(self._until, self._starts[sandbox_id].until)

    def _begin_after_pause(self, now: float) -> None:
        if now >= self._until + PAUSE:
            self._began = now

    def may_hold(self, now: float) -> bool:
        """Whether it is the pods' turn; they have the first."""
        return (now - self._began) % (2 * LONGEST_STRETCH) < LONGEST_STRETCH
