"""What is remembered of images over time, also over restarts. Keys are image keys."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image on this node. A runtime tells neither when an image was pulled nor when it was
    used last (docs/runtimes.md), so both count from when we saw it."""

    first_seen: float
    last_used: float | None = None  # when a user of it was last seen; None: never
    last_started: float | None = None  # when the newest container counted was created
    uses: int = 0  # containers made from it


@dataclass(frozen=True, slots=True)
class RemovalRecord:
    """A removal we began. `answered_at` is None until a listing lacked the image."""

    begun_at: float
    names: tuple[str, ...] = ()
    answered_at: float | None = None
    came_back_at: float | None = None
