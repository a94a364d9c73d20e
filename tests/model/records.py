"""What the judge records of the runtime's answers: listings as given, and ages by them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class ListedImage:
    """One image of a listing: names and flags as answered."""

    text: str  # the id as listed
    tags: tuple[str, ...]
    digests: tuple[str, ...]
    pinned: bool
    size: int

    @property
    def names(self) -> tuple[str, ...]:
        return self.tags + self.digests

    def merged(self, other: ListedImage) -> ListedImage:
        """Two entries of one image as one: all that either lists."""
        tags, digests = self.tags + other.tags, self.digests + other.digests
        pinned, size = self.pinned or other.pinned, max(self.size, other.size)
        return ListedImage(self.text, tags, digests, pinned, size)


@dataclass
class Look:
    """One listing as the runtime gave it: images, then containers, then sandboxes."""

    began: float
    order: int = 0  # of its beginning, among listings and events
    images: dict[str, ListedImage] | None = None
    images_at: float = 0.0
    containers: dict[str, str] | None = None  # id -> the text its creator asked for
    containers_at: float = 0.0
    sandboxes: set[str] | None = None

    @property
    def complete(self) -> bool:
        return None not in (self.images, self.containers, self.sandboxes)


@dataclass
class Ages:
    """What outlives a restart with its ledger: by hex id, times in seconds."""

    first: dict[str, float] = field(default_factory=dict)  # start of the unbroken run of listings
    used: dict[str, float] = field(default_factory=dict)  # last reported used, or newly unused
    sent: dict[str, float] = field(default_factory=dict)  # RemoveImage, not yet known to be gone
    removed: dict[str, float] = field(default_factory=dict)  # listed as gone after our removal
    back: dict[str, tuple[float, float]] = field(default_factory=dict)  # when, how long after
    refused: dict[str, tuple[float, int]] = field(default_factory=dict)  # until, how often

    def copy(self) -> Ages:
        return Ages(
            dict(self.first),
            dict(self.used),
            dict(self.sent),
            dict(self.removed),
            dict(self.back),
            dict(self.refused),
        )

    def moved(self, step: float) -> Ages:
        """The same by a clock that was set forward by `step` seconds."""

        def later(times: dict[str, float]) -> dict[str, float]:
            return {key: at + step for key, at in times.items()}

        back = {key: (at + step, gap) for key, (at, gap) in self.back.items()}
        refused = {key: (until + step, count) for key, (until, count) in self.refused.items()}
        first, used, sent, removed = map(later, (self.first, self.used, self.sent, self.removed))
        return Ages(first, used, sent, removed, back, refused)

    def unused_for(self, key: str, now: float) -> float:
        return now - max(self.first.get(key, now), self.used.get(key, 0.0))
