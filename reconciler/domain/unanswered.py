"""What the runtime was asked and would not tell: which images a container mounts, and which one a
sandbox runs on. At first such a doubt holds everything; after `NARROW_AFTER` it narrows to the
images that it can concern (doubts.py). The question stays open all the same."""

from __future__ import annotations

from collections.abc import Collection, Iterable

NARROW_AFTER = 600.0  # seconds until a doubt about one container or sandbox narrows


class Unanswered:
    """Containers and sandboxes by id, since when the runtime would not tell of them; and which
    images came later than they did."""

    def __init__(self) -> None:
        self.since: dict[str, float] = {}  # the one that was asked about longest ago comes first
        self._lacked: dict[str, float] = {}  # image key -> when the last list without it began

    def note(self, subject_id: str, at: float) -> None:
        """It was asked about once more, for nothing."""
        self.since[subject_id] = self.since.pop(subject_id, at)

    def forget(self, subject_id: str) -> None:
        """The runtime told, or it is gone."""
        self.since.pop(subject_id, None)

    def forgive(self, now: float) -> None:
        """The runtime answers nothing at all: that says nothing about those asked about lately."""
        for one in [one for one in self.since if not self.narrowed(one, now)]:
            del self.since[one]

    def narrowed(self, subject_id: str, now: float) -> bool:
        return now - self.since.get(subject_id, now) >= NARROW_AFTER

    def arrived(self, fresh: Iterable[str], lacked_at: float) -> None:
        """Images that nobody remembers are in a list, and were in none that began then."""
        self._lacked.update(dict.fromkeys(fresh, lacked_at))

    def keep(self, listed: Collection[str]) -> None:
        """Forgets the images that are not listed any more."""
        for key in self._lacked.keys() - listed:
            del self._lacked[key]

    def came_later(self, key: str, since: float) -> bool:
        """Whether an image was not on the node yet when something known by then was made: it can
        not have been made from it. False where nobody knows."""
        return self._lacked.get(key, since) > since
