"""One removal: everything it was decided on. Made right before the call, it goes with what is told
of it to the end, so that nobody has to remember what belonged to what."""

from __future__ import annotations

from dataclasses import dataclass, field

from .humanize import image_name
from .inventory import Image
from .ledger import ImageRecord
from .watermark import FilesystemState


@dataclass(frozen=True, slots=True)
class Removal:
    """An image that is about to go, by full id, and why."""

    image: Image
    names: tuple[str, ...]  # that bring the image back
    cause: str  # plan.Cause's value
    expected: int  # bytes, as estimated from the listed size
    most: int  # bytes that an image of that size can free at the very most
    why: str = ""  # it goes, in a clause
    explanation: str = ""  # a line with every factor of its score
    record: ImageRecord = field(default_factory=lambda: ImageRecord(0.0))
    listed_at: float | None = None  # when the listing that it was decided on began
    filesystems: tuple[FilesystemState, ...] = ()  # as they were

    @property
    def short_name(self) -> str:
        """What to call it."""
        return image_name(self.names, self.image.id)

    @property
    def filesystem(self) -> FilesystemState | None:
        """The one that it is for: the furthest over its low mark."""
        return max(
            self.filesystems, key=lambda fs: (fs.bytes_over_low, fs.used_percent), default=None
        )
