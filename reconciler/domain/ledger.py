"""What is remembered of images over time, also over restarts. Keys are image keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image on this node. A runtime reports neither when an image was pulled nor when it was
    used last (docs/runtimes.md), so both count from when we saw it."""

    first_seen: float
    last_used: float | None = None  # when a user of it was last seen; None: never
    last_started: float | None = None  # when the newest container counted was created
    uses: int = 0  # containers made from it
    counters: tuple[float, ...] = ()  # decayed counts of use (use_rate.py), as of `counted_at`
    counted_at: float = 0.0
    # The last tags it was listed under, or else its digest names; after tags, by digest, the
    # repositories that it was listed under before those.
    names: tuple[str, ...] = ()
    size: int = 0  # bytes, as listed last
    gone_at: float | None = None  # from this node; its record is resumed should it be pulled again

    @property
    def unused_since(self) -> float:
        """When it was used last, or came here, if that was later."""
        return max(self.first_seen, self.last_used or 0.0)


@dataclass(frozen=True, slots=True)
class RemovalRecord:
    """A removal we began, or were refused, at `begun_at`. `answered_at` is None until a listing
    lacked the image. `gone_for`: seconds until it came back, at the least: an answer that takes
    long may have been true from its beginning, and counts as seen at its end."""

    begun_at: float
    names: tuple[str, ...] = ()
    answered_at: float | None = None
    came_back_at: float | None = None
    gone_for: float | None = None


@dataclass(frozen=True, slots=True)
class Arrival:
    """The newest image of a series of tags, or of a repository: when it was first seen."""

    at: float
    key: str
    name: str  # a tag of it, for people


@dataclass(frozen=True, slots=True)
class Used:
    """What one container of a pod was made from and mounts: the images' keys, and the names that
    they had then."""

    made_at: float
    images: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TemplateRecord:
    """What the pods of one template used (templates.py), by container."""

    first_seen: float
    last_seen: float
    used: Mapping[str, Used] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of the log of starts and pulls. `container` is empty for a pull; `ended` is set on
    the line of a container's end."""

    at: float
    key: str
    container: str = ""
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Remembered:
    """Everything a ledger holds."""

    images: dict[str, ImageRecord]
    gone: dict[str, ImageRecord]  # images that were here
    removals: dict[str, RemovalRecord]
    arrivals: dict[str, Arrival]  # by series or repository (tag_series.py)
    running: dict[str, str]  # container id -> image key: in the log of starts, without an end
    templates: dict[str, TemplateRecord] = field(default_factory=dict)  # by name
    overshoots: dict[str, tuple[int, ...]] = field(default_factory=dict)  # by mountpoint


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed since the ledger was written last; None: to be forgotten."""

    images: dict[str, ImageRecord | None]
    removals: dict[str, RemovalRecord | None]
    arrivals: dict[str, Arrival | None]
    log: list[LogLine]
    templates: dict[str, TemplateRecord | None] = field(default_factory=dict)
    overshoots: dict[str, tuple[int, ...]] = field(default_factory=dict)
