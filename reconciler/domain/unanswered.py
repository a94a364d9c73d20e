"""Questions that the runtime has not answered yet: which images a container mounts, and which one a
sandbox runs on. At first such a doubt holds all removal; after `NARROW_AFTER` it narrows to the
images that it can concern (possible_uses.py). The question stays open all the same."""

from __future__ import annotations

from collections.abc import Collection, Iterable

NARROW_AFTER = 600.0  # seconds until a doubt about one container or sandbox narrows


class Unanswered:
    """Containers and sandboxes with an open question, by id, and since when; and which images
    arrived after they were made."""

    def __init__(self) -> None:
        self.since: dict[str, float] = {}  # least recently asked about first
        self._lacked: dict[str, float] = {}  # image key -> when the last list without it began

    def note(self, subject_id: str, at: float) -> None:
        """The question was asked once more, without an answer."""
        self.since[subject_id] = self.since.pop(subject_id, at)

    def forget(self, subject_id: str) -> None:
        """The runtime answered, or the container or sandbox is gone."""
        self.since.pop(subject_id, None)

    def forgive(self, now: float) -> None:
        """The runtime answers nothing at all: that says nothing about recent questions."""
        for one in [one for one in self.since if not self.narrowed(one, now)]:
            del self.since[one]

    def narrowed(self, subject_id: str, now: float) -> bool:
        return now - self.since.get(subject_id, now) >= NARROW_AFTER

    def arrived(self, fresh: Iterable[str], lacked_at: float) -> None:
        """Images without any record are in a listing, and were not in the one that began then."""
        self._lacked.update(dict.fromkeys(fresh, lacked_at))

    def keep(self, listed: Collection[str]) -> None:
        """Forgets the images that are not listed any more."""
        for key in self._lacked.keys() - listed:
            del self._lacked[key]

    def came_later(self, key: str, since: float) -> bool:
        """Whether an image was not on the node yet at a time, so that nothing made by then can use
        it. False where that is unknown."""
        return self._lacked.get(key, since) > since
