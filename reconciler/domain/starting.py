"""Pods that are about to start: a sandbox is there, and its first container is not.

Nothing tells what such a pod needs, if no pod of its template ran here before and no source of pods
told of it. And the runtime lists a container at the end of its creation only, so a listing lies for
as long as that takes. So nothing goes for a short moment, as measured on a real Kubernetes
(docs/safety.md):

- A pod counts as starting for `LONGEST_START` seconds from the first word of its sandbox, and for
  `AFTER_FIRST` from its first container, whichever ends sooner.
- That is never the length of a pull: a pod's own pull is often what crosses the mark.
- A sandbox is noted once; told again it does not start anew.
- Where such pods come without a pause, half of the time is the reclaim's: they hold removal for
  `LONGEST_STRETCH` seconds, and then not for as long.

Which of them nobody knows the needs of is the state's to say (`State.unknown_starts`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from .inventory import Sandbox

LONGEST_START = 5.0  # seconds from a sandbox to its first container, if no image is pulled
AFTER_FIRST = 1.0  # seconds from the first container to the others that start at once
LONGEST_STRETCH = 15.0  # seconds that pods may hold removal without a pause, and then not
# Seconds that make a pause: pods that only lists tell are told late, one after the other.
PAUSE = 2.0


@dataclass(frozen=True, slots=True)
class Start:
    """A sandbox that is new here, and until when its pod counts as starting."""

    sandbox: Sandbox
    until: float


class Starts:
    """The pods that are starting, by sandbox; each is noted once."""

    def __init__(self) -> None:
        self._starts: dict[str, Start] = {}
        self._began = 0.0  # of the stretch that `_until` ends
        self._until = 0.0

    def note(self, sandbox: Sandbox, at: float) -> None:
        """A sandbox is told, new at that moment: the first word counts, an event's or a list's."""
        self._starts.setdefault(sandbox.id, Start(sandbox, at + LONGEST_START))

    def made(self, sandbox_id: str, at: float) -> None:
        """A container was made in a sandbox."""
        start = self._starts.get(sandbox_id)
        if start is not None:
            until = min(start.until, at + AFTER_FIRST)
            self._starts[sandbox_id] = replace(start, until=until)

    def underway(self, now: float) -> Iterator[Start]:
        """Those that may be about to make their first containers."""
        return (start for start in self._starts.values() if now < start.until)

    def settle(self, counting: float, now: float) -> None:
        """Forgets those whose time is over, and keeps account of the stretch in which pods hold
        removal without a pause: `counting` is when the last of them, as known now, is done."""
        for sandbox_id in [one for one, start in self._starts.items() if now >= start.until]:
            del self._starts[sandbox_id]
        if counting <= now:
            self._until = min(self._until, now)
            return
        if now >= self._until + PAUSE:
            self._began = now
        self._until = counting

    def may_hold(self, now: float) -> bool:
        """Whether it is the pods' turn: they go first."""
        return (now - self._began) % (2 * LONGEST_STRETCH) < LONGEST_STRETCH
